"""The steps for a column whose pages are known: indices to copy, rows to move and to fill.

Takes layouts of pages; returns offsets, rows and strides. A plan is made once and used for all
columns that have the same pages. Nothing here knows values.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .page_headers import Data
from .page_layout import BITS, GROUP, PageLayout


class GroupCopy(NamedTuple):
    """Groups of packed indices at equal distances, in pages with the same layout.

    Attributes
    ----------
    offset : int
        Offset of the first group from the beginning of the column's data pages.
    n_pages, page_stride : int
        Number of consecutive pages, and bytes from one to the next.
    n_runs, run_stride : int
        Number of runs in each page, and bytes from one to the next.
    n_groups : int
        Number of groups in each run.
    first_group, groups_per_page : int
        Position of the first group among the column's groups, and distance to that of the next
        page.
    """

    offset: int
    n_pages: int
    page_stride: int
    n_runs: int
    run_stride: int
    n_groups: int
    first_group: int
    groups_per_page: int


class ReadPlan:
    """The steps that decode a column, and all columns that have the same pages.

    Attributes
    ----------
    n_rows, n_groups : int
    is_common : bool
        Whether other columns may have the same plan: compression has changed none of the pages.
    pages : list of (layout, offset)
        Offsets are counted from the beginning of the column's data pages.
    copies : list of (bytes or None, GroupCopy)
        Groups to copy from a decompressed page, or from the column's data pages.
    moves : list of (first row, first value, rows)
        Rows of the looked-up values.
    fills : list of (first row, rows, index)
        Rows that have one index.
    """

    def __init__(self) -> None:
        self.n_rows = self.n_groups = 0
        self.is_common = True
        self.pages: list[tuple[PageLayout, int]] = []
        self.copies: list[tuple[Data | None, GroupCopy]] = []
        self.moves: list[tuple[int, int, int]] = []
        self.fills: list[tuple[int, int, int]] = []

    def fits(self, data: Data, begin: int) -> bool:
        """Return True if the column whose data pages begin at an offset has these pages."""
        return all(layout.fits(data, begin + offset) for layout, offset in self.pages)

    def add(self, layout: PageLayout, offset: int, n_pages: int, body: Data | None) -> None:
        """Add consecutive pages with one layout.

        Parameters
        ----------
        layout : PageLayout
        offset : int
            Offset of the first page from the beginning of the column's data pages.
        n_pages : int
        body : bytes or None
            The decompressed page, of a single one that compression has changed.
        """
        row, group = self.n_rows, self.n_groups
        self.is_common &= body is None
        self.pages += [(layout, offset + page * layout.n_bytes) for page in range(n_pages)]
        for run in layout.runs:
            if run.repeated_index is not None:
                self.fills.append((row, run.n_rows, run.repeated_index))
            else:
                begin = run.index_offset if body is not None else offset + run.index_offset
                strides = n_pages, layout.n_bytes, run.n_runs, run.stride
                copy = GroupCopy(begin, *strides, run.n_groups, group, layout.n_groups)
                self.copies.append((body, copy))
                self._move(row, GROUP * group, run.n_rows)
                group += run.n_runs * run.n_groups
            row += run.n_rows
        if n_pages > 1:  # all of them are full of packed indices
            n_more = (n_pages - 1) * layout.n_rows
            self._move(row, GROUP * group, n_more)
            row, group = row + n_more, group + n_more // GROUP
        self.n_rows, self.n_groups = row, group

    def _move(self, row: int, value: int, n_rows: int) -> None:
        last_row, last_value, n = self.moves[-1] if self.moves else (0, -1, 0)
        if last_row + n == row and last_value + n == value:
            self.moves[-1] = last_row, last_value, n + n_rows
        else:
            self.moves.append((row, value, n_rows))


def copy_groups(
    data: Data,
    begin: int,
    column_stride: int,
    copy: GroupCopy,
    out: npt.NDArray[np.uint64],
    columns: slice,
) -> None:
    """Copy groups of consecutive columns with one plan.

    Parameters
    ----------
    data : bytes or bytearray
    begin : int
        Offset of the first column's data pages.
    column_stride : int
        Bytes from one column's data pages to the next one's.
    copy : GroupCopy
    out : ndarray of uint64, shape (all columns, groups), C order
        A group is the lowest 24 bits of an item; the next eight are undefined.
    columns : slice
    """
    shape = columns.stop - columns.start, copy.n_pages, copy.n_runs, copy.n_groups
    strides = column_stride, copy.page_stride, copy.run_stride, BITS
    groups = np.ndarray(shape, "<u4", data, begin + copy.offset, strides)
    first, item = columns.start * out.shape[1] + copy.first_group, out.itemsize
    out_strides = out.strides[0], item * copy.groups_per_page, item * copy.n_groups, item
    np.copyto(np.ndarray(shape, out.dtype, out, item * first, out_strides), groups)


def stretches(numbers: Sequence[int]) -> Iterator[slice]:
    """Yield slices of consecutive numbers.

    >>> list(stretches([1, 2, 3, 7]))
    [slice(1, 4, None), slice(7, 8, None)]
    """
    first = 0
    for position in range(1, len(numbers) + 1):
        if position == len(numbers) or numbers[position] != numbers[position - 1] + 1:
            yield slice(numbers[first], numbers[position - 1] + 1)
            first = position
