"""Columns of rows: all of them, a contiguous range, or any, copied into buffers.

Takes mapped or read rows and the columns to take; nothing is known of eras or pools here.
"""

import numpy as np

from ..arrays import Array, Int64
from .held_rows import HeldRows
from .stitched_map import StitchedArray

_MAX_AT_ONCE = 1024  # rows gathered in one call, which can't be interrupted
_SCATTERED_BYTES = 2**18  # gathered before they are scattered: within a core's own cache


class Columns:
    """Columns to take from rows.

    Parameters
    ----------
    columns : tuple of int or None
        None for all.
    n_columns : int
        The number of columns of the rows.
    """

    def __init__(self, columns: tuple[int, ...] | None, n_columns: int) -> None:
        self._columns: slice | Int64 | None = None
        if columns is not None:
            self._columns = np.array(columns)
            if columns == tuple(range(columns[0], columns[0] + len(columns))):
                self._columns = slice(columns[0], columns[0] + len(columns))
        self._n = n_columns if columns is None else len(columns)

    def names(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names of these columns, of those of all columns."""
        if isinstance(self._columns, slice):
            return names[self._columns]
        return names if self._columns is None else tuple(names[i] for i in self._columns)

    @property
    def are_all(self) -> bool:
        """Whether rows are taken as they are."""
        return self._columns is None

    def gather(self, space: StitchedArray | HeldRows, numbers: Int64, out: Array) -> None:
        """Copy rows of these numbers into `out`, one after another."""
        for low in range(0, len(numbers), _MAX_AT_ONCE):
            some = slice(low, low + _MAX_AT_ONCE)
            if self._columns is None:
                space.take(numbers[some], out[some])
            else:
                space.take_columns(numbers[some], self._columns, out[some])

    def scatter(self, space: StitchedArray, buffer: Array, numbers: Int64, places: Int64) -> None:
        """Copy rows of these numbers to their places in a buffer."""
        at_once = min(_MAX_AT_ONCE, max(1, _SCATTERED_BYTES // (self._n * buffer.itemsize)))
        rows = np.empty((min(at_once, len(numbers)), self._n), buffer.dtype)
        for low in range(0, len(numbers), at_once):
            to = places[low : low + at_once]
            self.gather(space, numbers[low : low + at_once], rows[: len(to)])
            buffer[to] = rows[: len(to)]

    def put(self, rows: Array, buffer: Array, places: Int64) -> None:
        """Copy whole rows to their places in a buffer."""
        if self._columns is None:
            buffer[places] = rows
        elif isinstance(self._columns, slice):
            buffer[places] = rows[:, self._columns]
        else:
            buffer[places] = rows.take(self._columns, axis=1)
