"""Rows of an array of all eras that are held by the caller, in place of the rows of its files.

Has the methods of a `StitchedArray` that gathering uses. So targets that were computed come in
batches as those of files do.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate

import numpy as np

from ..arrays import Array, Float32, Int64
from ..errors import BatchError


class HeldRows:
    """The rows of all eras, one after another; thread-safe.

    Parameters
    ----------
    rows_per_era : sequence of int
    rows : ndarray of float32, shape (rows, columns)
        It isn't copied, and must not be changed.

    Attributes
    ----------
    first : ndarray of int64, shape (eras,)
        Number of each era's first row.

    Raises
    ------
    BatchError
        There are more or fewer rows than the eras have.
    """

    first: Int64

    def __init__(self, rows_per_era: Sequence[int], rows: Float32) -> None:
        if rows.ndim != 2 or len(rows) != sum(rows_per_era):
            raise BatchError(
                f"rows: expected shape ({sum(rows_per_era)}, columns), all rows of all eras, found "
                f"{rows.shape}"
            )
        self.first = np.array([0, *accumulate(rows_per_era)][:-1], np.int64)
        self.n_columns = rows.shape[1]
        self._rows = rows

    def require(self, eras: Iterable[int]) -> None:
        """Do nothing: no file can be missing."""

    def take(self, numbers: Int64, out: Array) -> None:
        """Copy rows into `out`, of shape (rows, columns), C order, and float32."""
        self._rows.take(numbers, axis=0, out=out, mode="clip")  # all numbers are valid

    def take_columns(self, numbers: Int64, columns: slice | Int64, out: Array) -> None:
        """Copy some columns of rows into `out`, of shape (rows, these columns)."""
        out[:] = self._rows[numbers][:, columns]
