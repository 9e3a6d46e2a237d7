"""The benchmark models and the meta model of a sample: what they predict of its eras.

Takes an era of `sample_signal`; returns the predictions of models that know a part of its signal,
as ranks. Imports numpy alone, and does no I/O.

How the predictions are made
----------------------------
Each model is a part of its target's signal plus an error. Per era, with each term of mean 0 and
variance 1 over the rows, and with c the correlation with that part:

    latent = c part + sqrt(1 - c**2) error

The part that benchmark models know is the persistent one of a plain sample; the meta model knows
what a perfect model predicts.

The errors of benchmark models depend on the features with fixed weights, some of them common to all
of the models, and on noise: such a model overrates the same features in every era. The error of the
meta model has half of its variance in common with that of the first benchmark model. Nothing of
the era's own signal is in the predictions: they are out of sample.

Predictions of an era are a pure function of its number, its rows, the features and the seed.
"""

import numpy as np

from ..arrays import Float32
from .sample_signal import Era
from .sample_terms import integer_weights, mixed, standardised_sums

BENCHMARK_NAMES = ("v0_lgbm_alpha20", "v0_lgbm_alpha60", "v0_lgbm_beta20")
"""Names as Numerai's (`v53_lgbm_ender20`), of a version and of targets that only a sample has."""
META_MODEL_NAME = "numerai_meta_model"

# The first number of a seed list, beside those of `sample_signal`.
_FOR_WEIGHTS = 3
_FOR_PREDICTIONS = 4

_KNOWN_TO_META_MODEL = 0.8  # a correlation
_COMMON_SHARE = 0.4  # of the errors' variance: common to all models
_FEATURES_SHARE = 0.3  # of the rest: fixed weights of features; the last part is noise


class BenchmarkModels:
    """The benchmark models and the meta model of a sample.

    Parameters
    ----------
    n_features : int
    seed : int
        The seed of the sample.
    correlations : tuple of float
        That of each benchmark model with the part that it knows, in the order of `BENCHMARK_NAMES`.
    """

    def __init__(
        self, n_features: int, seed: int, correlations: tuple[float, float, float]
    ) -> None:
        rng = np.random.default_rng([_FOR_WEIGHTS, 0, 0, seed])
        self._seed, self._correlations = seed, correlations
        n_models = len(BENCHMARK_NAMES)
        self._weights = [integer_weights(rng, n_features) for _ in range(1 + n_models)]

    def predictions(self, number: int, era: Era) -> tuple[Float32, Float32]:
        """Predict one era; the same arguments give the same predictions, in any order of the calls.

        Parameters
        ----------
        number : int
            The number of the era.
        era : Era
            What a signal's `era` returns for the same number, features and seed.

        Returns
        -------
        benchmarks : ndarray of float32, shape (rows, benchmark models)
            Ranks between 0 and 1, the ends not included, in the order of `BENCHMARK_NAMES`;
            column-major.
        meta_model : ndarray of float32, shape (rows, 1)
            Ranks of the meta model.
        """
        rng = np.random.default_rng([_FOR_PREDICTIONS, number, 0, self._seed])
        common, *own = standardised_sums(self._weights, era.features.T)
        noise = rng.standard_normal((len(own) + 1, len(era.ids)), dtype=np.float32)
        errors = [
            mixed(common, mixed(weighted, line, share=_FEATURES_SHARE), share=_COMMON_SHARE)
            for weighted, line in zip(own, noise[:-1], strict=True)
        ]
        parts = (era.known, era.known, era.known_beta)
        latent = [
            mixed(part, error, share=correlation**2)
            for part, error, correlation in zip(parts, errors, self._correlations, strict=True)
        ]
        error = mixed(errors[0], noise[-1], share=_COMMON_SHARE)
        latent.append(mixed(era.best, error, share=_KNOWN_TO_META_MODEL**2))
        ranked = _ranks(np.stack(latent)).T
        return ranked[:, :-1], ranked[:, -1:]


def _ranks(values: Float32) -> Float32:
    """Return the rank of each value in its line, between 0 and 1.

    >>> _ranks(np.array([[5, 3, 1, 3]], np.float32))
    array([[0.875, 0.375, 0.125, 0.625]], dtype=float32)
    """
    n_rows = values.shape[1]
    ranked = np.empty(values.shape, np.float32)
    rising: Float32 = ((np.arange(n_rows) + 0.5) / n_rows).astype(np.float32)
    np.put_along_axis(ranked, np.argsort(values, axis=1, kind="stable"), rising[np.newaxis], axis=1)
    return ranked
