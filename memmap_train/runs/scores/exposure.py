"""Exposures of predictions to features, and turnover between eras.

Takes the features of *one* era as they are stored, and predictions of its rows; returns
correlations. No I/O; numpy only.
"""

import math

import numpy as np
from scipy.stats import rankdata

from ...arrays import Float64, Floats, Int64, Stored

_BLOCK_ROWS = 256  # decoded to float64 at once: 7 MB of 3,555 features
_SAME = 1e-12  # correlations nearer to each other than rounding errors


def exposures(features: Stored, predictions: Floats) -> Float64:
    """Return the correlation of each model's predictions with each feature, in one era.

    Parameters
    ----------
    features : ndarray of float32 or int8, shape (rows, features)
        The features as a shard holds them: a constant scale and offset don't change a
        correlation. A memory map is read once, in blocks of rows.
    predictions : ndarray of float, shape (rows, models)
        The predictions as they are, not ranked.

    Returns
    -------
    ndarray of float64, shape (features, models)
        Plain (Pearson) correlations; NaN for a feature that is constant or has missing values, and
        for predictions that are all equal or not finite.

    Raises
    ------
    ValueError
        If the shapes don't fit.

    Notes
    -----
    Source: ``numerai_tools.scoring.max_feature_correlation`` of numerai-tools 0.7.2, which takes
    the largest absolute value of these.

    Examples
    --------
    >>> features = np.array([[0, 2], [1, 2], [2, 2], [4, 2]], np.int8)
    >>> exposures(features, np.array([[0.1], [0.2], [0.3], [0.5]])).round(6).tolist()
    [[1.0], [nan]]
    """
    if features.ndim != 2 or predictions.ndim != 2 or len(features) != len(predictions):
        raise ValueError(
            "expected features of shape (rows, features) and predictions of shape (rows, models), "
            f"found shapes {features.shape} and {predictions.shape}"
        )
    (n_rows, n_features), n_models = features.shape, predictions.shape[1]
    if n_rows < 2:
        return np.full((n_features, n_models), math.nan)
    with np.errstate(invalid="ignore", over="ignore"):
        centred = predictions.astype(np.float64)
        is_defined = np.isfinite(centred).all(axis=0) & (np.ptp(centred, axis=0) > 0)
        centred[:, ~is_defined] = 0
        centred -= centred.mean(axis=0)
        centred /= np.linalg.norm(centred, axis=0)  # NaN where undefined
        products, sums, squares = _products(features, centred)
        spread = squares - sums * sums / n_rows
        spread[spread <= squares * _SAME] = math.nan
        found: Float64 = np.clip(products / np.sqrt(spread)[:, None], -1, 1)
        return found


def maximal_exposure(of_features: Float64) -> tuple[Int64, Float64]:
    """Return each model's largest exposure.

    Parameters
    ----------
    of_features : ndarray of float64, shape (features, models)
        What `exposures` returns.

    Returns
    -------
    features : ndarray of int64, shape (models,)
        The position of the feature; the first of several with the same exposure; -1 where no
        exposure is defined.
    values : ndarray of float64, shape (models,)
        The absolute correlation with it; NaN where no exposure is defined.

    Examples
    --------
    >>> maximal_exposure(np.array([[0.1, math.nan], [-0.3, math.nan], [0.3, math.nan]]))
    (array([ 1, -1]), array([0.3, nan]))
    """
    absolute = np.abs(of_features)
    known = np.where(np.isnan(absolute), -1.0, absolute)
    largest = known.max(axis=0, initial=-1.0)
    first = (known >= largest - _SAME).argmax(axis=0) if len(known) else largest.astype(np.int64)
    return np.where(largest < 0, -1, first), np.where(largest < 0, math.nan, largest)


def rms_exposure(of_features: Float64) -> Float64:
    """Return the root of each model's mean squared exposure, over the features that have one.

    >>> rms_exposure(np.array([[0.3, math.nan], [-0.4, math.nan], [math.nan, math.nan]])).tolist()
    [0.3535533905932738, nan]
    """
    known = ~np.isnan(of_features)
    n_known = known.sum(axis=0)
    total = np.square(np.where(known, of_features, 0.0)).sum(axis=0)
    return np.sqrt(np.where(n_known > 0, total / np.maximum(n_known, 1), math.nan))


def turnover(predictions: Floats, ids: Stored, before: Floats, ids_before: Stored) -> Float64:
    """Return how much the order of each model's predictions changes from one era to the next.

    Parameters
    ----------
    predictions, before : ndarray of float, shape (rows, models)
        Predictions of an era, and of the era before it.
    ids, ids_before : ndarray of bytes or str, shape (rows,)
        Their ids, which don't repeat within an era.

    Returns
    -------
    ndarray of float64, shape (models,)
        1 minus the rank (Spearman) correlation over the ids that both eras have: 0 for the same
        order, 2 for the opposite one. NaN where it isn't defined: fewer than two such ids, or
        predictions of them that are all equal or no numbers.

    Notes
    -----
    Numerai's own ids name a row of one era, so they never repeat.

    Source: ``numerai_tools.signals.churn`` of numerai-tools 0.7.2, which wants at least 80 % of the
    ids of either era to be in the other one.

    Examples
    --------
    >>> ids = np.array([b"a", b"b", b"c"])
    >>> now, before = np.array([[0.1], [0.2], [0.3]]), np.array([[0.3], [0.1]])
    >>> turnover(now, ids, before, ids[1:]).tolist()
    [2.0]
    """
    _, positions, positions_before = np.intersect1d(
        ids, ids_before, assume_unique=True, return_indices=True
    )
    shared, shared_before = predictions[positions], before[positions_before]
    scores = np.full(predictions.shape[1], math.nan)
    for model in range(len(scores) if len(positions) > 1 else 0):
        now, then = shared[:, model], shared_before[:, model]
        if np.isfinite(now).all() and np.isfinite(then).all() and np.ptp(now) and np.ptp(then):
            scores[model] = 1 - np.corrcoef(rankdata(now), rankdata(then))[0, 1]
    return scores


def _products(features: Stored, predictions: Float64) -> tuple[Float64, Float64, Float64]:
    """Return features' products with predictions, their sums and sums of squares."""
    n_features = features.shape[1]
    products = np.zeros((n_features, predictions.shape[1]))
    sums, squares = np.zeros(n_features), np.zeros(n_features)
    for low in range(0, len(features), _BLOCK_ROWS):
        block = features[low : low + _BLOCK_ROWS].astype(np.float64)
        products += block.T @ predictions[low : low + _BLOCK_ROWS]
        sums += block.sum(axis=0)
        squares += np.einsum("ij,ij->j", block, block)
    return products, sums, squares
