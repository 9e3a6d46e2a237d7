"""Scores of predictions in one era, on numpy arrays.

Takes the predictions and the target of *one* era, as two 1-D arrays; returns one float. The
module does no I/O and knows no datasets; it imports numpy and scipy and never pandas, which
numerai-tools would bring into the training process.

A score that isn't defined is NaN, without a warning; `summary.summary` leaves such eras out.
"""

import math

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from ...arrays import Float64, Floats


def numerai_corr(predictions: Floats, target: Floats) -> float:
    """Return Numerai's correlation of one era's predictions with its target.

    Predictions are ranked (ties share their mean rank) and mapped to a normal distribution, the
    target is centred, both are raised to the power 1.5 keeping their sign, which stresses the
    tails, and what is returned is the Pearson correlation of the two.

    Parameters
    ----------
    predictions : ndarray of float, shape (rows,)
        Only their order matters, so they need not lie between 0 and 1.
    target : ndarray of float, shape (rows,)
        NaN where there is no label: such rows are left out before ranking.

    Returns
    -------
    float
        Between -1 and 1; NaN where it isn't defined: fewer than two labelled rows, predictions
        that are all equal, a target that is constant, or a NaN prediction on a labelled row.

    Raises
    ------
    ValueError
        If the arrays aren't 1-D and of one length.

    Notes
    -----
    Computed in float64; only the target is centred and raised in its own dtype, as there, which in
    float32 changes the ninth digit. numerai-tools drops rows whose prediction is NaN; here such an
    era has no score, because a model that answers NaN is broken and a score would hide it.

    Source: ``numerai_tools.scoring.numerai_corr`` of numerai-tools 0.7.2
    (https://github.com/numerai/numerai-tools), to which the tests hold this function.

    Examples
    --------
    >>> target = np.array([0.0, 0.25, 0.5, 0.75, 1.0, np.nan])
    >>> round(numerai_corr(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 0.0]), target), 4)
    0.9965
    >>> numerai_corr(np.full(6, 0.5), target)
    nan
    """
    predictions, target = _labelled(predictions, target)
    if not len(target):
        return math.nan
    powered = _power_1_5(target - target.mean())
    return _pearson(_power_1_5(gaussian_ranks(predictions)), powered.astype(np.float64))


def pearson(predictions: Floats, target: Floats) -> float:
    """Return the plain correlation of one era's predictions with its target.

    Parameters
    ----------
    predictions : ndarray of float, shape (rows,)
    target : ndarray of float, shape (rows,)
        NaN where there is no label: such rows are left out.

    Returns
    -------
    float
        Between -1 and 1, computed in float64; NaN as for `numerai_corr`, and where a prediction
        on a labelled row is infinite.

    Raises
    ------
    ValueError
        If the arrays aren't 1-D and of one length.

    Examples
    --------
    >>> round(pearson(np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.5, 1.0])), 6)
    1.0
    >>> pearson(np.array([1.0, 2.0]), np.array([0.5, 0.5]))
    nan
    """
    x, y = _labelled(predictions, target)
    return _pearson(x.astype(np.float64), y.astype(np.float64))


def why_undefined(predictions: Floats, target: Floats) -> str:
    """Return why an era has no `numerai_corr`, in a few words.

    Parameters
    ----------
    predictions, target : ndarray of float, shape (rows,)
        Predictions and target of one era, for which `numerai_corr` is NaN.

    Examples
    --------
    >>> why_undefined(np.array([0.1, 0.2]), np.array([0.5, np.nan]))
    'fewer than two labelled rows'
    """
    predictions, target = _labelled(predictions, target)
    if len(target) < 2:
        return "fewer than two labelled rows"
    if np.isnan(predictions).any():
        return "predictions that are no numbers"
    return "a constant target" if np.ptp(target) == 0 else "predictions that are all equal"


def uniform_ranks(values: Floats) -> Float64:
    """Return ranks along the first axis, evenly spaced between 0 and 1; ties share their mean rank.

    >>> uniform_ranks(np.array([0.3, 0.1, 0.2, 0.3])).tolist()
    [0.75, 0.125, 0.375, 0.75]
    """
    ranks: Float64 = (rankdata(values, axis=0) - 0.5) / len(values)
    return ranks


def gaussian_ranks(values: Floats) -> Float64:
    """Return ranks along the first axis, mapped to a normal distribution; ties share their rank.

    >>> gaussian_ranks(np.array([0.3, 0.1, 0.2])).round(4).tolist()
    [0.9674, -0.9674, 0.0]
    """
    normal: Float64 = ndtri(uniform_ranks(values))
    return normal


def _labelled(predictions: Floats, target: Floats) -> tuple[Floats, Floats]:
    """Return copies of both arrays without the rows whose target is NaN."""
    if predictions.ndim != 1 or predictions.shape != target.shape:
        raise ValueError(
            "predictions and target must be two 1-D arrays of one length, found shapes "
            f"{predictions.shape} and {target.shape}; pass one column, such as predictions[:, 0]"
        )
    labelled = ~np.isnan(target)
    return predictions[labelled], target[labelled]


def _power_1_5(values: Floats) -> Floats:
    """Raise to the power 1.5, keeping the sign and the dtype."""
    powered: Floats = np.copysign(np.abs(values) ** 1.5, values)
    return powered


def _pearson(x: Floats, y: Floats) -> float:
    """Return the Pearson correlation of two arrays of one length, NaN where it isn't defined."""
    if len(x) < 2 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        return math.nan
    # Compared before centring: the rounded mean of equal values may differ from them.
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    x, y = _unit(x - x.mean()), _unit(y - y.mean())
    # Rounding may carry a perfect correlation past 1 by an ulp.
    return min(1.0, max(-1.0, float(x @ y)))


def _unit(values: Floats) -> Float64:
    """Scale to a length of 1."""
    # By the largest value first: squares of very small values would be 0.
    scaled = values / np.abs(values).max()
    unit: Float64 = scaled / np.linalg.norm(scaled)
    return unit
