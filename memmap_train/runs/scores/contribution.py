"""Contribution of predictions to another model's: MMC against the meta model, BMC against others.

Takes the predictions, the other model's predictions and the target of *one* era; returns a score
for each model. No I/O; numpy and scipy only.
"""

import math

import numpy as np

from ...arrays import Float64, Floats
from .metrics import gaussian_ranks, numerai_corr


def correlation_contribution(predictions: Floats, other: Floats, target: Floats) -> Float64:
    """Return what the predictions of models add to another model's correlation with the target.

    Predictions and the other model's are ranked (ties share their mean rank) and mapped to a normal
    distribution; what the predictions share with the other model is subtracted from them; and the
    rest is multiplied with the centred target, whose bins count as -2 to 2, and averaged over rows.

    Parameters
    ----------
    predictions : ndarray of float, shape (rows, models)
        Only their order matters.
    other : ndarray of float, shape (rows,)
        The meta model's predictions for MMC, a benchmark's for BMC; NaN where a row has none.
    target : ndarray of float, shape (rows,)
        NaN where there is no label.

    Returns
    -------
    ndarray of float64, shape (models,)
        NaN where it isn't defined: fewer than two rows that have both a label and a prediction of
        the other model; the other model's predictions all equal; or a NaN prediction in these rows.
        Predictions that are all equal contribute exactly 0.

    Raises
    ------
    ValueError
        If the shapes don't fit.

    Notes
    -----
    Rows without a label, or without a prediction of the other model, are left out before ranking,
    as in numerai-tools. There more than 20 % of such rows are an error; here the score is that of
    the rest, and the caller says how many rows it has.

    A target between 0 and 1 is multiplied by 4 before it is centred, any other isn't. The score
    isn't a correlation: it is a covariance. The target is centred in its own dtype, as there.

    Source: ``numerai_tools.scoring.correlation_contribution`` of numerai-tools 0.7.2
    (https://github.com/numerai/numerai-tools), to which the tests hold this function.

    Examples
    --------
    >>> target = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    >>> other = np.array([0.3, 0.1, 0.5, 0.2, 0.4])
    >>> scores = correlation_contribution(np.column_stack([target, other]), other, target)
    >>> scores.round(4).tolist()
    [1.1343, 0.0]
    """
    predictions, other, target = _common_rows(predictions, other, target)
    n_rows, n_models = predictions.shape
    scores = np.full(n_models, math.nan)
    if n_rows < 2 or np.ptp(other) == 0:
        return scores
    numbers = ~np.isnan(predictions).any(axis=0)
    ranks = gaussian_ranks(predictions[:, numbers])
    other_ranks = gaussian_ranks(other)
    shared = ranks.T @ other_ranks / (other_ranks @ other_ranks)
    rest = ranks - np.outer(other_ranks, shared)
    if target.min() >= 0 and target.max() <= 1:
        target = target * 4
    scores[numbers] = (target - target.mean()) @ rest / n_rows
    return scores


def why_no_contribution(predictions: Floats, other: Floats, target: Floats) -> str:
    """Return why one model has no `correlation_contribution` in an era, in a few words.

    Parameters
    ----------
    predictions : ndarray of float, shape (rows,)
        Predictions of the model, for which the score is NaN.
    other, target : ndarray of float, shape (rows,)
        See `correlation_contribution`.

    Examples
    --------
    >>> nan = math.nan
    >>> why_no_contribution(np.array([0.1, 0.2]), np.array([nan, nan]), np.array([0.5, 1.0]))
    'the other model has no row with a label'
    """
    rows, other, _ = _common_rows(predictions[:, None], other, target)
    if not len(other):
        if np.isnan(target).all():
            return "fewer than two labelled rows"
        return "the other model has no row with a label"
    if len(other) < 2:
        return "fewer than two rows that the other model has too"
    if np.isnan(rows).any():
        return "predictions that are no numbers"
    return "the other model's predictions are all equal"


def correlation_with(predictions: Floats, other: Floats) -> Float64:
    """Return the correlation of models' predictions with those of a benchmark or the meta model.

    It is `numerai_corr` with the other model's predictions as the target, over the given rows that
    have one.

    Parameters
    ----------
    predictions : ndarray of float, shape (rows, models)
    other : ndarray of float, shape (rows,)
        NaN where a row has none.

    Returns
    -------
    ndarray of float64, shape (models,)
        NaN as for `numerai_corr`, and `metrics.why_undefined` says why.

    Notes
    -----
    Not symmetric: the predictions count by their order, the other model's by their values. Numerai
    itself takes this for ``avg_corr_with_benchmark``.

    Source: ``per_era_pred_corr`` in ``numerai/agents/code/metrics/numerai_metrics.py`` of
    https://github.com/numerai/example-scripts

    Examples
    --------
    >>> other = np.array([0.1, 0.2, 0.3, 0.4, np.nan])
    >>> predictions = np.array([[1.0], [2.0], [3.0], [4.0], [5.0]])
    >>> correlation_with(predictions, other).round(4).tolist()
    [0.999]
    """
    return np.array([numerai_corr(of_model, other) for of_model in predictions.T])


def _common_rows(
    predictions: Floats, other: Floats, target: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return copies of the rows that have a label and a prediction of the other model."""
    if predictions.ndim != 2 or not other.shape == target.shape == predictions.shape[:1]:
        raise ValueError(
            "expected predictions of shape (rows, models), other and target of shape (rows,), "
            f"found shapes {predictions.shape}, {other.shape} and {target.shape}"
        )
    common = ~(np.isnan(other) | np.isnan(target))
    return predictions[common], other[common], target[common]
