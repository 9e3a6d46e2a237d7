"""The plain synthetic signal of a sample: eras of Numerai-shaped features and targets.

Takes the number of features and a seed; returns eras, and the predictions of a perfect model.
Imports numpy alone, and does no I/O.

How the data are made
---------------------
*Features* are codes 0..4 in five equal bins per era. The latent value behind a code is noise plus a
share of a factor that its family (`intelligence`, `charisma`, ...) has in this era: features of a
family are mildly correlated.

*Targets* are the ranks of a latent value, in five bins of 5, 20, 50, 20 and 5 %. Per era, with each
term of mean 0 and variance 1 over the rows:

    latent     = 0.053 persistent + 0.15 era_specific + noise
    persistent = sqrt(0.85) linear + sqrt(0.15) products

`linear` weighs the features alike in every era, `products` sums squares and products of a few of
them. `era_specific` has other weights in each era: nothing can be learned of it, but it makes
scores vary from era to era, as they do in reality. The persistent part of the beta targets is
correlated with that of the alpha targets; half of the noise is common to all targets.

An era is a pure function of its number, its rows, the features and the seed.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..arrays import Float32, Ids, Int8
from .sample_features import Features, ids, rank_bins
from .sample_terms import Products, integer_weights, mixed, standardised_sums

TARGET_NAMES = (
    "target",  # the alias: equal to target_alpha_20 in every row
    "target_alpha_20",
    "target_alpha_60",
    "target_beta_20",
    "target_beta_60",
)

# The first number of a seed list: no two purposes share a stream (3 and 4: see
# `sample_benchmarks`; 5 to 7: see `sample_market`).
_FOR_SIGNAL = 1
_FOR_ERA = 2

# Standard deviations in units of the noise's. The first makes the best score about 0.045, the
# second spreads the scores of eras by about 0.02.
_PERSISTENT = 0.053
_ERA_SPECIFIC = 0.15
_ALPHA_IN_BETA = 0.8  # correlation of the beta targets' persistent part with the alpha targets'
_COMMON_SHARE = 0.5  # of the noise's variance: common to all targets
_TARGET_EDGES = (0.05, 0.25, 0.75, 0.95)  # shares of an era's rows below each edge between bins


@dataclass(frozen=True, slots=True)
class Era:
    """The rows of one era.

    Attributes
    ----------
    features : ndarray of int8, shape (rows, features)
        Codes 0..4; column-major.
    targets : ndarray of float32, shape (rows, targets)
        All known, in the order of `TARGET_NAMES`; column-major.
    ids : ndarray of S16, shape (rows,)
        `n` and 15 hexadecimal digits, ascending; no two rows of a sample share one.
    best : ndarray of float32, shape (rows,)
        The predictions of a perfect model for `target`.
    known : ndarray of float32, shape (rows,)
        The part of the signal of `target` that benchmark models know, of variance 1.
    known_beta : ndarray of float32, shape (rows,)
        The part of the signal of the beta targets that benchmark models know.
    """

    features: Int8
    targets: Float32
    ids: Ids
    best: Float32
    known: Float32
    known_beta: Float32


class SampleSignal(Protocol):
    """What makes the eras of a sample."""

    benchmark_correlations: tuple[float, float, float]
    """The correlation of each benchmark model's predictions with the part that it knows."""

    def era(self, number: int, n_rows: int) -> Era:
        """Make one era; the same arguments give the same era, in any order of the calls."""


class Signal:
    """The part of a plain sample that all eras share: how targets depend on features.

    Parameters
    ----------
    n_features : int
    seed : int

    Attributes
    ----------
    features : Features
    alpha_weights, beta_weights : ndarray of float64, shape (features,)
        Integers: see `sample_terms`.
    products : Products
        Of the persistent part of the alpha targets.
    """

    # A model that is trained on the default sample reaches about 0.85: it contributes to each of
    # these models.
    benchmark_correlations = (0.7, 0.65, 0.7)

    def __init__(self, n_features: int, seed: int) -> None:
        rng = np.random.default_rng([_FOR_SIGNAL, 0, 0, seed])
        self._seed = seed
        self.features = Features(n_features, rng)
        self.alpha_weights = integer_weights(rng, n_features)
        self.beta_weights = integer_weights(rng, n_features)
        self.products = Products.drawn(rng, n_features)

    def era(self, number: int, n_rows: int) -> Era:
        """Make one era; the same arguments give the same era, in any order of the calls."""
        rng, of_rows, codes = self.rows(number, n_rows)
        weights = [self.alpha_weights, self.beta_weights, integer_weights(rng, len(codes))]
        alpha_linear, beta_linear, era_specific = standardised_sums(weights, codes)
        alpha = self.products.added(alpha_linear, codes)
        beta = with_alpha(alpha, beta_linear)
        persistent = np.stack([alpha, alpha, beta, beta])  # of the four that aren't an alias
        noise = noise_of_targets(rng, n_rows)
        return Era(
            features=codes.T,
            targets=binned(_PERSISTENT * persistent + _ERA_SPECIFIC * era_specific + noise),
            ids=of_rows,
            best=alpha,
            known=alpha,
            known_beta=beta,
        )

    def rows(self, number: int, n_rows: int) -> tuple[np.random.Generator, Ids, Int8]:
        """Return a generator for the rest of an era, ids, and codes of shape (features, rows)."""
        rng = np.random.default_rng([_FOR_ERA, number, 0, self._seed])
        return rng, ids(rng, number, n_rows), self.features.codes(rng, n_rows)


def with_alpha(alpha: Float32, beta_linear: Float32) -> Float32:
    """Return a part of the beta targets' signal that is correlated with that of the alpha ones."""
    return mixed(alpha, beta_linear, share=_ALPHA_IN_BETA**2)


def noise_of_targets(rng: np.random.Generator, n_rows: int) -> Float32:
    """Return noise of shape (targets without the alias, rows), half of it common to all."""
    own = rng.standard_normal((len(TARGET_NAMES) - 1, n_rows), dtype=np.float32)
    common = rng.standard_normal(n_rows, dtype=np.float32)
    return mixed(common, own, share=_COMMON_SHARE)


def binned(latent: Float32) -> Float32:
    """Return targets of shape (rows, targets), the alias included, of latent values in lines."""
    bins = rank_bins(latent, _TARGET_EDGES)
    targets: Float32 = np.concatenate([bins[:1], bins]) * np.float32(0.25)
    return targets.T
