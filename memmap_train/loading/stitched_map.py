"""One array that shows the rows of many files, so that a single call gathers rows of all of them.

A batch of a global shuffle takes a few rows from each of a thousand files. File by file, each call
costs as much as its copying, and its rows have to be scattered to their places afterwards. So
the files of an array are mapped here at addresses chosen such that all their rows lie on one grid,
a row apart or a whole number of rows: to numpy they are one array, and a gather writes its output
from front to back. What lies between two files is reserved address space that nothing touches.

This relies on the riskiest code of the package, maps at chosen addresses: see `AddressRange`. Row
numbers are offsets into that range, so a wrong one reads another row or ends the process.
"""

import errno
import mmap
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress
from math import gcd
from pathlib import Path

import numpy as np

from ..arrays import Array, Int64
from ..dataset.array_file import read_into
from ..dataset.file_errors import become_shorter
from ..dataset.format import HEADER_BYTES
from ..dataset.shard import Shard
from ..system.address_range import AddressRange, addresses_can_be_chosen
from ..system.file_access import map_file
from ..system.scratch import ThreadScratch
from ..system.thread_lock import ThreadLock

_CHUNK_BYTES = 2**18  # of whole rows before their columns are taken: within a core's cache
_MAX_CHUNK_ROWS = 1024
_FEW_COLUMNS = 32  # if one column of this many is needed, single cells are taken


class StitchedArray(ABC):
    """The rows of one array of all eras, by numbers; thread-safe.

    A row's number is `first[era] + row`. Callers must not pass numbers that belong to no row.

    Parameters
    ----------
    shards : sequence of Shard
    array : str
        Name of a two-dimensional array: `features` or `targets`.

    Attributes
    ----------
    first : ndarray of int64, shape (eras,)
        Number of each era's first row.
    """

    first: Int64

    def __init__(self, shards: Sequence[Shard], array: str) -> None:
        self._shards, self._array = shards, array
        self._dtype, self._n_columns = shards[0].layout(array)[0], shards[0].layout(array)[1][1]
        self._row_bytes = self._dtype.itemsize * self._n_columns
        # For each era that is mapped, its file's path and status at that time.
        self._mapped: list[tuple[str, os.stat_result] | None] = [None] * len(shards)
        self._lock = ThreadLock()
        self._scratch = ThreadScratch()

    def require(self, eras: Iterable[int]) -> None:
        """Map the eras at these positions, or check that files that are mapped are still whole.

        A file that is truncated after this check ends the process when its rows are read.

        Raises
        ------
        ShardError
            The same errors as `open_array`; or a mapped file has become shorter.
        """
        for era in eras:
            mapped = self._mapped[era]
            if mapped is None:
                with self._lock:
                    if self._mapped[era] is None:
                        self._mapped[era] = self._map(era)
                continue
            path, then = mapped
            with suppress(FileNotFoundError):  # a file that was deleted stays mapped, and whole
                now = os.stat(path)
                if now.st_size < then.st_size and os.path.samestat(now, then):
                    raise become_shorter(self._shards[era].file(self._array))

    @abstractmethod
    def take(self, numbers: Int64, out: Array) -> None:
        """Copy rows into `out`, of shape (rows, columns), C order, and the files' dtype."""

    def take_columns(self, numbers: Int64, columns: "slice | Int64", out: Array) -> None:
        """Copy some columns of rows into `out`, of shape (rows, these columns)."""
        at_once = min(_MAX_CHUNK_ROWS, max(1, _CHUNK_BYTES // max(1, self._row_bytes)))
        rows = self._scratch.array("rows", (at_once, self._n_columns), self._dtype)
        for low in range(0, len(numbers), at_once):
            some = numbers[low : low + at_once]
            self.take(some, rows[: len(some)])
            if isinstance(columns, slice):
                np.copyto(out[low : low + at_once], rows[: len(some), columns])
            else:
                part = out[low : low + at_once]
                rows[: len(some)].take(columns, axis=1, out=part, mode="clip")

    def _map(self, era: int) -> tuple[str, os.stat_result]:
        shard = self._shards[era]
        with shard.opened(self._array) as (file, offset):
            seen = os.fstat(file.fileno())
            self._map_file(era, file.fileno(), seen.st_size, offset)
        return os.fspath(shard.file(self._array)), seen

    @abstractmethod
    def _map_file(self, era: int, file: int, n_bytes: int, offset: int) -> None:
        """Map a file of `n_bytes` bytes, whose rows begin at an offset."""


class _Grid(StitchedArray):
    """Files mapped such that the rows of all of them are a whole number of rows apart.

    Raises
    ------
    OSError
        The system doesn't grant that many addresses.
    """

    def __init__(self, shards: Sequence[Shard], array: str) -> None:
        super().__init__(shards, array)
        # Maps begin at multiples of a page. At multiples of `period` bytes the end of a header
        # coincides with a row of the grid.
        page = mmap.PAGESIZE
        period = self._row_bytes // gcd(page, self._row_bytes) * page
        self._offsets, end = [], 0
        for shard in shards:
            begin = -(-end // period) * period
            self._offsets.append(begin)
            end = begin + HEADER_BYTES + shard.n_rows * self._row_bytes
            end = -(-end // page) * page
        self.first = np.array(self._offsets, np.int64) // self._row_bytes
        self._range = AddressRange(end)
        shape = (end - HEADER_BYTES) // self._row_bytes, self._n_columns
        self._rows = np.asarray(_At(self._range.begin + HEADER_BYTES, shape, self._dtype))
        self._cells = self._rows.reshape(-1)

    def take(self, numbers: Int64, out: Array) -> None:
        # All numbers are valid. "raise" would make a copy of the output, "clip" doesn't.
        self._rows.take(numbers, axis=0, out=out, mode="clip")

    def take_columns(self, numbers: Int64, columns: "slice | Int64", out: Array) -> None:
        if isinstance(columns, slice):
            at_once = max(1, _CHUNK_BYTES // max(1, out.itemsize * out.shape[1]))
            for low in range(0, len(numbers), at_once):
                some = slice(low, low + at_once)
                out[some] = self._rows[numbers[some], columns]
        elif len(columns) * _FEW_COLUMNS > self._n_columns:
            super().take_columns(numbers, columns, out)
        else:
            cells = numbers[:, np.newaxis] * self._n_columns + columns
            self._cells.take(cells, out=out, mode="clip")

    def _map_file(self, era: int, file: int, n_bytes: int, offset: int) -> None:
        assert offset == HEADER_BYTES
        self._range.map_file(self._offsets[era], file, n_bytes)


class _FileByFile(StitchedArray):
    """Files mapped at any address, or not mapped: for systems without chosen addresses."""

    def __init__(self, shards: Sequence[Shard], array: str) -> None:
        super().__init__(shards, array)
        rows = np.array([shard.n_rows for shard in shards], np.int64)
        self._ends = np.cumsum(rows)
        self.first = self._ends - rows
        self._arrays: list[Array | _UnmappedRows | None] = [None] * len(shards)

    def take(self, numbers: Int64, out: Array) -> None:
        eras = np.searchsorted(self._ends, numbers, side="right")
        by_era = np.argsort(eras, kind="stable")
        edges = np.flatnonzero(np.diff(eras[by_era], prepend=-1, append=-1))
        for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            places = by_era[low:high]
            era = int(eras[places[0]])
            array = self._arrays[era]
            assert array is not None
            out[places] = array[numbers[places] - self.first[era]]

    def _map_file(self, era: int, file: int, n_bytes: int, offset: int) -> None:
        try:
            mapped = map_file(file, n_bytes)
        except OSError as error:
            if error.errno == errno.ENOMEM:
                raise
            self._arrays[era] = _UnmappedRows(self._shards[era], self._array)
            return
        if hasattr(mmap, "MADV_RANDOM"):  # otherwise up to 8 MB are read ahead for each row
            with suppress(OSError):
                mapped.madvise(mmap.MADV_RANDOM)
        dtype, shape = self._shards[era].layout(self._array)
        self._arrays[era] = np.ndarray(shape, dtype, mapped, offset)


class _UnmappedRows:
    """Rows of a file that can't be mapped; they are read one by one when they are needed."""

    def __init__(self, shard: Shard, array: str) -> None:
        self._shard, self._array = shard, array

    def __getitem__(self, rows: Int64) -> Array:
        dtype, (_, n_columns) = self._shard.layout(self._array)
        out = np.empty((len(rows), n_columns), dtype)
        with self._shard.opened(self._array) as (file, offset):
            for position in np.argsort(rows).tolist():
                file.seek(offset + int(rows[position]) * dtype.itemsize * n_columns)
                read_into(file, out[position])
        return out


class _At:
    """Memory at an address, which numpy turns into a read-only array."""

    def __init__(self, address: int, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
        self.__array_interface__ = {
            "version": 3,
            "data": (address, True),
            "shape": shape,
            "typestr": dtype.str,
        }


def _can_be_mapped(path: Path) -> bool:
    """Return True if the file system allows maps, or if the file can't be opened."""
    with suppress(OSError), open(path, "rb") as file:
        try:
            map_file(file.fileno(), 1).close()
        except OSError as error:
            return error.errno == errno.ENOMEM
    return True


def stitched_array(shards: Sequence[Shard], array: str) -> StitchedArray:
    """Return the rows of one array of all these eras; see `StitchedArray`."""
    has_columns = shards[0].layout(array)[1][1] > 0
    is_aligned = all(shard.header_bytes(array) == HEADER_BYTES for shard in shards)
    can_be_stitched = has_columns and is_aligned and addresses_can_be_chosen()
    if can_be_stitched and _can_be_mapped(shards[0].file(array)):
        with suppress(OSError):  # addresses are limited, by `ulimit -v` for example
            return _Grid(shards, array)
    return _FileByFile(shards, array)
