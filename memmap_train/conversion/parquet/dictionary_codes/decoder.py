"""Decodes columns of codes from their dictionary pages, many columns at once.

Takes names of integer columns and an array to fill; returns the columns that are left to Arrow:
those with another layout, and damaged ones, about which Arrow reports the errors. The pages of most
columns have the same layout to the byte, so their indices are copied and looked up together.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa

from ....arrays import Bytes, Int8
from ...codec import MAX_CODE
from .code_tables import CodeTables
from .column_offsets import Chunk, ColumnOffsets
from .page_headers import Data, UnsupportedLayoutError
from .page_layout import BITS, PageLayout, parse_page
from .read_plan import ReadPlan, copy_groups, stretches

_VALUES_AT_ONCE = 2**20  # fewer are many small steps, for each of which threads wait
_MAX_COLUMNS = 256  # read at once
_MAX_KNOWN = 256  # plans, layouts, dictionaries
_DICTIONARY_BYTES = 128  # of a dictionary's page, at most
_SPARE_BYTES = 8  # eight indices are read as four bytes, of which they take three
_MAX_PAGE_BYTES = 65_536  # of a column, beside one for each row
_KEY_BYTES = 12  # of a page's header: how many bytes and rows it has


class CodeDecoder:
    """Decodes columns of codes of one parquet file; for one thread at a time.

    Parameters
    ----------
    path : Path
    offsets : ColumnOffsets
        Offsets of the file's columns, which several decoders may share.
    nullable : mapping of str to bool
        Whether the rows of each integer column may be null.
    max_columns : int
        Maximum number of columns read at once.
    max_known : int
        Maximum number of plans, layouts and dictionaries that are kept for further columns.
    """

    def __init__(
        self,
        path: Path,
        offsets: ColumnOffsets,
        nullable: Mapping[str, bool],
        *,
        max_columns: int = _MAX_COLUMNS,
        max_known: int = _MAX_KNOWN,
    ) -> None:
        self._path, self._offsets, self._nullable = path, offsets, nullable
        self._max_columns, self._max_known = max_columns, max_known
        self._snappy = pa.Codec("snappy")
        self._plans: dict[tuple[int, int, bool, bool], ReadPlan] = {}  # the last one of its kind
        self._layouts: dict[tuple[bytes, bool, bool], PageLayout] = {}
        self._tables = CodeTables(max_known + max_columns)
        self._memory = bytearray()

    def decode(self, group: int, names: Sequence[str], out: Int8) -> list[int]:
        """Decode the columns of a row group whose pages have a supported layout.

        Parameters
        ----------
        group : int
        names : sequence of str
            Names of integer columns.
        out : ndarray of int8, shape (columns, rows of the group)
            Filled with codes 0 to 4; the rows of columns that are left are undefined.

        Returns
        -------
        list of int
            Positions of the columns that are left to Arrow.
        """
        left = set(range(len(names)))
        if not hasattr(os, "preadv") or sys.byteorder != "little" or not out.size:
            return sorted(left)
        at_once = min(self._max_columns, max(1, _VALUES_AT_ONCE // out.shape[1]))
        # Errors are ignored here: Arrow will meet and report them.
        with suppress(OSError), open(self._path, "rb", buffering=0) as file:
            for first in range(0, len(names), at_once):
                for known in self._plans, self._layouts, self._tables:
                    if len(known) > self._max_known:
                        known.clear()
                some = slice(first, first + at_once)
                codes = out[some].view(np.uint8)
                done = self._decode_some(file.fileno(), group, names[some], codes)
                left.difference_update(first + number for number in done)
        return sorted(left)

    def _decode_some(self, file: int, group: int, names: Sequence[str], out: Bytes) -> list[int]:
        """Decode columns that are read at once; return the numbers of those that are decoded."""
        chunks = [self._chunk(group, name, out.shape[1]) for name in names]
        slot_bytes = _DICTIONARY_BYTES + _SPARE_BYTES
        slot_bytes += max(chunk.end - chunk.data_begin if chunk else 0 for chunk in chunks)
        if len(self._memory) < len(chunks) * slot_bytes:
            self._memory = bytearray(len(chunks) * slot_bytes)
        tables = np.zeros(len(chunks), np.intp)
        plans: dict[ReadPlan, list[int]] = {}  # and the columns that have them
        for number in _fill_slots(file, chunks, memoryview(self._memory), slot_bytes):
            chunk = chunks[number]
            assert chunk is not None
            begin = number * slot_bytes + _DICTIONARY_BYTES
            # Other layouts are left to Arrow, and damage too: it knows how to complain.
            with suppress(UnsupportedLayoutError, IndexError, pa.ArrowException):
                tables[number] = self._table(chunk, begin)
                plan = self._plan(chunk, self._nullable[names[number]], begin)
                plans.setdefault(plan, []).append(number)
        n_groups = max((plan.n_groups for plan in plans), default=0)
        groups = self._tables.scratch(len(chunks), n_groups)
        together = [(plan, some) for plan in plans for some in stretches(plans[plan])]
        for plan, some in together:
            for body, copy in plan.copies:
                if body is None:
                    begin = some.start * slot_bytes + _DICTIONARY_BYTES
                    copy_groups(self._memory, begin, slot_bytes, copy, groups, some)
                else:
                    copy_groups(body, 0, 0, copy, groups, some)
        values = self._tables.look_up(groups, tables)
        for plan, some in together:
            for row, value, n_rows in plan.moves:
                out[some, row : row + n_rows] = values[some, value : value + n_rows]
            for row, n_rows, index in plan.fills:
                codes = self._tables.codes_of(tables[some], index)
                out[some, row : row + n_rows] = codes[:, np.newaxis]
        done = [number for numbers in plans.values() for number in numbers]
        if len(done) == len(out) and out.max() <= MAX_CODE:
            return done
        return [number for number in done if out[number].max() <= MAX_CODE]

    def _chunk(self, group: int, name: str, n_rows: int) -> Chunk | None:
        """Return the chunk of a column; None if its pages can't have a supported layout."""
        chunk = self._offsets.chunk(group, name) if name in self._nullable else None
        if chunk is None or chunk.n_values != n_rows:
            return None
        if not chunk.begin < chunk.data_begin <= chunk.begin + _DICTIONARY_BYTES:
            return None
        if not 0 < chunk.end - chunk.data_begin <= n_rows + _MAX_PAGE_BYTES:
            return None
        return chunk

    def _table(self, chunk: Chunk, end: int) -> int:
        """Return the number of the table of a column whose dictionary page ends at an offset."""
        page = bytes(self._memory[end - (chunk.data_begin - chunk.begin) : end])
        return self._tables.number(page, self._decompress if chunk.compressed else None)

    def _plan(self, chunk: Chunk, nullable: bool, begin: int) -> ReadPlan:
        """Return the plan of a column whose data pages begin at an offset."""
        data, offset, end = self._memory, begin, begin + chunk.end - chunk.data_begin
        n_rows = chunk.n_values
        kind = chunk.compressed, nullable
        known = self._plans.get((end - begin, n_rows, *kind))
        if known is not None and known.fits(data, begin):
            return known
        plan = ReadPlan()
        while plan.n_rows < n_rows:
            key = bytes(data[offset : offset + _KEY_BYTES]), *kind
            layout, body = self._layouts.get(key), None
            if layout is None or not layout.fits(data, offset):
                decompress = self._decompress if chunk.compressed else None
                layout, body = parse_page(data, offset, nullable, decompress)
                if body is None:
                    self._layouts[key] = layout
                else:
                    body += bytes(_SPARE_BYTES)
            first, n_pages, offset = offset, 1, offset + layout.n_bytes
            if layout.is_full and body is None:
                while offset + layout.n_bytes <= end and layout.fits(data, offset):
                    n_pages, offset = n_pages + 1, offset + layout.n_bytes
            if offset > end:
                raise UnsupportedLayoutError
            plan.add(layout, first - begin, n_pages, body)
        if plan.n_rows != n_rows or any(index >= 1 << BITS for _, _, index in plan.fills):
            raise UnsupportedLayoutError
        if plan.is_common:
            self._plans[end - begin, n_rows, *kind] = plan
        return plan

    def _decompress(self, data: Data, n_bytes: int) -> bytes:
        found: bytes = self._snappy.decompress(data, n_bytes, asbytes=True)
        return found


def _fill_slots(
    file: int, chunks: Sequence[Chunk | None], memory: memoryview, slot_bytes: int
) -> list[int]:
    """Read columns into slots of equal size, in which all data pages begin at the same offset.

    Columns that follow each other in the file are read together. Return the numbers of those that
    were read.
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
