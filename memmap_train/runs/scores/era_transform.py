"""The targets of one era as ranks, normally distributed ranks, or residuals to a benchmark.

Takes the targets and the benchmarks of *one* era as arrays; returns targets. Nothing depends on
other eras. No I/O; numpy and scipy only.
"""

from collections.abc import Mapping

import numpy as np

from ...arrays import Float32, Float64, Floats
from ..configuration.target_transforms import RANK, RESIDUAL, TargetTransform
from .metrics import gaussian_ranks, uniform_ranks

_ROUNDING = 2.0**-40
"""A residual that counts as 0, as a share of the largest value: rounding errors would be ranked."""


def transformed_era(
    transform: TargetTransform, targets: Floats, benchmarks: Mapping[str, Floats]
) -> Float32:
    """Return the transformed targets of one era.

    Parameters
    ----------
    transform : TargetTransform
    targets : ndarray of float, shape (rows, targets)
        NaN where there is no label. All rows of the era.
    benchmarks : mapping of str to ndarray of float, shape (rows,)
        Those of `transform.benchmarks`, by name; NaN where a row has none.

    Returns
    -------
    ndarray of float32, shape (rows, targets)
        A new array. NaN where a row has no label, or no value of one of the benchmarks: such
        rows count as unlabelled from the first step on.
    """
    found = np.array(targets, np.float64, order="C")
    for name in transform.benchmarks:
        found[np.isnan(benchmarks[name])] = np.nan
    for column in range(found.shape[1]):
        for step in transform.steps:
            found[:, column] = _applied(step, found[:, column], benchmarks)
    return found.astype(np.float32)


def _applied(step: str, target: Float64, benchmarks: Mapping[str, Floats]) -> Float64:
    """Return one target after one step."""
    if step.startswith(RESIDUAL):
        return residual(target, benchmarks[step.removeprefix(RESIDUAL)])
    labelled = ~np.isnan(target)
    found = np.full_like(target, np.nan)
    if labelled.any():
        ranks = uniform_ranks if step == RANK else gaussian_ranks
        found[labelled] = ranks(target[labelled])
    return found


def residual(target: Floats, benchmark: Floats) -> Float64:
    """Return what a benchmark leaves over of a target in one era: a least-squares fit's residuals.

    Parameters
    ----------
    target, benchmark : ndarray of float, shape (rows,)
        NaN where a row has no label, or no value of the benchmark.

    Returns
    -------
    ndarray of float64, shape (rows,)
        NaN where either is. The mean of the others is 0, and so is their product with the
        benchmark; if the benchmark is constant, it is the target less its mean.

    Examples
    --------
    >>> target, benchmark = np.array([0.0, 1.0, 0.5, 1.0]), np.array([0.1, 0.2, 0.3, np.nan])
    >>> residual(target, benchmark).round(3).tolist()
    [-0.25, 0.5, -0.25, nan]
    """
    known = ~(np.isnan(target) | np.isnan(benchmark))
    found = np.full(target.shape, np.nan)
    if not known.any():
        return found
    y, x = target[known].astype(np.float64), benchmark[known].astype(np.float64)
    y = y - y.mean()
    if np.ptp(x) > 0:  # sums as numpy adds them up, not as BLAS does with its number of threads
        # By the largest value first: squares of tiny values would be 0.
        x = x - x.mean()
        x = x / np.abs(x).max()
        x -= x.mean()
        rest = y - x * ((x * y).sum() / (x * x).sum())
    else:
        rest = y
    rest -= rest.mean()
    rest[np.abs(rest) <= _ROUNDING * np.abs(target[known]).max()] = 0
    found[known] = rest
    return found
