"""The windows of a dataset: the rows of each era, cut at a grid. Integers only.

Windows are numbered in file order, so that those of an era follow each other, and the rows of all
eras are numbered likewise.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Int32, Int64
from ..errors import BatchError

Index = npt.NDArray[np.signedinteger[Any]]


class WindowGrid:
    """The rows of each era, cut into windows, the last of which may be short.

    Parameters
    ----------
    rows_per_era : sequence of int
    window_size : int
        Rows of a window. More rows than the largest era has are the same as that many.

    Attributes
    ----------
    rows : ndarray of int64, shape (eras,)
        Rows of each era.
    window_rows : int
        Rows of a window that isn't the last one of its era.
    n_rows, n_windows : int
    first_row : ndarray of int64, shape (eras,)
        Rows of all eras before each one.
    first_window, last_window : ndarray of int64, shape (eras,)
        The first window of each era, and the one after its last one.

    Raises
    ------
    BatchError
        There are no eras, or an era has no rows.
    """

    def __init__(self, rows_per_era: "npt.ArrayLike", window_size: int) -> None:
        self.rows: Int64 = np.asarray(rows_per_era, dtype=np.int64)
        if not len(self.rows) or self.rows.min() < 1:
            raise BatchError("rows_per_era: expected at least one era, and rows in every era")
        self.n_rows = int(self.rows.sum())
        self.first_row: Int64 = np.cumsum(self.rows) - self.rows
        self.window_rows = min(window_size, int(self.rows.max()))
        windows_per_era = -(-self.rows // self.window_rows)
        self.last_window: Int64 = np.cumsum(windows_per_era)
        self.first_window: Int64 = self.last_window - windows_per_era
        self.n_windows = int(self.last_window[-1])

    def line(self, windows: Index) -> "Line":
        """Return all windows in this order, with the number of rows up to the end of each."""
        lengths: Index = np.full(self.n_windows, self.window_rows, _index_dtype(self.n_rows))
        lengths[self.last_window - 1] -= (
            (self.last_window - self.first_window) * self.window_rows - self.rows
        ).astype(lengths.dtype)
        return Line(windows, np.cumsum(lengths[windows], dtype=lengths.dtype))

    def windows(self) -> Index:
        """Return the numbers of all windows, in file order."""
        windows: Index = np.arange(self.n_windows, dtype=_index_dtype(self.n_windows))
        return windows

    def cut(self, line: "Line", starts: Int64, lengths: Int64) -> "Cut":
        """Return the windows that sections of a line of windows consist of.

        Parameters
        ----------
        line : Line
        starts, lengths : ndarray of int64, shape (sections,)
            First row of each section, counted along the line, and its rows, at least one.
        """
        dtype = line.ends.dtype  # searchsorted would otherwise convert millions of windows
        firsts = np.searchsorted(line.ends, starts.astype(dtype), side="right")
        lasts = np.searchsorted(line.ends, (starts + lengths).astype(dtype), side="left")
        n_windows = lasts - firsts + 1
        positions = ranges(firsts, n_windows)
        section = np.repeat(np.arange(len(starts)), n_windows)
        windows, order = _sorted_with_positions(line.windows[positions])
        positions, section = positions[order], section[order]
        n_windows = np.diff(np.searchsorted(windows, self.last_window), prepend=0)
        eras = np.repeat(np.arange(len(n_windows), dtype=np.int32), n_windows)
        first_rows = (windows - self.first_window[eras]) * self.window_rows
        n_rows = np.minimum(self.window_rows, self.rows[eras] - first_rows)
        # The windows at either end of a section belong to it in part.
        offsets = line.ends[positions] - n_rows - starts[section]
        skipped = np.maximum(-offsets, 0)
        n_rows = np.minimum(n_rows, lengths[section] - offsets) - skipped
        return Cut(eras, first_rows + skipped, n_rows, section, offsets + skipped)

    def turned(self, cut: "Cut", first_rows: Int64) -> "Cut":
        """Return windows of rows that are numbered from other rows on, as windows of their files.

        Parameters
        ----------
        cut : Cut
        first_rows : ndarray of int64, shape (eras,)
            The row of each era that is number 0. After the era's last row its first one follows: a
            window that holds both becomes two.
        """
        starts, n_rows = cut.starts + first_rows[cut.eras], self.rows[cut.eras]
        before = np.clip(n_rows - starts, 0, cut.lengths)  # rows before the era's end
        windows = np.concatenate([np.flatnonzero(before), np.flatnonzero(before < cut.lengths)])
        is_after = np.arange(len(windows)) >= np.count_nonzero(before)
        eras, before = cut.eras[windows], before[windows]
        starts = np.where(is_after, np.maximum(starts - n_rows, 0)[windows], starts[windows])
        _, order = _sorted_with_positions(self.first_row[eras] + starts)
        return Cut(
            eras[order],
            starts[order],
            np.where(is_after, cut.lengths[windows] - before, before)[order],
            cut.sections[windows][order],
            (cut.offsets[windows] + np.where(is_after, before, 0))[order],
        )


@dataclass(frozen=True, slots=True)
class Line:
    """All windows, laid end to end in some order.

    Attributes
    ----------
    windows : ndarray of int, shape (windows,)
        The windows, in this order.
    ends : ndarray of int, shape (windows,)
        The number of rows up to the end of each.
    """

    windows: Index
    ends: Index


@dataclass(frozen=True, slots=True)
class Cut:
    """Windows in file order; one that comes twice in the order of its sections.

    Attributes
    ----------
    eras : ndarray of int32, shape (windows,)
    starts, lengths : ndarray of int64, shape (windows,)
        First row of each window in its era, and its rows.
    sections : ndarray of int64, shape (windows,)
        The section that each belongs to.
    offsets : ndarray of int64, shape (windows,)
        How many rows of the section come before it.
    """

    eras: Int32
    starts: Int64
    lengths: Int64
    sections: Int64
    offsets: Int64


def _index_dtype(n: int) -> type[np.signedinteger[Any]]:
    """Return int32, which halves the memory of 7 million windows, or int64 if n is too large."""
    return np.int32 if n < 2**31 - 1 else np.int64


def ranges(starts: Int64, lengths: Int64) -> Int64:
    """Return the ranges `starts[i] … starts[i] + lengths[i]`, one after another.

    >>> ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    ends = np.cumsum(lengths)
    steps = np.repeat(starts - (ends - lengths), lengths)
    return steps + np.arange(len(steps))


def _sorted_with_positions(windows: Index) -> tuple[Int64, Int64]:
    """Return windows sorted, and the former position of each; faster than a stable `argsort`.

    >>> [found.tolist() for found in _sorted_with_positions(np.array([7, 2, 5]))]
    [[2, 5, 7], [1, 2, 0]]
    """
    bits = len(windows).bit_length()
    both = np.sort((windows.astype(np.int64) << bits) | np.arange(len(windows)))
    return both >> bits, both & ((1 << bits) - 1)
