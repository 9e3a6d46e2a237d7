"""Sums of products of features and labels over rows, and the normal equations that they make up.

Takes blocks of rows; holds one matrix of features x features in float64 for each group of targets
that have labels in the same rows. Imports numpy only.

Features that are codes are multiples of 1/4 from 0 to 1. Their products are multiples of 1/16, so a
block's sums are exact in float32, in whatever order they are added, and so are those of all blocks
in float64: they don't depend on the size of blocks, on threads, or on interruptions. Labels are
multiples of a unit, split into digits that are multiplied one by one (see `labels`). Weights of
eras, and features that are no codes, are rounded; the former in the order of eras alone. So are the
squares of labels, which nothing but the loss needs.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...arrays import Float32, Float64, Floats, Mask
from .labels import DIGIT_FACTORS, N_DIGITS, LabelPlan, digits, whole_labels

MAX_BLOCK_ROWS = 8192
"""Products of codes and digits, which are multiples of 1/4 up to 2**8, add up exactly so far."""
_MAX_BLOCK_BYTES, _MIN_BLOCK_ROWS = 2**27, 256
_STRIP = 256  # rows of a matrix that are added at once
_CONSTANT = 1e-10  # a variance that is smaller, relative to the mean square, is one of rounding


def block_rows(n_features: int) -> int:
    """Return the number of rows of a block: it depends on nothing else than the features."""
    fitting = _MAX_BLOCK_BYTES // (4 * n_features)
    return int(min(MAX_BLOCK_ROWS, max(_MIN_BLOCK_ROWS, fitting)))


class Sums:
    """Sums over the rows that were added so far.

    Parameters
    ----------
    n_features : int
    plan : LabelPlan
    are_codes : bool
        Whether all features are multiples of 1/4 from 0 to 1; others are multiplied in float64.

    Attributes
    ----------
    rows : ndarray of float64, shape (groups,)
        The weights of rows, summed.
    labels : ndarray of int64, shape (targets,)
        Their number.
    targets, squares : ndarray of float64, shape (targets,)
        Weighted labels and their squares.
    features : ndarray of float64, shape (groups, features)
    cross : ndarray of float64, shape (targets, features)
        Products of features and labels.
    """

    def __init__(self, n_features: int, plan: LabelPlan, *, are_codes: bool) -> None:
        self.plan, self.n_features = plan, n_features
        n_targets, n_groups = len(plan.groups), len(plan.first_targets)
        self.rows, self.labels = np.zeros(n_groups), np.zeros(n_targets, np.int64)
        self.targets, self.squares = np.zeros(n_targets), np.zeros(n_targets)
        self.features = np.zeros((n_groups, n_features))
        self.cross = np.zeros((n_targets, n_features))
        # Upper triangles, in strips. The first one is of the first group, the others are what
        # their groups differ from it by: few rows as a rule.
        self._matrices = [np.zeros((n_features, n_features)) for _ in range(n_groups)]
        self._dtype = np.dtype(np.float32 if are_codes else np.float64)
        self._product: Floats | None = None

    def add(self, features: Float32, targets: Float32, weight: float) -> None:
        """Add the rows of a block.

        Parameters
        ----------
        features : ndarray of float32, shape (rows, features)
            At most `MAX_BLOCK_ROWS` rows, which may be overwritten.
        targets : ndarray of float32, shape (rows, targets)
            NaN where a row has no label.
        weight : float
            The weight of each row.
        """
        plan, x = self.plan, features.astype(self._dtype, copy=False)
        labelled = ~np.isnan(targets)
        groups: Mask = labelled[:, plan.first_targets]
        numbers = whole_labels(targets, plan)
        left = np.concatenate([groups, *digits(numbers)], axis=1).T.astype(self._dtype)
        products = np.matmul(left, x).astype(np.float64)
        n_groups, n_targets = groups.shape[1], targets.shape[1]
        of_digits = products[n_groups:].reshape(N_DIGITS, n_targets, -1)
        cross = sum(f * part for f, part in zip(DIGIT_FACTORS, of_digits, strict=True))
        labels = numbers * plan.units
        self.rows += weight * groups.sum(axis=0)
        self.labels += labelled.sum(axis=0)
        self.targets += weight * (numbers.sum(axis=0) * plan.units)
        self.squares += weight * (labels * labels).sum(axis=0)
        self.features += weight * products[:n_groups]
        self.cross += weight * (cross * plan.units[:, np.newaxis])
        for group in range(1, n_groups):
            self._add_products(group, x[groups[:, group] & ~groups[:, 0]], weight)
            self._add_products(group, x[groups[:, 0] & ~groups[:, group]], -weight)
        x[~groups[:, 0]] = 0
        self._add_products(0, x, weight)

    def _add_products(self, group: int, x: Floats, weight: float) -> None:
        if not len(x):
            return
        if self._product is None:
            self._product = np.empty((self.n_features, self.n_features), self._dtype)
        np.matmul(x.T, x, out=self._product)  # numpy knows that it is symmetric: half the work
        for low, high in self._strips():
            part = self._product[low:high, low:]
            total = self._matrices[group][low:high, low:]
            np.add(total, part if weight == 1 else part * np.float64(weight), out=total)

    def _strips(self) -> Iterator[tuple[int, int]]:
        for low in range(0, self.n_features, _STRIP):
            yield low, min(low + _STRIP, self.n_features)

    def _strip(self, group: int, low: int, high: int) -> Float64:
        """Return rows of a group's matrix, from the diagonal on."""
        part = self._matrices[0][low:high, low:]
        return part + self._matrices[group][low:high, low:] if group else part

    # -- what follows from the sums ---------------------------------------------------------------

    def free_scratch(self) -> None:
        """Give back the memory of products; the next block takes it again."""
        self._product = None

    def means(self, group: int) -> Float64:
        """Return the means of the features: shape (features,)."""
        means: Float64 = self.features[group] / max(self.rows[group], 1e-300)
        return means

    def inverse_deviations(self, group: int) -> Float64:
        """Return 1 by each feature's standard deviation, 0 where it is constant."""
        n = max(self.rows[group], 1e-300)
        squares = np.concatenate(
            [np.diagonal(self._strip(group, *strip)) for strip in self._strips()]
        )
        variances = squares / n - self.means(group) ** 2
        varies = variances > _CONSTANT * squares / n
        found: Float64 = np.where(varies, np.sqrt(np.where(varies, variances, 1)) ** -1, 0)
        return found

    def fill_correlations(self, group: int, out: Float64) -> None:
        """Fill in the correlations of features with each other, in the upper triangle of `out`."""
        means, inverse = self.means(group), self.inverse_deviations(group)
        n = max(self.rows[group], 1e-300)
        for low, high in self._strips():
            part = out[low:high, low:]
            np.divide(self._strip(group, low, high), n, out=part)
            part -= means[low:high, np.newaxis] * means[low:]
            part *= inverse[low:high, np.newaxis]
            part *= inverse[low:]

    def covariances(self, target: int) -> Float64:
        """Return the covariances of a target with each feature: shape (features,)."""
        group = self.plan.groups[target]
        n = max(self.rows[group], 1e-300)
        found: Float64 = self.cross[target] / n - self.means(group) * (self.targets[target] / n)
        return found

    def mean_target(self, target: int) -> float:
        """Return the mean of a target's labels."""
        return float(self.targets[target] / max(self.rows[self.plan.groups[target]], 1e-300))

    def squared_errors(self, target: int, weights: Floats, bias: float) -> float:
        """Return the weighted squared errors of a linear model, summed over a target's labels.

        Parameters
        ----------
        target : int
        weights : ndarray of float, shape (features,)
        bias : float
        """
        group, w = self.plan.groups[target], weights.astype(np.float64)
        quadratic = 0.0
        for low, high in self._strips():
            strip = self._strip(group, low, high)
            own, n_own = w[low:high], high - low
            quadratic += float(own @ strip[:, :n_own] @ own)
            quadratic += 2 * float(own @ (strip[:, n_own:] @ w[high:]))
        linear = float(w @ self.cross[target]) + bias * float(self.targets[target])
        shift = 2 * bias * float(w @ self.features[group]) + bias**2 * float(self.rows[group])
        return float(self.squares[target]) - 2 * linear + quadratic + shift

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the sums by name: the arrays themselves, for a checkpoint."""
        found: dict[str, npt.NDArray[Any]] = {name: getattr(self, name) for name in _NAMES}
        return found | {f"products/{n}": array for n, array in enumerate(self._matrices)}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over the sums that `arrays` returned."""
        for name in _NAMES:
            setattr(self, name, arrays[name])
        self._matrices = [arrays[f"products/{n}"] for n in range(len(self._matrices))]


_NAMES = ("rows", "labels", "targets", "squares", "features", "cross")
