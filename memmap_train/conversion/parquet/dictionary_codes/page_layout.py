"""The layout of a page: parsed once, and shared by pages with the same bytes around their indices.

Takes the bytes of a page, as they are in the file; returns offsets and sizes. Nothing here decodes
a value. Only the layout of Numerai's files is supported: indices of three bits into a dictionary,
packed or as runs of one index, and no nulls. Everything else raises `UnsupportedLayoutError`.

Notes
-----
Sources: https://parquet.apache.org/docs/file-format/data-pages/encodings/ (dictionaries, levels,
and the hybrid of runs and packed bits), and
https://github.com/google/snappy/blob/main/format_description.txt.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .page_headers import (
    DATA_PAGE,
    DICTIONARY_PAGE,
    PLAIN,
    PLAIN_DICTIONARY,
    RLE,
    RLE_DICTIONARY,
    Data,
    Header,
    UnsupportedLayoutError,
    parse_header,
    varint,
)

BITS = 3  # of an index: enough for a dictionary of five to eight values
GROUP = 8  # indices are packed in groups of eight
_MAX_INFLATION = 64  # of a page: more than snappy can do
_ROWS_PER_RUN, _MAX_SPARE_RUNS = 128, 8  # shorter runs are decoded faster by Arrow

Decompress = Callable[[Data, int], bytes]
"""Returns the given number of bytes, decompressed from snappy's."""


class HybridRun(NamedTuple):
    """Equal runs of the hybrid encoding, one after another.

    Attributes
    ----------
    header_offset, index_offset : int
        Offsets of the first run's header, which holds its length, and of its indices.
    n_runs, stride : int
        Number of runs, and bytes from one to the next.
    n_groups : int
        Number of groups of eight packed indices in each run.
    n_rows : int
        Rows of all runs together: the last group may be padded with further indices.
    repeated_index : int or None
        The index of all rows; None if indices are packed.
    """

    header_offset: int
    index_offset: int
    n_runs: int
    stride: int
    n_groups: int
    n_rows: int
    repeated_index: int | None

    def moved(self, by: int) -> "HybridRun":
        """Return the same runs at other offsets."""
        return self._replace(
            header_offset=self.header_offset + by, index_offset=self.index_offset + by
        )


@dataclass(frozen=True, slots=True, eq=False)
class PageLayout:
    """The layout of a data page; offsets are counted from the beginning of its header.

    Attributes
    ----------
    n_bytes : int
        Size of the page, with its header.
    n_rows, n_groups : int
    runs : list of HybridRun
    checks : list of (first offset, end, step, bytes)
        The bytes around the indices: a page with the same bytes there has this layout. Empty where
        compression has changed the page, which can't be compared with others.
    """

    n_bytes: int
    n_rows: int
    n_groups: int
    runs: list[HybridRun]
    checks: list[tuple[int, int, int, Data]]

    @property
    def is_full(self) -> bool:
        """Whether all rows are packed and no group is padded.

        The totals alone aren't enough: a repeated index can make up for the padding of the last
        group.
        """
        packed = all(run.repeated_index is None for run in self.runs)
        return packed and self.n_rows == GROUP * self.n_groups

    def fits(self, data: Data, offset: int) -> bool:
        """Return True if the page that begins at an offset has this layout."""
        for first, end, step, found in self.checks:
            if data[offset + first : offset + end : step] != found:
                return False
        return True


def parse_page(
    data: Data, offset: int, nullable: bool, decompress: Decompress | None
) -> tuple[PageLayout, Data | None]:
    """Return the layout of the data page that begins at an offset.

    Parameters
    ----------
    data : bytes or bytearray
    offset : int
    nullable : bool
        Whether definition levels precede the indices.
    decompress : callable or None
        None if the pages aren't compressed.

    Returns
    -------
    PageLayout
    bytes or None
        The decompressed page that the layout's offsets refer to; None if they refer to `data`,
        whose bytes compression hasn't changed.

    Raises
    ------
    UnsupportedLayoutError, IndexError
        The page has another layout, or is damaged.
    """
    header, begin = parse_header(data, offset)
    end = begin + header.compressed_bytes
    if header.kind != DATA_PAGE or header.encoding not in (PLAIN_DICTIONARY, RLE_DICTIONARY):
        raise UnsupportedLayoutError
    if not header.n_values or end > len(data):
        raise UnsupportedLayoutError
    body, first, last = _uncompressed(header, data, begin, end, decompress)
    within = data if body is None else body
    if nullable:
        first = _after_levels(header, within, first)
    runs = list(_hybrid_runs(within, first, last, header.n_values))
    n_groups = sum(run.n_runs * run.n_groups for run in runs)
    checks: list[tuple[int, int, int, Data]] = []
    if body is None:
        runs = [run.moved(-offset) for run in runs]
        checks = [
            (a, b, step, data[offset + a : offset + b : step])
            for a, b, step in _around_indices(runs)
        ]
    return PageLayout(end - offset, header.n_values, n_groups, runs, checks), body


def parse_dictionary(data: Data, decompress: Decompress | None) -> bytes:
    """Return the values of a dictionary page of numbers from 0 to 255, a byte each.

    Raises
    ------
    UnsupportedLayoutError, IndexError
        The bytes aren't such a page, or it has more than eight values, or larger ones.
    """
    header, begin = parse_header(data, 0)
    if header.kind != DICTIONARY_PAGE or header.encoding not in (PLAIN, PLAIN_DICTIONARY):
        raise UnsupportedLayoutError
    if begin + header.compressed_bytes != len(data) or header.n_bytes != 4 * header.n_values:
        raise UnsupportedLayoutError
    body, begin, end = _uncompressed(header, data, begin, len(data), decompress)
    values = np.frombuffer(bytes((data if body is None else body)[begin:end]), "<u4")
    if not 0 < len(values) <= 1 << BITS or values.max() > 255:
        raise UnsupportedLayoutError
    return values.astype(np.uint8).tobytes()


def _around_indices(runs: list[HybridRun]) -> Iterator[tuple[int, int, int]]:
    """Yield the slices (begin, end, step) of a page that determine its layout."""
    yield 0, runs[0].header_offset, 1
    for run in runs:
        if run.index_offset == run.header_offset + 1 and run.repeated_index is None:
            yield run.header_offset, run.header_offset + run.n_runs * run.stride, run.stride
        else:
            yield run.header_offset, run.index_offset + (run.repeated_index is not None), 1


def _uncompressed(
    header: Header, data: Data, begin: int, end: int, decompress: Decompress | None
) -> tuple[bytes | None, int, int]:
    """Return the decompressed page, or None if it is in `data` as it is; and its begin and end.

    Packed indices are usually incompressible: snappy only adds the number of bytes that follow.
    """
    if decompress is None:
        if header.n_bytes != header.compressed_bytes:
            raise UnsupportedLayoutError
        return None, begin, end
    n_bytes, offset = varint(data, begin)
    if n_bytes != header.n_bytes or n_bytes > _MAX_INFLATION * header.compressed_bytes:
        raise UnsupportedLayoutError
    tag, offset = data[offset], offset + 1
    n_size_bytes = max(0, (tag >> 2) - 59)
    size = int.from_bytes(data[offset : offset + n_size_bytes], "little")
    offset += n_size_bytes
    if not tag & 3 and 1 + (size if n_size_bytes else tag >> 2) == n_bytes == end - offset:
        return None, offset, end
    return decompress(data[begin:end], n_bytes), 0, n_bytes


def _after_levels(header: Header, data: Data, begin: int) -> int:
    """Return the offset of the indices, which follow one run of levels without a null."""
    first = begin + 4
    end = first + int.from_bytes(data[begin:first], "little")
    run, offset = varint(data, first)
    none_is_null = run == header.n_values << 1 and data[offset] == 1
    if header.level_encoding != RLE or not none_is_null or end != offset + 1:
        raise UnsupportedLayoutError
    return end


def _hybrid_runs(data: Data, offset: int, end: int, n_rows: int) -> Iterator[HybridRun]:
    """Yield the runs of a page's indices, equal ones together.

    Their rows add up to the page's. Only the last run may hold more indices than it has rows.
    """
    n_bits, offset = data[offset], offset + 1
    for _ in range(_MAX_SPARE_RUNS + n_rows // _ROWS_PER_RUN):
        begin = offset
        run, offset = varint(data, begin)
        if run & 1:
            n_groups = run >> 1
            stride = offset - begin + BITS * n_groups
            if n_bits != BITS or not n_groups or begin + stride > end:
                raise UnsupportedLayoutError
            n_runs = 1
            if offset == begin + 1:  # writers begin a new run after 63 groups
                n_runs = max(1, min((end - begin) // stride, n_rows // (GROUP * n_groups)))
                starts = data[begin : begin + n_runs * stride : stride]
                n_runs -= len(starts.lstrip(starts[:1]))
            n = min(GROUP * n_groups * n_runs, n_rows)
            yield HybridRun(begin, offset, n_runs, stride, n_groups, n, None)
            offset = begin + n_runs * stride
        else:
            n = min(run >> 1, n_rows)
            if not n or not 0 < n_bits <= 8 or offset >= end:
                raise UnsupportedLayoutError
            yield HybridRun(begin, offset, 1, 0, 0, n, data[offset])
            offset += 1
        n_rows -= n
        if not n_rows:
            return
    raise UnsupportedLayoutError
