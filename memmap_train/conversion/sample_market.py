"""The signal of a sample that behaves as markets do: crowded, drifting, noisy by era, and harmful.

Takes the number of features, a seed and the calendar; returns eras on the features and ids of the
plain sample, with other targets. Imports numpy alone, and does no I/O.

How the targets are made
------------------------
Targets are the ranks of a latent value, in the bins of `sample_signal`. Per era, with each term of
mean 0 and variance 1 over the rows:

    latent = 0.045 paid known + 0.027 lasting + 0.027 drifting
           + harm harmful + 0.09 factors + 0.09 era_specific + noise

`known` is the persistent part of the plain sample. Benchmark models know it well (correlations of
0.95, 0.9 and 0.95), and nothing else: it is crowded. What it pays, `paid`, differs from era to era,
with mean 1 and standard deviation 1. `lasting` is another part of this kind, that no benchmark
model knows. `drifting` is linear; its weights change all the time, from one draw to the next within
100 eras, so that those of 100 eras apart have nothing in common.

`factors` is the noise that is common to an era: the factor of each family of features, as far as
the features show it, times a number that is drawn for each era. `harmful` is the factor of the last
family. What it pays in an era, `harm`, has mean 0.013 and standard deviation 0.055 in training
eras, and from the first validation era on mean -0.009 and standard deviation 0.09. `era_specific`
weighs the features with other weights in each era.

The best score that is possible is that of the terms whose payment is known beforehand: of `known`,
`lasting` and `drifting`, by their mean payments and with the weights of the moment. The turn of the
harmful factor isn't among these: nothing in the training eras tells of it but its variance.

An era is a pure function of its number, its rows, the features, the seed and the calendar. Of the
latter it takes two things: the first validation era, and that the live era comes after the last.
"""

import math

import numpy as np

from ..arrays import Float32, Float64
from .sample_calendar import Calendar
from .sample_signal import Era, Signal, binned, noise_of_targets, with_alpha
from .sample_terms import Products, integer_weights, mixed, standardised_sums

# The first number of a seed list, beside those of `sample_signal`.
_FOR_WEIGHTS = 5
_FOR_PAYMENTS = 6
_FOR_DRIFT = 7

# Standard deviations in units of the noise's.
_KNOWN, _LASTING, _DRIFTING = 0.045, 0.027, 0.027
_FACTORS = 0.09
_ERA_SPECIFIC = 0.09

_SPREAD_OF_PAYMENTS = 1.0  # of the known part, whose mean is 1
_HARM_BEFORE = (0.013, 0.055)  # mean and standard deviation
_HARM_AFTER = (-0.009, 0.09)
_DRIFT_ERAS = 100  # from one draw of weights to the next


class Market:
    """The part of a market-like sample that all eras share.

    Parameters
    ----------
    n_features : int
    seed : int
    calendar : Calendar
    """

    benchmark_correlations = (0.95, 0.9, 0.95)

    def __init__(self, n_features: int, seed: int, calendar: Calendar) -> None:
        rng = np.random.default_rng([_FOR_WEIGHTS, 0, 0, seed])
        self._seed, self._calendar = seed, calendar
        self._plain = Signal(n_features, seed)
        self._lasting_weights = integer_weights(rng, n_features)
        self._lasting_products = Products.drawn(rng, n_features)
        self._factor_weights = _factor_weights(self._plain)

    def era(self, number: int, n_rows: int) -> Era:
        """Make one era; the same arguments give the same era, in any order of the calls."""
        plain, moment = self._plain, self._calendar.moment(number)
        rng, ids, codes = plain.rows(number, n_rows)
        era_specific_weights = integer_weights(rng, len(codes))
        drift, share = self._drift(moment, len(codes))
        linear, beta_linear, lasting, early, late, era_specific, *factors = standardised_sums(
            [
                plain.alpha_weights,
                plain.beta_weights,
                self._lasting_weights,
                *drift,
                era_specific_weights,
                *self._factor_weights,
            ],
            codes,
        )
        known = plain.products.added(linear, codes)
        known_beta = with_alpha(known, beta_linear)
        unknown = _weighted(
            [_LASTING, _DRIFTING],
            [self._lasting_products.added(lasting, codes), mixed(late, early, share=share)],
        )
        paid, *of_factors = self._payments(number, moment)
        common = _weighted([*of_factors, _ERA_SPECIFIC], [*factors, era_specific])
        parts = np.stack([known, known, known_beta, known_beta])
        latent = np.float32(_KNOWN * paid) * parts + unknown + common
        best = np.float32(_KNOWN) * known + unknown
        return Era(
            features=codes.T,
            targets=binned(latent + noise_of_targets(rng, n_rows)),
            ids=ids,
            best=best / np.float32(math.hypot(_KNOWN, _LASTING, _DRIFTING)),
            known=known,
            known_beta=known_beta,
        )

    def _drift(self, moment: int, n_features: int) -> tuple[list[Float64], float]:
        """Return two draws of weights, and the share of the second one at a moment."""
        first, eras_since = divmod(moment, _DRIFT_ERAS)
        draws = [
            integer_weights(np.random.default_rng([_FOR_DRIFT, draw, 0, self._seed]), n_features)
            for draw in (first, first + 1)
        ]
        return draws, eras_since / _DRIFT_ERAS

    def _payments(self, number: int, moment: int) -> list[float]:
        """Return what the known part pays in an era, and each factor, the harmful one at last."""
        rng = np.random.default_rng([_FOR_PAYMENTS, number, 0, self._seed])
        of_known, of_harmful, *of_factors = rng.standard_normal(1 + len(self._factor_weights))
        is_before = moment < self._calendar.validation.start
        mean, spread = _HARM_BEFORE if is_before else _HARM_AFTER
        scale = _FACTORS / math.sqrt(len(of_factors))
        return [
            1 + _SPREAD_OF_PAYMENTS * of_known,
            *(scale * payment for payment in of_factors),
            mean + spread * of_harmful,
        ]


def _factor_weights(signal: Signal) -> list[Float64]:
    """Return weights of features, as integers, whose sum is nearest to the factor of each family.

    A weight that would be 0 is 1, so that every family has a sum that differs between rows.
    """
    rounded = np.rint(100 * signal.features.loadings[:, 0])
    rounded[rounded == 0] = 1
    weights = []
    for members in signal.features.families:
        of_family = np.zeros_like(rounded)
        of_family[members] = rounded[members]
        weights.append(of_family)
    return weights


def _weighted(weights: list[float], terms: list[Float32]) -> Float32:
    """Return the weighted sum of terms, added up in their order."""
    total = np.zeros_like(terms[0])
    for weight, term in zip(weights, terms, strict=True):
        total += np.float32(weight) * term
    return total
