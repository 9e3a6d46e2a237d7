"""The solution of a ridge regression for one strength or several, and the choice among them.

Takes `Sums`; returns weights for features as they are, with the standardising folded in. Imports
numpy and scipy only.

The strength is relative to the mean eigenvalue of the matrix of correlations, which is 1: a
strength of 0.1 adds 0.1 to each eigenvalue. One factorisation for each strength takes less time and
a third of the memory of one eigendecomposition for all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from ...arrays import Float32, Float64
from ...errors import ConfigError
from ...runs.scores.metrics import numerai_corr
from .sums import Sums

GRID = tuple(float(f"{10.0 ** (half / 2):.4g}") for half in range(-8, 5))
"""The strengths to choose among: 0.0001 to 100, two for each power of ten."""

USUAL_STRENGTH = 0.1
"""The strength where there are too few eras to choose one."""


@dataclass(frozen=True, slots=True, eq=False)
class LinearModel:
    """A linear model of features as they are.

    Attributes
    ----------
    weights : ndarray of float32, shape (features, targets)
    biases : ndarray of float32, shape (targets,)
    """

    weights: Float32
    biases: Float32


def solved(sums: Sums, strengths: Sequence[Sequence[float]]) -> list[list[LinearModel]]:
    """Return a model of each target for each of its strengths.

    Parameters
    ----------
    sums : Sums
    strengths : sequence of sequence of float
        The strengths of each target.

    Raises
    ------
    ConfigError
        The equations have no solution: values are too large for float64.
    """
    n_features, groups = sums.n_features, sums.plan.groups
    factor = np.empty((n_features, n_features))
    found: list[dict[float, LinearModel]] = [{} for _ in groups]
    for group in sorted(set(groups)):
        targets = [target for target, own in enumerate(groups) if own == group]
        inverse, means = sums.inverse_deviations(group), sums.means(group)
        right = np.column_stack([sums.covariances(target) * inverse for target in targets])
        for strength in sorted({strength for target in targets for strength in strengths[target]}):
            sums.fill_correlations(group, factor)
            factor.flat[:: n_features + 1] += strength
            # In Fortran's order the upper triangle is the lower one.
            lower, failure = lapack.dpotrf(factor.T, lower=1, overwrite_a=1)
            if failure:
                raise ConfigError(
                    f"model: the equations of the ridge regression can't be solved with a strength "
                    f"of {strength:g}; expected features of moderate size: check the dataset"
                )
            weights = lapack.dpotrs(lower, right, lower=1)[0] * inverse[:, np.newaxis]
            for column, target in enumerate(targets):
                own = weights[:, column]
                bias = sums.mean_target(target) - float(means @ own)
                found[target][strength] = LinearModel(
                    own[:, np.newaxis].astype(np.float32), np.array([bias], np.float32)
                )
    return [
        [of_target[strength] for strength in wanted]
        for of_target, wanted in zip(found, strengths, strict=True)
    ]


class StrengthChoice:
    """Chooses the strength of each target by its score on eras that were held out.

    Parameters
    ----------
    weights : ndarray of float32, shape (features, targets x strengths)
        Those of all models, the strengths of a target next to each other, in the order of `GRID`.
    scores : ndarray of float64, shape (eras, targets, strengths)
        The scores of the eras so far.
    pending : ndarray of float32, shape (rows, targets x strengths), optional
        The predictions of an era that isn't scored yet.
    """

    def __init__(self, weights: Float32, scores: Float64, pending: Float32 | None = None) -> None:
        self.weights, self.scores, self.pending = weights, scores, pending

    @classmethod
    def of(cls, sums: Sums) -> "StrengthChoice":
        """Solve for all strengths of the grid."""
        models = solved(sums, [GRID] * len(sums.plan.groups))
        weights = np.column_stack([model.weights for own in models for model in own])
        return cls(weights, np.empty((0, len(models), len(GRID))))

    def predict(self, features: Float32) -> None:
        """Take in the features of some rows of the era that is scored next."""
        found = features @ self.weights
        self.pending = found if self.pending is None else np.concatenate([self.pending, found])

    def score(self, targets: Float32) -> None:
        """Score an era, all rows of which were predicted.

        Parameters
        ----------
        targets : ndarray of float32, shape (rows, targets)
            NaN where a row has no label.
        """
        predictions, self.pending = self.pending, None
        assert predictions is not None  # of all its rows
        found = [
            [numerai_corr(own, of_target) for own in np.split(predictions.T, targets.shape[1])[n]]
            for n, of_target in enumerate(targets.T)
        ]
        self.scores = np.concatenate([self.scores, np.array(found)[np.newaxis]])

    def best(self) -> tuple[float | None, ...]:
        """Return the strength of each target with the highest mean score; None: no era has one."""
        chosen = []
        for of_target in self.scores.transpose(1, 0, 2):
            known = of_target[~np.isnan(of_target).any(axis=1)]
            place = int(known.mean(axis=0).argmax()) if len(known) else None
            chosen.append(None if place is None else GRID[place])
        return tuple(chosen)
