"""Ranks within an era, without scipy, and the mean of several models' ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


def uniform_ranks(values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Return ranks evenly spaced between 0 and 1; ties share their mean rank.

    Parameters
    ----------
    values : ndarray of float, shape (rows,)

    Examples
    --------
    >>> uniform_ranks(np.array([0.3, 0.1, 0.2, 0.3])).tolist()
    [0.75, 0.125, 0.375, 0.75]
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    begins = np.concatenate(([True], ordered[1:] != ordered[:-1]))
    firsts = np.append(np.flatnonzero(begins), len(values))
    means = (firsts[:-1] + firsts[1:]) / 2
    ranks = np.empty(len(values))
    ranks[order] = means[np.cumsum(begins) - 1] / len(values)
    return ranks


def mean_ranks(
    outputs: npt.NDArray[np.floating[Any]], n_models_of_runs: list[int]
) -> npt.NDArray[np.float64]:
    """Return the mean of runs' ranks in one era, each run weighing the same.

    Parameters
    ----------
    outputs : ndarray of float, shape (rows, models)
    n_models_of_runs : list of int
        How many of the models each run has, in order. The mean of a run's ranks is its prediction,
        which is ranked again where there are other runs.

    Examples
    --------
    >>> outputs = np.array([[0.1, 0.1, 0.2], [0.2, 0.3, 0.1], [0.3, 0.2, 0.3]])
    >>> (18 * mean_ranks(outputs, [3])).round(9).tolist()
    [5.0, 9.0, 13.0]
    >>> (12 * mean_ranks(outputs, [2, 1])).round(9).tolist()
    [4.0, 5.0, 9.0]
    """
    total, first = np.zeros(len(outputs)), 0
    for n_models in n_models_of_runs:
        of_run = np.zeros(len(outputs))
        for column in outputs[:, first : first + n_models].T:
            of_run += uniform_ranks(column)
        of_run /= n_models
        if n_models > 1 and len(n_models_of_runs) > 1:
            of_run = uniform_ranks(of_run)
        total += of_run
        first += n_models
    total /= len(n_models_of_runs)
    return total
