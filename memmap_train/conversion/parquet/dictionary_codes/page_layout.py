"""Where things are in a page: parsed once, true of all pages that have the same bytes around them.

In come the bytes of a page, as they are in the file; out goes what is where. Nothing here decodes a
value. Only what Numerai's files have is known: indices of three bits into a dictionary, packed or
as runs of one index, and no nulls. Everything else is an `OtherLayoutError`.

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
    OtherLayoutError,
    parse_header,
    varint,
)

BITS = 3  # of an index: what a dictionary of five to eight values takes
GROUP = 8  # indices are packed by eights
_MAX_TIMES_SMALLER = 64  # than it was: more than snappy can do
_ROWS_PER_RUN, _MAX_SPARE_RUNS = 128, 8  # shorter ones are decoded faster by Arrow

Decompress = Callable[[Data, int], bytes]
"""Makes so many bytes of snappy's."""


class Run(NamedTuple):
    """Runs that follow each other and are alike.

    Attributes
    ----------
    begin, place : int
        Where the first one's length stands, and its indices.
    n_runs, step : int
        How many, and bytes from one to the next.
    n_groups : int
        Of eight packed indices in each.
    n_rows : int
        In all of them: the last group may be filled up with more.
    single : int or None
        The index of all rows; None if indices are packed.
    """

    begin: int
    place: int
    n_runs: int
    step: int
    n_groups: int
    n_rows: int
    single: int | None

    def moved(self, by: int) -> "Run":
        """Return the same at another place."""
        return self._replace(begin=self.begin + by, place=self.place + by)


@dataclass(frozen=True, slots=True, eq=False)
class PageLayout:
    """A data page; places are counted from where its header begins.

    Attributes
    ----------
    n_bytes, n_rows, n_groups : int
        Of the page with its header, and in it.
    runs : list of Run
    checks : list of (first place, end, step, bytes)
        What stands around the indices: who has the same is laid out alike. None where compression
        has changed the page: no other page can be compared with it.
    """

    n_bytes: int
    n_rows: int
    n_groups: int
    runs: list[Run]
    checks: list[tuple[int, int, int, Data]]

    @property
    def is_full(self) -> bool:
        """Whether all rows are packed and no group is padded.

        The totals alone don't tell: a repeated index can make up for the padding of the last group.
        """
        packed = all(run.single is None for run in self.runs)
        return packed and self.n_rows == GROUP * self.n_groups

    def fits(self, data: Data, place: int) -> bool:
        """Return whether the page that begins there is laid out like this one."""
        for first, end, step, found in self.checks:
            if data[place + first : place + end : step] != found:
                return False
        return True


def parse_page(
    data: Data, place: int, nullable: bool, decompress: Decompress | None
) -> tuple[PageLayout, Data | None]:
    """Return the layout of the data page that begins at a place.

    Parameters
    ----------
    data : bytes or bytearray
    place : int
    nullable : bool
        Levels stand before the indices.
    decompress : callable or None
        None: the pages aren't compressed.

    Returns
    -------
    PageLayout
    bytes or None
        None: all is in `data`. Otherwise what the layout speaks of: compression has changed it.

    Raises
    ------
    OtherLayoutError, IndexError
        Not Numerai's layout, or damaged.
    """
    header, begin = parse_header(data, place)
    end = begin + header.compressed_bytes
    if header.kind != DATA_PAGE or header.encoding not in (PLAIN_DICTIONARY, RLE_DICTIONARY):
        raise OtherLayoutError
    if not header.n_values or end > len(data):
        raise OtherLayoutError
    body, first, last = _uncompressed(header, data, begin, end, decompress)
    within = data if body is None else body
    if nullable:
        first = _after_levels(header, within, first)
    runs = list(_runs(within, first, last, header.n_values))
    n_groups = sum(run.n_runs * run.n_groups for run in runs)
    checks: list[tuple[int, int, int, Data]] = []
    if body is None:
        runs = [run.moved(-place) for run in runs]
        slices = [(0, runs[0].begin, 1)]
        for run in runs:
            one_byte = run.place == run.begin + 1 and run.single is None
            slices.append(
                (run.begin, run.begin + run.n_runs * run.step, run.step)
                if one_byte
                else (run.begin, run.place + (run.single is not None), 1)
            )
        checks = [(a, b, step, data[place + a : place + b : step]) for a, b, step in slices]
    return PageLayout(end - place, header.n_values, n_groups, runs, checks), body


def parse_dictionary(data: Data, decompress: Decompress | None) -> bytes:
    """Return the values of a dictionary page of numbers from 0 to 255, a byte each.

    Raises
    ------
    OtherLayoutError, IndexError
        It is none, or has more than eight values, or others.
    """
    header, begin = parse_header(data, 0)
    if header.kind != DICTIONARY_PAGE or header.encoding not in (PLAIN, PLAIN_DICTIONARY):
        raise OtherLayoutError
    if begin + header.compressed_bytes != len(data) or header.n_bytes != 4 * header.n_values:
        raise OtherLayoutError
    body, begin, end = _uncompressed(header, data, begin, len(data), decompress)
    values = np.frombuffer(bytes((data if body is None else body)[begin:end]), "<u4")
    if not 0 < len(values) <= 1 << BITS or values.max() > 255:
        raise OtherLayoutError
    return values.astype(np.uint8).tobytes()


def _uncompressed(
    header: Header, data: Data, begin: int, end: int, decompress: Decompress | None
) -> tuple[bytes | None, int, int]:
    """Return what a page says, or None if it stands there as it is; and where it begins and ends.

    Packed indices can't be made smaller as a rule: snappy only says how many bytes follow.
    """
    if decompress is None:
        if header.n_bytes != header.compressed_bytes:
            raise OtherLayoutError
        return None, begin, end
    n_bytes, place = varint(data, begin)
    if n_bytes != header.n_bytes or n_bytes > _MAX_TIMES_SMALLER * header.compressed_bytes:
        raise OtherLayoutError
    tag, place = data[place], place + 1
    n_size_bytes = max(0, (tag >> 2) - 59)
    size = int.from_bytes(data[place : place + n_size_bytes], "little")
    place += n_size_bytes
    if not tag & 3 and 1 + (size if n_size_bytes else tag >> 2) == n_bytes == end - place:
        return None, place, end
    return decompress(data[begin:end], n_bytes), 0, n_bytes


def _after_levels(header: Header, data: Data, place: int) -> int:
    """Return where the indices begin: behind levels that say in one run that none is null."""
    begin = place + 4
    end = begin + int.from_bytes(data[place:begin], "little")
    run, place = varint(data, begin)
    none_is_null = run == header.n_values << 1 and data[place] == 1
    if header.level_encoding != RLE or not none_is_null or end != place + 1:
        raise OtherLayoutError
    return end


def _runs(data: Data, place: int, end: int, n_rows: int) -> Iterator[Run]:
    """Yield the runs of a page's indices, together where they are alike.

    Their rows add up to the page's. Only the last run may hold more indices than it has rows.
    """
    n_bits, place = data[place], place + 1
    for _ in range(_MAX_SPARE_RUNS + n_rows // _ROWS_PER_RUN):
        begin = place
        run, place = varint(data, begin)
        if run & 1:
            n_groups = run >> 1
            step = place - begin + BITS * n_groups
            if n_bits != BITS or not n_groups or begin + step > end:
                raise OtherLayoutError
            n_runs = 1
            if place == begin + 1:  # writers begin a new run after 63 groups
                n_runs = max(1, min((end - begin) // step, n_rows // (GROUP * n_groups)))
                starts = data[begin : begin + n_runs * step : step]
                n_runs -= len(starts.lstrip(starts[:1]))
            n = min(GROUP * n_groups * n_runs, n_rows)
            yield Run(begin, place, n_runs, step, n_groups, n, None)
            place = begin + n_runs * step
        else:
            n = min(run >> 1, n_rows)
            if not n or not 0 < n_bits <= 8 or place >= end:
                raise OtherLayoutError
            yield Run(begin, place, 1, 0, 0, n, data[place])
            place += 1
        n_rows -= n
        if not n_rows:
            return
    raise OtherLayoutError
