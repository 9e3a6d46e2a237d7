"""Predictions of one era made neutral to features, in numpy alone.

The mathematics is that of `runs.scores.neutralizer`, to which the tests hold it: the features'
covariance is factorised with the most independent features first, and singular values below 1e-6
of the largest count as zero, as in ``numerai_tools.scoring.neutralize``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Float64s = npt.NDArray[np.float64]

BLOCK_ROWS, BLOCK_COLUMNS = 1024, 64
RCOND = 1e-6
NOTHING = 1e-9  # of the predictions' length: a residual below it is rounding errors
DECIMALS = 11  # that count of residuals up to 1
ROUNDING = 1e-10  # of the predictions' length: an error that is worth no further step
POWER_STEPS = 4  # of the power iteration for the largest singular value
EXACT = 2**24  # float32 represents all whole numbers below


def residual(ranks: Float64s, features: npt.NDArray[Any], proportion: float) -> Float64s:
    """Return predictions without a share of what features explain, ready to be ranked.

    Parameters
    ----------
    ranks : ndarray of float64, shape (rows,)
        Not all equal.
    features : ndarray of float32 or int8, shape (rows, features)
        Without NaN.
    proportion : float
        From 0 to 1.

    Raises
    ------
    ValueError
        The features explain the predictions completely.
    """
    rest = ranks - proportion * explained(ranks, features)
    if not np.linalg.norm(rest - rest.mean()) > NOTHING * np.linalg.norm(ranks - ranks.mean()):
        raise ValueError(
            f"the features explain the predictions of an era of {len(ranks):,} rows completely: "
            "neutralise to fewer features, or choose a smaller proportion"
        )
    # Rounding errors must not order rows that are tied.
    rounded: Float64s = np.round(rest / np.abs(rest).max(), DECIMALS)
    return rounded


def explained(ranks: Float64s, features: npt.NDArray[Any]) -> Float64s:
    """Return the least-squares fit of predictions by features and a constant."""
    sums, products = _products(features)
    covariance = products - np.outer(sums / len(features), sums)
    del products
    factor, pivots = pivoted_cholesky(covariance, _least(covariance, sums, len(features)))
    del covariance
    if len(pivots) >= len(ranks) - 1:  # nothing that they couldn't explain
        return ranks
    rest: Float64s = ranks - ranks.mean()
    if not len(pivots):
        return ranks - rest
    weights, _ = _weights(rest, features, sums, factor, pivots)
    rest = rest - _fit(weights, features, sums)
    # Of what is left nothing should be explained; where features are nearly collinear, it is.
    weights, length = _weights(rest, features, sums, factor, pivots)
    if length > ROUNDING * np.linalg.norm(ranks):
        rest = rest - _fit(weights, features, sums)
    return ranks - rest


def pivoted_cholesky(covariance: Float64s, least: float) -> tuple[Float64s, npt.NDArray[np.intp]]:
    """Factorise a symmetric matrix, with the largest pivots first, as LAPACK's dpstrf does.

    Parameters
    ----------
    covariance : ndarray of float64, shape (n, n)
        It is overwritten.
    least : float
        Pivots below it end the factorisation.

    Returns
    -------
    tuple of ndarray of float64, shape (rank, rank), and ndarray of int, shape (rank,)
        The lower factor of the chosen rows and columns, and which they are, in order.
    """
    n = len(covariance)
    order = np.arange(n)
    diagonal = covariance.diagonal().copy()
    for begin in range(0, n, BLOCK_COLUMNS):
        end = min(begin + BLOCK_COLUMNS, n)
        for column in range(begin, end):
            pivot = column + int(np.argmax(diagonal[column:]))
            if not diagonal[pivot] > max(least, 0.0):
                return np.tril(covariance[:column, :column]), order[:column]
            if pivot != column:
                pair, swapped = [column, pivot], [pivot, column]
                covariance[pair] = covariance[swapped]
                covariance[:, pair] = covariance[:, swapped]
                order[pair], diagonal[pair] = order[swapped], diagonal[swapped]
            root = math.sqrt(diagonal[column])
            below = covariance[column + 1 :, column]
            below -= covariance[column + 1 :, begin:column] @ covariance[column, begin:column]
            below /= root
            covariance[column, column] = root
            diagonal[column + 1 :] -= below * below
        # The upper triangle of what is left is kept up to date as well: rows are swapped with it.
        panel = covariance[end:, begin:end]
        covariance[end:, end:] -= panel @ panel.T
    return np.tril(covariance), order


def _products(features: npt.NDArray[Any]) -> tuple[Float64s, Float64s]:
    """Return the sum of each feature, and the products of all pairs.

    Sums of codes have no rounding errors in float32, in which it takes half the time.
    """
    kind: Any = np.float32 if _add_exactly(features) else np.float64
    n_features = features.shape[1]
    sums, products = np.zeros(n_features), np.zeros((n_features, n_features), kind)
    for _, block in _blocks(features, kind):
        sums += block.sum(axis=0, dtype=np.float64)
        products += block.T @ block
    return sums, products.astype(np.float64, copy=False)


def _add_exactly(features: npt.NDArray[Any]) -> bool:
    """Return True if products of such features add up exactly in float32: those of codes do."""
    for _, block in _blocks(features, np.float32):
        quarters = block * 4
        largest = float(np.abs(quarters).max(initial=0))
        if not (quarters == np.rint(quarters)).all() or largest**2 * len(features) >= EXACT:
            return False
    return True


def _least(covariance: Float64s, sums: Float64s, n_rows: int) -> float:
    """Return the smallest pivot that counts, from the largest singular value of the features."""
    vector, length = sums + 1.0, 0.0
    for _ in range(POWER_STEPS):
        vector = vector / np.linalg.norm(vector)
        product = covariance @ vector + sums * (sums @ vector / n_rows)
        length, vector = float(np.linalg.norm(product)), product
        if length == 0:
            break
    return RCOND**2 * length


def _weights(
    centred: Float64s,
    features: npt.NDArray[Any],
    sums: Float64s,
    factor: Float64s,
    pivots: npt.NDArray[np.intp],
) -> tuple[Float64s, float]:
    """Return the features' weights in the fit of centred predictions, and the fit's length."""
    products = -sums * centred.mean()
    for place, block in _blocks(features, np.float64):
        products += block.T @ centred[place]
    half = _solved(factor, products[pivots])
    weights = np.zeros_like(products)
    # The transposed factor, read backwards, is a lower one.
    weights[pivots] = _solved(factor.T[::-1, ::-1], half[::-1])[::-1]
    return weights, float(np.linalg.norm(half))


def _solved(lower: Float64s, right: Float64s) -> Float64s:
    """Return the solution of a system with a lower triangular matrix."""
    found = np.empty_like(right)
    for low in range(0, len(right), BLOCK_COLUMNS):
        part = slice(low, low + BLOCK_COLUMNS)
        rest = right[part] - lower[part, :low] @ found[:low]
        found[part] = np.linalg.solve(lower[part, part], rest)
    return found


def _fit(weights: Float64s, features: npt.NDArray[Any], sums: Float64s) -> Float64s:
    """Return the fit that features with these weights make; its mean is 0."""
    fit = np.empty(len(features))
    for place, block in _blocks(features, np.float64):
        fit[place] = block @ weights
    return fit - sums @ weights / len(features)


def _blocks(
    features: npt.NDArray[Any], dtype: npt.DTypeLike
) -> Iterator[tuple[slice, npt.NDArray[Any]]]:
    """Yield blocks of rows, each with its place."""
    for low in range(0, len(features), BLOCK_ROWS):
        place = slice(low, low + BLOCK_ROWS)
        yield place, features[place].astype(dtype)
