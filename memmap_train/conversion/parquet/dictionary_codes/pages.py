"""Codes straight out of pages: features of a few whole numbers, without Arrow's detours.

Parquet knows nothing below 32 bits, so Numerai's int8 features are dictionaries of five values, and
three bits for each row. Arrow makes definition levels of a page, marks what is null, makes indices
of 32 bits, values of 32 bits, and bytes of them at last. Here the bits of four rows are one look
into a table of four bytes, for many columns at once: the pages of most are laid out alike to the
byte. What `page_layout` doesn't know is left to Arrow, and so is what is damaged: it knows how to
complain.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...codec import MAX_CODE
from .footer import Chunk, Footer
from .page_headers import Data, OtherLayoutError
from .page_layout import BITS, GROUP, PageLayout, parse_dictionary, parse_page

Bytes = npt.NDArray[np.uint8]

_VALUES_AT_ONCE = 2**20  # fewer are many small steps, for each of which threads wait
_GROUPS_AT_ONCE = 2**16  # looked up: what that takes stays in a core's own cache
_MAX_COLUMNS = 256  # read at once
_NO_CODE = 255  # what an index becomes that a dictionary doesn't have
_INDICES = 1 << 4 * BITS  # of a table: of four rows
_SHIFT, _LOWER_12, _BOTH_HALVES = np.uint64(20), np.uint64((1 << 12) - 1), np.uint64((1 << 32) + 1)
_DICTIONARY_BYTES = 128  # of a dictionary's page, at most
_SPARE_BYTES = 8  # eight indices are read as four bytes, of which they take three
_MAX_PAGE_BYTES = 65_536  # of a column, beside one for each row
_MAX_KNOWN = 256  # layouts, dictionaries
_KEY_BYTES = 12  # of a page's header: how many bytes and rows it has


class _Copy(NamedTuple):
    """Packed indices at equal distances.

    Attributes
    ----------
    place : int
        Of the first ones, from where a column's data pages begin.
    n_pages, page_bytes : int
        In how many pages that are laid out alike, and bytes from one to the next.
    n_runs, run_bytes : int
        The same, of runs in each of these.
    n_groups : int
        Of eight indices in each of these.
    first, page_groups : int
        Where they belong among the column's groups, and how many later those of the next page.
    """

    place: int
    n_pages: int
    page_bytes: int
    n_runs: int
    run_bytes: int
    n_groups: int
    first: int
    page_groups: int


class _Plan:
    """What there is to do for a column, and for all that have the same pages.

    Attributes
    ----------
    n_rows, n_groups : int
    is_common : bool
        Whether other columns can have it: no page was changed by compression.
    pages : list of (layout, place)
        From where the data pages begin.
    copies : list of (bytes or None, _Copy)
        From the column's pages, or from these bytes.
    moves : list of (first row, first value, rows)
        Where values belong when they are looked up.
    fills : list of (first row, rows, index)
    """

    def __init__(self) -> None:
        self.n_rows = self.n_groups = 0
        self.is_common = True
        self.pages: list[tuple[PageLayout, int]] = []
        self.copies: list[tuple[Data | None, _Copy]] = []
        self.moves: list[tuple[int, int, int]] = []
        self.fills: list[tuple[int, int, int]] = []

    def fits(self, data: Data, begin: int) -> bool:
        """Return whether the column whose data pages begin there has the same pages."""
        return all(layout.fits(data, begin + place) for layout, place in self.pages)

    def add(self, layout: PageLayout, place: int, n_pages: int, body: Data | None) -> None:
        """Add pages that begin at a place, or the one that has this body."""
        row, group = self.n_rows, self.n_groups
        self.is_common &= body is None
        self.pages += [(layout, place + page * layout.n_bytes) for page in range(n_pages)]
        for run in layout.runs:
            if run.single is not None:
                self.fills.append((row, run.n_rows, run.single))
            else:
                begin = run.place if body is not None else place + run.place
                steps = n_pages, layout.n_bytes, run.n_runs, run.step
                copy = _Copy(begin, *steps, run.n_groups, group, layout.n_groups)
                self.copies.append((body, copy))
                self._move(row, GROUP * group, run.n_rows)
                group += run.n_runs * run.n_groups
            row += run.n_rows
        if n_pages > 1:  # full of packed indices, all of them
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


class PageReader:
    """Decodes columns of codes of one parquet file; for one thread.

    Parameters
    ----------
    path : Path
    footer : Footer
    nullable : mapping of str to bool
        For each integer column whether rows can be null.
    """

    def __init__(self, path: Path, footer: Footer, nullable: Mapping[str, bool]) -> None:
        self._path, self._footer, self._nullable = path, footer, nullable
        self._snappy = pa.Codec("snappy")
        self._plans: dict[tuple[int, int, bool, bool], _Plan] = {}  # the last one of its kind
        self._layouts: dict[tuple[bytes, bool, bool], PageLayout] = {}
        self._dictionaries: dict[tuple[bytes, bool], int] = {}  # number of its table
        self._tables = np.empty((_MAX_KNOWN + _MAX_COLUMNS, _INDICES), np.uint32)
        self._memory = bytearray()
        self._groups = np.empty(0, np.uint64)
        self._values = np.empty(0, np.uint32)
        self._shifted = np.empty(_GROUPS_AT_ONCE, np.uint64)
        self._indices = np.empty(2 * _GROUPS_AT_ONCE, np.intp)

    def read(self, group: int, names: Sequence[str], out: npt.NDArray[np.int8]) -> list[int]:
        """Decode those columns of a row group whose pages are laid out as Numerai's.

        Parameters
        ----------
        group : int
        names : sequence of str
            Of integer columns.
        out : ndarray of int8, shape (columns, rows of the group), C order
            Codes 0 to 4; what stands in the rows of columns that are left is undefined.

        Returns
        -------
        list of int
            Positions of the columns that are left for Arrow.
        """
        left = set(range(len(names)))
        if not hasattr(os, "preadv") or sys.byteorder != "little" or not out.size:
            return sorted(left)
        at_once = min(_MAX_COLUMNS, max(1, _VALUES_AT_ONCE // out.shape[1]))
        # An error is no matter here: Arrow will meet it too.
        with suppress(OSError), open(self._path, "rb", buffering=0) as file:
            for first in range(0, len(names), at_once):
                for known in self._plans, self._layouts, self._dictionaries:
                    if len(known) > _MAX_KNOWN:
                        known.clear()
                some = slice(first, first + at_once)
                done = self._read_some(file.fileno(), group, names[some], out[some].view(np.uint8))
                left.difference_update(first + number for number in done)
        return sorted(left)

    def _chunk(self, group: int, name: str, n_rows: int) -> Chunk | None:
        """Return where a column is; None if its pages can't be laid out as is known here."""
        chunk = self._footer.chunk(group, name) if name in self._nullable else None
        if chunk is None or chunk.n_values != n_rows:
            return None
        if not chunk.begin < chunk.data_begin <= chunk.begin + _DICTIONARY_BYTES:
            return None
        if not 0 < chunk.end - chunk.data_begin <= n_rows + _MAX_PAGE_BYTES:
            return None
        return chunk

    # -- columns at once ----------------------------------------------------------------------

    def _read_some(self, file: int, group: int, names: Sequence[str], out: Bytes) -> list[int]:
        """Decode what can be decoded; return the numbers of these columns."""
        chunks = [self._chunk(group, name, out.shape[1]) for name in names]
        slot_bytes = _DICTIONARY_BYTES + _SPARE_BYTES
        slot_bytes += max(chunk.end - chunk.data_begin if chunk else 0 for chunk in chunks)
        if len(self._memory) < len(chunks) * slot_bytes:
            self._memory = bytearray(len(chunks) * slot_bytes)
        tables = np.zeros(len(chunks), np.intp)
        plans: dict[_Plan, list[int]] = {}  # and the columns that have them
        for number in _fill_slots(file, chunks, memoryview(self._memory), slot_bytes):
            chunk = chunks[number]
            assert chunk is not None
            begin = number * slot_bytes + _DICTIONARY_BYTES
            try:
                tables[number] = self._table(chunk, begin)
                plan = self._plan(chunk, self._nullable[names[number]], begin)
                plans.setdefault(plan, []).append(number)
            except (OtherLayoutError, IndexError, pa.ArrowException):
                pass  # for Arrow to read, or to complain about
        n_groups = max((plan.n_groups for plan in plans), default=0)
        groups = self._scratch(len(chunks), n_groups)
        together = [(plan, some) for plan in plans for some in _stretches(plans[plan])]
        for plan, some in together:
            for body, copy in plan.copies:
                if body is None:
                    begin = some.start * slot_bytes + _DICTIONARY_BYTES
                    _copy_groups(self._memory, begin, slot_bytes, copy, groups, some)
                else:
                    _copy_groups(body, 0, 0, copy, groups, some)
        values = self._look_up(groups, tables)
        for plan, some in together:
            for row, value, n_rows in plan.moves:
                out[some, row : row + n_rows] = values[some, value : value + n_rows]
            for row, n_rows, index in plan.fills:
                out[some, row : row + n_rows] = self._tables[tables[some], index, np.newaxis] & 255
        done = [number for numbers in plans.values() for number in numbers]
        if len(done) == len(out) and out.max() <= MAX_CODE:
            return done
        return [number for number in done if out[number].max() <= MAX_CODE]

    def _plan(self, chunk: Chunk, nullable: bool, begin: int) -> _Plan:
        """Return what there is to do for a column whose data pages begin there."""
        data, place, end = self._memory, begin, begin + chunk.end - chunk.data_begin
        n_rows = chunk.n_values
        kind = chunk.compressed, nullable
        known = self._plans.get((end - begin, n_rows, *kind))
        if known is not None and known.fits(data, begin):
            return known
        plan = _Plan()
        while plan.n_rows < n_rows:
            key = bytes(data[place : place + _KEY_BYTES]), *kind
            layout, body = self._layouts.get(key), None
            if layout is None or not layout.fits(data, place):
                decompress = self._decompress if chunk.compressed else None
                layout, body = parse_page(data, place, nullable, decompress)
                if body is None:
                    self._layouts[key] = layout
                else:
                    body += bytes(_SPARE_BYTES)
            first, n_pages, place = place, 1, place + layout.n_bytes
            if layout.is_full and body is None:
                while place + layout.n_bytes <= end and layout.fits(data, place):
                    n_pages, place = n_pages + 1, place + layout.n_bytes
            if place > end:
                raise OtherLayoutError
            plan.add(layout, first - begin, n_pages, body)
        if plan.n_rows != n_rows or any(index >= 1 << BITS for _, _, index in plan.fills):
            raise OtherLayoutError
        if plan.is_common:
            self._plans[end - begin, n_rows, *kind] = plan
        return plan

    def _scratch(self, n_columns: int, n_groups: int) -> npt.NDArray[np.uint64]:
        """Return scratch memory for groups to be looked up; there is as much for their values."""
        n = n_columns * n_groups
        if len(self._groups) < n:
            self._groups = np.empty(n, np.uint64)
            self._values = np.empty(2 * n, np.uint32)
        return self._groups[:n].reshape(n_columns, n_groups)

    def _look_up(self, groups: npt.NDArray[np.uint64], tables: npt.NDArray[np.intp]) -> Bytes:
        """Return the values of groups, shape (columns, groups); four of them, 12 bits, at a time.

        A column's groups are looked up in the table of its number.
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

    def _table(self, chunk: Chunk, end: int) -> int:
        """Return the number of the table of a column whose dictionary page ends there.

        A table has the codes of four rows for each of the 4,096 that 12 bits can be.
        """
        page = bytes(self._memory[end - (chunk.data_begin - chunk.begin) : end])
        key = page, chunk.compressed
        if key not in self._dictionaries:
            codes = parse_dictionary(page, self._decompress if chunk.compressed else None)
            of_index = np.full(1 << BITS, _NO_CODE, np.uint8)
            of_index[: len(codes)] = np.frombuffer(codes, np.uint8)
            four = np.arange(_INDICES)[:, np.newaxis] >> (BITS * np.arange(4))
            number = self._dictionaries[key] = len(self._dictionaries)
            self._tables[number] = of_index[four & (len(of_index) - 1)].view(np.uint32)[:, 0]
        return self._dictionaries[key]

    def _decompress(self, data: Data, n_bytes: int) -> bytes:
        found: bytes = self._snappy.decompress(data, n_bytes, asbytes=True)
        return found


def _fill_slots(
    file: int, chunks: Sequence[Chunk | None], memory: memoryview, slot_bytes: int
) -> list[int]:
    """Read columns, each into its slot, so that all data pages begin at the same place there.

    Return which ones were read; those that follow each other in the file are read together.
    """
    found: list[int] = []
    together: list[int] = []
    buffers: list[memoryview] = []
    begin = end = 0
    for number, chunk in enumerate([*chunks, None]):
        if together and (chunk is None or chunk.begin != end):
            if os.preadv(file, buffers, begin) == end - begin:
                found += together
            together, buffers = [], []
        if chunk is not None:
            begin, end = begin if together else chunk.begin, chunk.end
            first = number * slot_bytes + _DICTIONARY_BYTES - (chunk.data_begin - chunk.begin)
            buffers.append(memory[first : first + chunk.end - chunk.begin])
            together.append(number)
    return found


def _copy_groups(
    data: Data, begin: int, step: int, copy: _Copy, out: npt.NDArray[np.uint64], columns: slice
) -> None:
    """Copy groups of columns, the first of which begins there, with a step to the next one.

    A group is the first 24 bits of what it becomes in `out`, of shape (all columns, groups), C
    order; what the next eight are is left to chance.
    """
    shape = columns.stop - columns.start, copy.n_pages, copy.n_runs, copy.n_groups
    steps = step, copy.page_bytes, copy.run_bytes, BITS
    groups = np.ndarray(shape, "<u4", data, begin + copy.place, steps)
    first, item = columns.start * out.shape[1] + copy.first, out.itemsize
    out_steps = out.strides[0], item * copy.page_groups, item * copy.n_groups, item
    np.copyto(np.ndarray(shape, out.dtype, out, item * first, out_steps), groups)


def _stretches(numbers: Sequence[int]) -> Iterator[slice]:
    """Yield slices of numbers that follow each other."""
    first = 0
    for position in range(1, len(numbers) + 1):
        if position == len(numbers) or numbers[position] != numbers[position - 1] + 1:
            yield slice(numbers[first], numbers[position - 1] + 1)
            first = position
