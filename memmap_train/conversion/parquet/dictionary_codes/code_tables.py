"""Tables from packed indices to codes: four rows, 12 bits, in one look-up.

Takes dictionary pages and groups of eight packed indices; returns codes. A table has the codes
of four rows, four bytes, for each of the 4,096 values of 12 bits. Many columns share one table,
since their dictionaries are the same.
"""

import numpy as np
import numpy.typing as npt

from ....arrays import Bytes, Positions
from .page_layout import BITS, GROUP, Decompress, parse_dictionary

_GROUPS_AT_ONCE = 2**16  # looked up: what that takes stays in a core's own cache
_NO_CODE = 255  # for an index that a dictionary doesn't have
_INDICES = 1 << 4 * BITS  # of a table: those of four rows
_SHIFT, _LOWER_12, _BOTH_HALVES = np.uint64(20), np.uint64((1 << 12) - 1), np.uint64((1 << 32) + 1)


class CodeTables:
    """The tables of a file's dictionaries, and scratch arrays for look-ups; for one thread.

    Parameters
    ----------
    n_tables : int
        Maximum number of tables.
    """

    def __init__(self, n_tables: int) -> None:
        self._numbers: dict[tuple[bytes, bool], int] = {}  # table of a dictionary page
        self._tables = np.empty((n_tables, _INDICES), np.uint32)
        self._groups = np.empty(0, np.uint64)
        self._values = np.empty(0, np.uint32)
        self._shifted = np.empty(_GROUPS_AT_ONCE, np.uint64)
        self._indices = np.empty(2 * _GROUPS_AT_ONCE, np.intp)

    def __len__(self) -> int:
        return len(self._numbers)

    def clear(self) -> None:
        """Forget all tables."""
        self._numbers.clear()

    def number(self, page: bytes, decompress: Decompress | None) -> int:
        """Return the number of the table of a dictionary page.

        Raises
        ------
        UnsupportedLayoutError, IndexError
            See `parse_dictionary`.
        """
        key = page, decompress is not None
        if key not in self._numbers:
            codes = parse_dictionary(page, decompress)
            of_index = np.full(1 << BITS, _NO_CODE, np.uint8)
            of_index[: len(codes)] = np.frombuffer(codes, np.uint8)
            four = np.arange(_INDICES)[:, np.newaxis] >> (BITS * np.arange(4))
            number = self._numbers[key] = len(self._numbers)
            self._tables[number] = of_index[four & (len(of_index) - 1)].view(np.uint32)[:, 0]
        return self._numbers[key]

    def codes_of(self, tables: Positions, index: int) -> npt.NDArray[np.uint32]:
        """Return the code of one index in each of some tables."""
        found: npt.NDArray[np.uint32] = self._tables[tables, index] & 255
        return found

    def scratch(self, n_columns: int, n_groups: int) -> npt.NDArray[np.uint64]:
        """Return a scratch array for groups to be looked up: shape (columns, groups)."""
        n = n_columns * n_groups
        if len(self._groups) < n:
            self._groups = np.empty(n, np.uint64)
            self._values = np.empty(2 * n, np.uint32)
        return self._groups[:n].reshape(n_columns, n_groups)

    def look_up(self, groups: npt.NDArray[np.uint64], tables: Positions) -> Bytes:
        """Return the codes of groups, a byte each.

        Parameters
        ----------
        groups : ndarray of uint64, shape (columns, groups)
            The array of `scratch`; the lowest 24 bits of an item are eight indices.
        tables : ndarray of intp, shape (columns,)
            The number of each column's table.

        Returns
        -------
        ndarray of uint8, shape (columns, 8 * groups)
            A scratch array, overwritten by the next call.
        """
        n_columns, n_groups = groups.shape
        marks = (tables * _INDICES).astype(np.uint64) * _BOTH_HALVES
        at_once = max(1, _GROUPS_AT_ONCE // max(1, n_groups))
        done = 0
        for column in range(0, n_columns, at_once):
            mark = marks[column : column + at_once, np.newaxis]
            for first in range(0, n_groups, _GROUPS_AT_ONCE):
                bits = groups[column : column + at_once, first : first + _GROUPS_AT_ONCE]
                shifted = self._shifted[: bits.size].reshape(bits.shape)
                indices = self._indices[: 2 * bits.size]
                np.left_shift(bits, _SHIFT, out=shifted)  # 12 of 24 bits: into the upper half
                np.bitwise_or(bits, shifted, out=shifted)
                np.bitwise_and(shifted, _LOWER_12 * _BOTH_HALVES, out=shifted)
                np.bitwise_or(shifted, mark, out=shifted)
                np.copyto(indices, shifted.reshape(-1).view(np.uint32))
                out = self._values[done : done + len(indices)]
                self._tables.reshape(-1).take(indices, out=out, mode="wrap")
                done += len(indices)
        return self._values[:done].view(np.uint8).reshape(n_columns, GROUP * n_groups)
