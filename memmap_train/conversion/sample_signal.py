"""The synthetic signal of a sample: eras of Numerai-shaped features and targets.

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

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..arrays import Float32, Float64, Ids, Int8, Stored

TARGET_NAMES = (
    "target",  # the alias: equal to target_alpha_20 in every row
    "target_alpha_20",
    "target_alpha_60",
    "target_beta_20",
    "target_beta_60",
)

MIN_FEATURES = 5
MAX_FEATURES = 50_000
"""With more, sums could depend on their order; see `Signal`."""

# The first number of a seed list: no two purposes share a stream (3 and 4: see
# `sample_benchmarks`).
_FOR_SIGNAL = 1
_FOR_ERA = 2

# Standard deviations in units of the noise's. The first makes the best score about 0.045, the
# second spreads the scores of eras by about 0.02.
_PERSISTENT = 0.053
_ERA_SPECIFIC = 0.15
_LINEAR_SHARE = 0.85  # of the persistent part's variance
_ALPHA_IN_BETA = 0.8  # correlation of the beta targets' persistent part with the alpha targets'
_COMMON_SHARE = 0.5  # of the noise's variance: common to all targets
_MAX_PRODUCTS = 8

_FAMILIES = (
    "intelligence",
    "charisma",
    "strength",
    "dexterity",
    "constitution",
    "wisdom",
    "agility",
    "serenity",
)
_MAX_LOADING = 0.25  # of a factor on a feature, beside noise uniform in 0..1

# Shares of an era's rows below each of the four edges between bins.
_FEATURE_EDGES = (0.2, 0.4, 0.6, 0.8)
_TARGET_EDGES = (0.05, 0.25, 0.75, 0.95)


@dataclass(frozen=True, slots=True)
class Era:
    """The rows of one era.

    Parameters
    ----------
    features : ndarray of int8, shape (rows, features)
        Codes 0..4; column-major.
    targets : ndarray of float32, shape (rows, targets)
        All known, in the order of `TARGET_NAMES`; column-major.
    ids : ndarray of S16, shape (rows,)
        `n` and 15 hexadecimal digits, ascending; no two rows of a sample share one.
    persistent : ndarray of float32, shape (rows,)
        The predictions of a perfect model for `target`.
    persistent_beta : ndarray of float32, shape (rows,)
        The predictions of a perfect model for the beta targets.
    """

    features: Int8
    targets: Float32
    ids: Ids
    persistent: Float32
    persistent_beta: Float32


class Signal:
    """The part of a sample that all eras share: how features and targets depend on each other.

    Parameters
    ----------
    n_features : int
    seed : int

    Notes
    -----
    All weights are integers. Sums of integers are exact in float32 below 2**24, which some 50,000
    features would reach, so no order of summation (number of BLAS threads) moves a row into
    another bin.
    """

    def __init__(self, n_features: int, seed: int) -> None:
        rng = np.random.default_rng([_FOR_SIGNAL, 0, 0, seed])
        self._seed = seed
        self._families = list(_families(n_features).values())
        self._loadings = rng.uniform(-_MAX_LOADING, _MAX_LOADING, (n_features, 1))
        self._alpha_weights = integer_weights(rng, n_features)
        self._beta_weights = integer_weights(rng, n_features)
        n_products = min(_MAX_PRODUCTS, n_features // 2)
        self._left, self._right = rng.permutation(n_features)[: 2 * n_products].reshape(2, -1)
        self._right[::2] = self._left[::2]  # every other product is a square
        self._product_weights = rng.choice([-1, 1], n_products)

    def era(self, number: int, n_rows: int) -> Era:
        """Make one era; the same arguments give the same era, in any order of the calls."""
        rng = np.random.default_rng([_FOR_ERA, number, 0, self._seed])
        ids = _ids(rng, number, n_rows)
        codes = self._codes(rng, n_rows)
        weights = [self._alpha_weights, self._beta_weights, integer_weights(rng, len(codes))]
        alpha_linear, beta_linear, era_specific = standardised_sums(weights, codes)
        alpha = self._with_products(alpha_linear, codes)
        beta = mixed(alpha, beta_linear, share=_ALPHA_IN_BETA**2)

        persistent = np.stack([alpha, alpha, beta, beta])  # of the four that aren't an alias
        own_noise = rng.standard_normal(persistent.shape, dtype=np.float32)
        common_noise = rng.standard_normal(n_rows, dtype=np.float32)
        noise = mixed(common_noise, own_noise, share=_COMMON_SHARE)
        latent = _PERSISTENT * persistent + _ERA_SPECIFIC * era_specific + noise
        bins = rank_bins(latent, _TARGET_EDGES)
        targets = np.concatenate([bins[:1], bins]) * np.float32(0.25)
        return Era(
            features=codes.T,
            targets=targets.T,
            ids=ids,
            persistent=alpha,
            persistent_beta=beta,
        )

    def persistent(self, features: Int8) -> Float32:
        """Return a perfect model's predictions of `target` for all rows of one era.

        Parameters
        ----------
        features : ndarray of int8, shape (rows, features)
            Codes 0..4.

        Returns
        -------
        ndarray of float32, shape (rows,)
            An array of mean 0.
        """
        (linear,) = standardised_sums([self._alpha_weights], features.T)
        return self._with_products(linear, features.T)

    def _codes(self, rng: np.random.Generator, n_rows: int) -> Int8:
        """Return an era's features, shape (features, rows)."""
        codes = np.empty((len(self._loadings), n_rows), np.int8)
        # A family at a time, so that its values stay in the processor's cache between the steps.
        for members in self._families:
            factor = rng.standard_normal(n_rows, dtype=np.float32)
            # Uniform and not normal, which takes five times as long and would look the same: only
            # ranks are kept.
            latent = rng.random((members.stop - members.start, n_rows), dtype=np.float32)
            latent += self._loadings[members].astype(np.float32) * factor
            codes[members] = rank_bins(latent, _FEATURE_EDGES)
        return codes

    def _with_products(self, linear: Float32, codes: Int8) -> Float32:
        """Return the persistent part whose linear part is given."""
        centre = np.int8(2)
        products = (codes[self._left] - centre) * (codes[self._right] - centre)
        (total,) = standardised_sums([self._product_weights], products)
        return mixed(linear, total, share=_LINEAR_SHARE)


def rank_bins(values: Float32, edges: Sequence[float]) -> Int8:
    """Cut each line of values into bins of fixed shares, by rank.

    Parameters
    ----------
    values : ndarray of float32, shape (lines, rows)
    edges : sequence of float
        The share of rows below each edge, ascending.

    Returns
    -------
    ndarray of int8, shape (lines, rows)
        The number of edges below; equal values are ordered by their position.

    Examples
    --------
    >>> rank_bins(np.array([[5, 3, 1, 4, 2]], np.float32), [0.2, 0.4, 0.6, 0.8])
    array([[4, 2, 0, 3, 1]], dtype=int8)
    >>> rank_bins(np.zeros((1, 5), np.float32), [0.2, 0.4, 0.6, 0.8])
    array([[0, 1, 2, 3, 4]], dtype=int8)
    """
    n_rows = values.shape[1]
    cuts = np.rint(np.multiply(edges, n_rows)).astype(np.intp)
    ordered = np.sort(values, axis=1)  # vectorised, unlike argsort
    bins = np.zeros(values.shape, np.int8)
    for cut in cuts:
        bins += values >= ordered[:, cut, np.newaxis]
    # A value on both sides of a cut (about one line in 1,000) puts too many rows above it.
    tied = (ordered[:, cuts] == ordered[:, cuts - 1]).any(axis=1)
    for line in np.flatnonzero(tied):
        ranked = np.argsort(values[line], kind="stable")
        bins[line, ranked] = np.searchsorted(cuts, np.arange(n_rows), side="right")
    return bins


def _families(n_features: int) -> dict[str, slice]:
    """Cut the features into runs that share a factor, of at least two features each."""
    n_families = min(len(_FAMILIES), n_features // 2)
    edges = [n_features * i // n_families for i in range(n_families + 1)]
    return {
        name: slice(start, stop)
        for name, (start, stop) in zip(_FAMILIES, pairwise(edges), strict=False)
    }


def feature_sets(n_features: int) -> dict[str, list[str]]:
    """Return overlapping sets of features, each in the order of the columns."""
    families = _families(n_features)
    every = [
        f"feature_{family}_{number:04d}"
        for family, members in families.items()
        for number in range(1, 1 + members.stop - members.start)
    ]
    return {
        "small": every[::4],
        "medium": every[::2],
        "all": every,
        **{family: every[members] for family, members in families.items()},
        "sunshine": every[::3],
        "rain": every[::5],
    }


def integer_weights(rng: np.random.Generator, n_features: int) -> Float64:
    """Return normal weights, as integers: see `Signal`."""
    return np.rint(100 * rng.standard_normal(n_features))


def standardised_sums(weights: Sequence[Stored], values: Int8) -> Float32:
    """Return weighted sums of the columns' values, each of mean 0 and variance 1 over the rows.

    Parameters
    ----------
    weights : sequence of ndarray, each of shape (columns,)
    values : ndarray of int8, shape (columns, rows)

    Returns
    -------
    ndarray of float32, shape (weights, rows)
    """
    sums = np.asarray(weights, np.float32) @ values.astype(np.float32)
    mean = sums.mean(axis=1, keepdims=True, dtype=np.float64)
    spread = sums.std(axis=1, keepdims=True, dtype=np.float64)
    standardised: Float32 = ((sums - mean) / spread).astype(np.float32)
    return standardised


def mixed(first: Float32, second: Float32, *, share: float) -> Float32:
    """Add two terms of variance 1, so that the first has this share of a variance of 1."""
    return np.float32(share**0.5) * first + np.float32((1 - share) ** 0.5) * second


def _ids(rng: np.random.Generator, number: int, n_rows: int) -> Ids:
    """Return `n` and 15 hexadecimal digits per row: ascending, and unique over all eras.

    The last four digits are the era's number, which keeps eras apart; the others grow by steps of
    random length, which keeps rows apart.
    """
    step = 2**44 // n_rows
    leading = np.arange(n_rows) * step + rng.integers(step, size=n_rows)
    values = leading << 16 | number
    digits = values[:, np.newaxis] >> np.arange(56, -4, -4) & 15
    text = np.empty((n_rows, 16), np.uint8)
    text[:, 0] = ord("n")
    text[:, 1:] = np.frombuffer(b"0123456789abcdef", np.uint8)[digits]
    return text.view("S16")[:, 0]
