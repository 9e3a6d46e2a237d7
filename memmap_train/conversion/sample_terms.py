"""The terms of a sample's signal: weighted sums and products of features, of variance 1 in an era.

Takes codes of features; returns arrays over the rows of one era. Imports numpy alone, and does no
I/O.

All weights are integers. Sums of integers are exact in float32 below 2**24, which some 50,000
features would reach, so no order of summation (number of BLAS threads) moves a row into another
bin.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from ..arrays import Float32, Float64, Int8, Stored

_LINEAR_SHARE = 0.85  # of the variance of a sum with products
_MAX_PRODUCTS = 8


@dataclass(frozen=True, slots=True)
class Products:
    """Squares and products of a few features, with their weights.

    Attributes
    ----------
    left, right : ndarray of int64, shape (products,)
        The columns that are multiplied.
    weights : ndarray of int64, shape (products,)
        -1 or 1.
    """

    left: Stored
    right: Stored
    weights: Stored

    @classmethod
    def drawn(cls, rng: np.random.Generator, n_features: int) -> Self:
        """Draw up to eight products; every other one is a square."""
        n_products = min(_MAX_PRODUCTS, n_features // 2)
        left, right = rng.permutation(n_features)[: 2 * n_products].reshape(2, -1)
        right[::2] = left[::2]
        return cls(left, right, rng.choice([-1, 1], n_products))

    def added(self, linear: Float32, codes: Int8) -> Float32:
        """Return a linear sum, and the sum of these products, mixed.

        Parameters
        ----------
        linear : ndarray of float32, shape (rows,)
        codes : ndarray of int8, shape (features, rows)
        """
        centre = np.int8(2)
        products = (codes[self.left] - centre) * (codes[self.right] - centre)
        (total,) = standardised_sums([self.weights], products)
        return mixed(linear, total, share=_LINEAR_SHARE)


def integer_weights(rng: np.random.Generator, n_features: int) -> Float64:
    """Return normal weights, as integers."""
    return np.rint(100 * rng.standard_normal(n_features))


def standardised_sums(weights: Sequence[Stored], values: Int8) -> Float32:
    """Return weighted sums of the columns' values, each of mean 0 and variance 1 over the rows.

    Parameters
    ----------
    weights : sequence of ndarray, each of shape (columns,)
    values : ndarray of int8, shape (columns, rows)

    Returns
    -------
    ndarray of float32, shape (weights, rows)
    """
    sums = np.asarray(weights, np.float32) @ values.astype(np.float32)
    mean = sums.mean(axis=1, keepdims=True, dtype=np.float64)
    spread = sums.std(axis=1, keepdims=True, dtype=np.float64)
    standardised: Float32 = ((sums - mean) / spread).astype(np.float32)
    return standardised


def mixed(first: Float32, second: Float32, *, share: float) -> Float32:
    """Add two terms of variance 1, so that the first has this share of a variance of 1."""
    return np.float32(share**0.5) * first + np.float32((1 - share) ** 0.5) * second
