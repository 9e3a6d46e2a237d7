"""Ranks within each era, without scipy."""

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
