"""Scores of predictions that are made neutral to features: FNC, and CORR by the proportion.

Takes predictions and the target of *one* era, and its `Neutralizer`; returns scores, or why there
are none. No I/O; numpy and scipy only.
"""

import math
from collections.abc import Sequence

import numpy as np

from ...arrays import Float64, Floats, Mask
from .metrics import gaussian_ranks, numerai_corr, uniform_ranks
from .neutralizer import Neutralizer

_NOTHING = 1e-9  # of the predictions' length: a residual below it is rounding errors
_DECIMALS = 11  # that count of residuals up to 1


def feature_neutral_corr(predictions: Floats, target: Floats, neutralizer: Neutralizer) -> Float64:
    """Return the correlation with the target of what features don't explain (FNC), for each model.

    Predictions are ranked and mapped to a normal distribution, made neutral to the features, and
    scored by `numerai_corr`.

    Parameters
    ----------
    predictions : ndarray of float, shape (rows, models)
        Predictions of the rows that have a label: rows without one take no part in the fit.
    target : ndarray of float, shape (rows,)
        The target, without NaN.
    neutralizer : Neutralizer
        The features of the same rows.

    Returns
    -------
    ndarray of float64, shape (models,)
        NaN where it isn't defined; `why_not_neutral` says why.

    Notes
    -----
    Source: ``numerai_tools.scoring.feature_neutral_corr`` of numerai-tools 0.7.2, to which the
    tests hold this function.
    """
    _check_labels(predictions, target)
    known = ~np.isnan(predictions).any(axis=0)
    scores = np.full(predictions.shape[1], math.nan)
    if len(target) > 1:
        ranks = gaussian_ranks(predictions[:, known])
        (scores[known],) = _scores(ranks, target, neutralizer, [1.0])
    return scores


def neutralized_corr(
    predictions: Floats, target: Floats, neutralizer: Neutralizer, proportions: Sequence[float]
) -> Float64:
    """Return the score of predictions that are made neutral as `predict --neutralize` does.

    Parameters
    ----------
    predictions, target, neutralizer
        See `feature_neutral_corr`. The ranks of the predictions are made neutral.
    proportions : sequence of float
        Between 0 and 1.

    Returns
    -------
    ndarray of float64, shape (proportions, models)
        `numerai_corr` for each proportion; NaN as for `feature_neutral_corr`.
    """
    _check_labels(predictions, target)
    known = ~np.isnan(predictions).any(axis=0)
    scores = np.full((len(proportions), predictions.shape[1]), math.nan)
    if len(target) > 1:
        ranks = uniform_ranks(predictions[:, known])
        scores[:, known] = _scores(ranks, target, neutralizer, proportions)
    return scores


def is_explained(predictions: Floats, residual: Floats) -> Mask:
    """Return whether nothing but rounding errors is left of each model's predictions.

    Parameters
    ----------
    predictions, residual : ndarray of float, shape (rows, models)
        What a `Neutralizer` was given, and what it returned.

    Returns
    -------
    ndarray of bool, shape (models,)
        True as well where the residual is NaN.
    """
    left, before = (
        np.linalg.norm(part - part.mean(axis=0), axis=0) for part in (residual, predictions)
    )
    explained: Mask = np.logical_not(left > _NOTHING * before)
    return explained


def to_rank(residual: Float64) -> Float64:
    """Return a residual in which rounding errors don't order rows that are tied.

    Parameters
    ----------
    residual : ndarray of float64, shape (rows,)
        The residual of one model; not all 0.

    Examples
    --------
    >>> to_rank(np.array([0.1 + 0.2, 0.3, -0.6])).tolist()
    [0.5, 0.5, -1.0]
    """
    rounded: Float64 = np.round(residual / np.abs(residual).max(), _DECIMALS)
    return rounded


def why_not_neutral(predictions: Floats, target: Floats, neutralizer: Neutralizer) -> str:
    """Return why one model has no `feature_neutral_corr` in an era, in a few words.

    Parameters
    ----------
    predictions : ndarray of float, shape (rows,)
        Predictions of the model, for which the score is NaN.
    target, neutralizer
        See `feature_neutral_corr`.
    """
    if len(target) < 2:
        return "fewer than two labelled rows"
    if np.isnan(predictions).any():
        return "predictions that are no numbers"
    if np.ptp(target) == 0:
        return "a constant target"
    if np.ptp(predictions) == 0:
        return "predictions that are all equal"
    if neutralizer.has_missing:
        return "missing features"
    return "predictions that the features explain completely"


def _scores(
    ranks: Float64, target: Floats, neutralizer: Neutralizer, proportions: Sequence[float]
) -> Float64:
    """Return the scores of ranks of one kind or another, by proportion and model."""
    explained = neutralizer.explained(ranks)
    scores = np.full((len(proportions), ranks.shape[1]), math.nan)
    for row, proportion in enumerate(proportions):
        rest = ranks - proportion * explained
        for model in np.flatnonzero(~is_explained(ranks, rest)):
            scores[row, model] = numerai_corr(to_rank(rest[:, model]), target)
    return scores


def _check_labels(predictions: Floats, target: Floats) -> None:
    if predictions.ndim != 2 or target.shape != predictions.shape[:1] or np.isnan(target).any():
        raise ValueError(
            "expected predictions of shape (rows, models) and a target of shape (rows,) without "
            f"NaN, found shapes {predictions.shape} and {target.shape}; leave out rows without a "
            "label"
        )
