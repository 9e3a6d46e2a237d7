"""One array that shows the rows of many files, so that a single call gathers rows of all of them.

A batch of a global shuffle takes a few rows from each of a thousand files. Asked file by file, each
call costs as much as its copying, and its rows have to be scattered to their places afterwards. So
the files of an array are mapped here at addresses chosen such that all their rows lie on one grid,
a row apart or a whole number of rows: to numpy they are one array, and a gather writes its output
from front to back. What lies between two files is reserved address space that nothing touches.
"""

import ctypes
import errno
import mmap
import os
import sys
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from math import gcd
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..dataset.array_file import HEADER_BYTES, become_shorter, map_file, read_into
from ..dataset.dataset import Shard
from ..system.scratch import ThreadScratch
from ..system.thread_lock import ThreadLock

Array = npt.NDArray[np.generic]
Int64 = npt.NDArray[np.int64]

_CHUNK_BYTES = 2**18  # rows that wait for their columns to be taken: within a core's cache
_MAX_CHUNK_ROWS = 1024
_FEW_COLUMNS = 32  # of so many, one: taken cell by cell, without the rest of the row
_PROT_NONE, _MAP_FIXED = 0, 0x10  # of Linux and macOS
_MAP_FAILED = 2 ** (8 * ctypes.sizeof(ctypes.c_void_p)) - 1


class StitchedArray(ABC):
    """The rows of one array of all eras, by numbers; thread-safe.

    A row's number is `first[era] + row`; numbers that belong to no row may not be asked for.

    Parameters
    ----------
    shards : sequence of Shard
    array : str
        Which array, of two dimensions: `features` or `targets`.

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
        # Of the eras that are mapped, what the file was then.
        self._mapped: list[tuple[str, os.stat_result] | None] = [None] * len(shards)
        self._lock = ThreadLock()
        self._scratch = ThreadScratch()

    def require(self, eras: Iterable[int]) -> None:
        """Map the eras at these positions, or look whether what is mapped is still whole.

        What somebody cuts off a moment later ends the process when it is touched; nobody should.

        Raises
        ------
        ShardError
            As `shard.open_array`; or a mapped file has become shorter.
        """
        for era in eras:
            mapped = self._mapped[era]
            if mapped is None:
                with self._lock:
                    if self._mapped[era] is None:
                        self._mapped[era] = self._map(era)
                continue
            path, then = mapped
            with suppress(FileNotFoundError):  # a file that is gone stays mapped, and whole
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
        """Map a file of so many bytes, whose rows begin at an offset."""


class _Grid(StitchedArray):
    """Maps files where the rows of all of them are a whole number of rows apart.

    Raises
    ------
    OSError
        The system doesn't give as many addresses.
    """

    def __init__(self, shards: Sequence[Shard], array: str) -> None:
        super().__init__(shards, array)
        system = _system()
        assert system is not None
        # Maps begin at multiples of a page. Every `period` pages begin at a row of the grid, which
        # begins where a map's header ends.
        page = mmap.PAGESIZE
        period = self._row_bytes // gcd(page, self._row_bytes) * page
        self._addresses, end = [], 0
        for shard in shards:
            begin = -(-end // period) * period
            self._addresses.append(begin)
            end = begin + HEADER_BYTES + shard.n_rows * self._row_bytes
            end = -(-end // page) * page
        self.first = np.array(self._addresses, np.int64) // self._row_bytes
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
        self._system, self._base = system, system.map(None, end, _PROT_NONE, flags, -1)
        unmap = weakref.finalize(self, system.unmap, self._base, end)
        unmap.atexit = False  # the process's end does it, when no thread is at work any more
        shape = (end - HEADER_BYTES) // self._row_bytes, self._n_columns
        self._rows = np.asarray(_At(self._base + HEADER_BYTES, shape, self._dtype))
        self._cells = self._rows.reshape(-1)

    def take(self, numbers: Int64, out: Array) -> None:
        # All numbers are those of rows. "clip" spares a copy of the output, which "raise" makes.
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
        address = self._base + self._addresses[era]
        self._system.map(address, n_bytes, mmap.PROT_READ, mmap.MAP_PRIVATE | _MAP_FIXED, file)
        self._system.read_single_rows(address, n_bytes)


class _FileByFile(StitchedArray):
    """Maps wherever the system likes, or not at all: for systems that can't be told."""

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
        if hasattr(mmap, "MADV_RANDOM"):  # else up to 8 MB are read ahead for each row
            with suppress(OSError):
                mapped.madvise(mmap.MADV_RANDOM)
        dtype, shape = self._shards[era].layout(self._array)
        self._arrays[era] = np.ndarray(shape, dtype, mapped, offset)


class _UnmappedRows:
    """Rows of a file that can't be mapped; they are read one by one whenever they are asked for."""

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


class _NoColumns(StitchedArray):
    """The rows of arrays without columns, a dataset's targets for one: nothing to map."""

    def __init__(self, shards: Sequence[Shard], array: str) -> None:
        super().__init__(shards, array)
        self.first = np.zeros(len(shards), np.int64)

    def take(self, numbers: Int64, out: Array) -> None:
        pass

    def _map_file(self, era: int, file: int, n_bytes: int, offset: int) -> None:
        pass


class _At:
    """What numpy makes a read-only array of: whatever is mapped at an address."""

    def __init__(self, address: int, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
        self.__array_interface__ = {
            "version": 3,
            "data": (address, True),
            "shape": shape,
            "typestr": dtype.str,
        }


class _System:
    """The system's calls for maps at chosen addresses, which Python's `mmap` doesn't offer."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        address, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
        self._mmap, self._munmap, self._madvise = library.mmap, library.munmap, library.madvise
        self._mmap.argtypes = [address, size, number, number, number, ctypes.c_int64]
        self._mmap.restype = address
        self._munmap.argtypes = [address, size]
        self._madvise.argtypes = [address, size, number]

    def map(self, address: int | None, n_bytes: int, access: int, flags: int, file: int) -> int:
        """Return where a file is mapped; OSError if it can't be."""
        found: int | None = self._mmap(address, n_bytes, access, flags, file, 0)
        if found is None or found == _MAP_FAILED:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return found

    def unmap(self, address: int, n_bytes: int) -> None:
        """Give addresses back."""
        self._munmap(address, n_bytes)

    def read_single_rows(self, address: int, n_bytes: int) -> None:
        """Say that rows are read at random: else up to 8 MB are read ahead for each."""
        if hasattr(mmap, "MADV_RANDOM"):
            self._madvise(address, n_bytes, mmap.MADV_RANDOM)


@cache
def _system() -> _System | None:
    """Return the system's calls; None where they aren't known, or addresses are few."""
    is_known = sys.platform in ("linux", "darwin") and hasattr(mmap, "MAP_PRIVATE")
    if not is_known or ctypes.sizeof(ctypes.c_void_p) < 8:
        return None
    try:
        return _System()
    except (OSError, AttributeError):
        return None


def _can_be_mapped(path: Path) -> bool:
    """Return whether the file system allows maps; True also where the file can't be opened."""
    with suppress(OSError), open(path, "rb") as file:
        try:
            map_file(file.fileno(), 1).close()
        except OSError as error:
            return error.errno == errno.ENOMEM
    return True


def row_space(shards: Sequence[Shard], array: str) -> StitchedArray:
    """Return the rows of one array of all these eras; see `StitchedArray`."""
    if shards[0].layout(array)[1][1] == 0:
        return _NoColumns(shards, array)
    is_ours = all(shard.header_bytes(array) == HEADER_BYTES for shard in shards)
    if is_ours and _system() is not None and _can_be_mapped(shards[0].file(array)):
        with suppress(OSError):  # addresses are limited, by `ulimit -v` for example
            return _Grid(shards, array)
    return _FileByFile(shards, array)
