"""Bytes of rows: from the maps of a dataset's eras into buffers, at the speed of memory or disk.

In comes a `Pool` (which windows, and where each of their rows goes), out go filled arrays. Knows no
random generator and no step. Threads may fill different parts of a pool at once: numpy's copies
release the interpreter's lock.
"""

import mmap
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from .buffers import Recycler
from .dataset import Dataset, Shard
from .machine import n_cores, open_file_limit
from .order import Pool
from .shard import HEADER_BYTES, become_shorter

Float32 = npt.NDArray[np.float32]
Stored = npt.NDArray[np.generic]
Batch = tuple[Float32, Float32]

_SAMPLED_WINDOWS = 64  # of a pool, to see whether it is in memory
_LEAST_MAPS = 8  # eras, however few files may be open
_MOST_THREADS = 4  # more copy no faster than the memory allows
_DISK_THREADS = 8  # requests at once that a disk needs to be at its full rate
_GATHER_BELOW = 8  # rows: shorter windows are gathered by era, longer ones copied one by one


class Reader:
    """Copies rows of a dataset's eras into buffers; thread-safe.

    Parameters
    ----------
    dataset : Dataset
    feature_columns, target_columns : tuple of int or None
        None for all.
    direct_eras : collection of int
        Positions of the eras whose features are read past the page cache, not mapped.
    """

    def __init__(
        self,
        dataset: Dataset,
        feature_columns: tuple[int, ...] | None,
        target_columns: tuple[int, ...] | None,
        direct_eras: Collection[int] = (),
    ) -> None:
        self._dataset = dataset
        self._direct = np.zeros(len(dataset.eras), np.bool_)
        self._direct[list(direct_eras)] = True
        self._feature_columns = _Columns(feature_columns, len(dataset.feature_names))
        self._target_columns = _Columns(target_columns, len(dataset.target_names))
        self.feature_names = self._feature_columns.names(dataset.feature_names)
        self.target_names = self._target_columns.names(dataset.target_names)
        self._store_dtype = dataset.manifest.store_dtype
        self.stored_row_bytes = len(dataset.feature_names) * self._store_dtype.itemsize
        """Bytes of a whole row of features in its file."""
        self.decodes = dataset.manifest.scale is not None
        self._eras = _OpenEras(dataset, self._direct)
        self._memory = Recycler()

    @property
    def row_bytes(self) -> int:
        """Bytes of a row's selected features as stored."""
        return len(self.feature_names) * self._store_dtype.itemsize

    def buffers(self, n_rows: int) -> tuple[Stored, Float32]:
        """Return reused arrays for the features (store dtype) and targets of so many rows."""
        return (
            self._memory.array((n_rows, len(self.feature_names)), self._store_dtype),
            self._memory.array((n_rows, len(self.target_names)), np.dtype(np.float32)),
        )

    @property
    def n_threads(self) -> int:
        """How many threads fill a pool best: a disk wants several requests at once."""
        return _DISK_THREADS if self._direct.any() else min(n_cores(), _MOST_THREADS)

    def announce(self, pool: Pool) -> None:
        """Have the kernel begin to read a pool's windows, all at once, in file order.

        Where the dataset doesn't fit in memory this makes the difference between the disk's latency
        and its throughput. A hint: systems without it read when a row is copied. Where a sample of
        the windows is in memory already, nothing is said: saying it would cost half of the copying.
        """
        if not hasattr(os, "posix_fadvise"):
            return
        mapped = [
            (begin, end)
            for begin, end in _groups(pool.eras)
            if not self._direct[pool.eras[begin]]
            or _are_gathered(int(pool.lengths[begin:end].sum()), end - begin)
        ]
        if self._is_resident(pool, mapped):
            return
        for begin, end in mapped:
            starts = HEADER_BYTES + pool.starts[begin:end] * self.stored_row_bytes
            n_bytes = pool.lengths[begin:end] * self.stored_row_bytes
            with self._feature_file(int(pool.eras[begin])) as file:
                if file is None:
                    continue  # reading will say what is wrong, and name the file
                for start, length in zip(starts.tolist(), n_bytes.tolist(), strict=True):
                    os.posix_fadvise(file, start, length, os.POSIX_FADV_WILLNEED)

    def _is_resident(self, pool: Pool, groups: list[tuple[int, int]]) -> bool:
        """Tell whether all of a sample of some of a pool's windows are in the page cache."""
        if not hasattr(os, "RWF_NOWAIT"):
            return False
        windows = [window for begin, end in groups for window in range(begin, end)]
        buffer = bytearray(1)
        for window in windows[:: -(-len(windows) // _SAMPLED_WINDOWS) or 1]:
            last_row = int(pool.starts[window] + pool.lengths[window]) - 1
            with self._feature_file(int(pool.eras[window])) as file:
                if file is None:
                    return False
                try:
                    offset = HEADER_BYTES + last_row * self.stored_row_bytes
                    os.preadv(file, [buffer], offset, os.RWF_NOWAIT)
                except OSError:  # not there yet, or a file system that can't tell
                    return False
        return True

    @contextmanager
    def _feature_file(self, era: int) -> Iterator[int | None]:
        """Open the features of the era at a position; None where that fails."""
        path = self._dataset[self._dataset.eras[era]].file("features")
        try:
            file = os.open(path, os.O_RDONLY)
        except OSError:
            yield None
            return
        try:
            # Even a read that may not wait has the kernel read megabytes ahead otherwise.
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
            yield file
        finally:
            os.close(file)

    def fill(self, pool: Pool, x: Stored, y: Float32, low: int, high: int) -> None:
        """Copy the windows low … high of a pool to their places."""
        eras = pool.eras[low:high]
        starts, lengths = pool.starts[low:high], pool.lengths[low:high]
        first_place = int(pool.lengths[:low].sum())
        places = pool.places[first_place : first_place + int(lengths.sum())]
        ends = np.cumsum(lengths)
        # Of each place its row in the era; for all eras at once, of which there may be thousands.
        rows_of_places = np.arange(len(places)) + np.repeat(starts - (ends - lengths), lengths)
        edges = np.append(0, ends)
        for begin, end in _groups(eras):
            era = self._eras.get(int(eras[begin]))
            era.check_whole()
            first, last = int(edges[begin]), int(edges[end])
            to, rows = places[first:last], rows_of_places[first:last]
            # Targets are few bytes: one call an era, where features have one a window.
            self._target_columns.gather(era.targets, rows, y, to)
            if _are_gathered(last - first, end - begin):
                self._feature_columns.gather(era.features, rows, x, to)
                continue
            done = 0
            for start, length in zip(
                starts[begin:end].tolist(), lengths[begin:end].tolist(), strict=True
            ):
                window = era.rows(start, start + length)
                self._feature_columns.copy(window, x, to[done : done + length])
                done += length

    def decode(self, x: Stored) -> Float32:
        """Return stored features as float32: themselves, or decoded into a reused buffer."""
        if not self.decodes:
            return x  # type: ignore[return-value]
        return self._dataset.decode(x, self._memory.array(x.shape, np.dtype(np.float32)))

    def decode_batch(self, x: Stored, y: Float32) -> Batch:
        """Return a batch as float32."""
        return self.decode(x), y


class _Columns:
    """Columns to take from rows: all of them, a contiguous range, or any."""

    def __init__(self, columns: tuple[int, ...] | None, n_columns: int) -> None:
        self._columns: Any = None if columns is None else np.array(columns)
        self._slice = slice(0, n_columns) if columns is None else None
        if columns is not None and columns == tuple(range(columns[0], columns[0] + len(columns))):
            self._slice = slice(columns[0], columns[0] + len(columns))

    def names(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return names if self._columns is None else tuple(names[i] for i in self._columns)

    def copy(self, rows: Stored, buffer: Stored, places: npt.NDArray[np.int64]) -> None:
        if self._slice is not None:
            buffer[places] = rows[:, self._slice]
        else:
            buffer[places] = rows.take(self._columns, axis=1)

    def gather(
        self,
        stored: Stored,
        rows: npt.NDArray[np.int64],
        buffer: Stored,
        places: npt.NDArray[np.int64],
    ) -> None:
        if self._columns is None:
            buffer[places] = stored[rows]
        elif self._slice is not None:
            buffer[places] = stored[:, self._slice][rows]
        else:
            buffer[places] = stored[rows[:, np.newaxis], self._columns]


class _OpenEra:
    """The arrays of an era: mapped, or the features read past the page cache."""

    def __init__(self, shard: Shard, *, direct: bool) -> None:
        self._shard = shard
        self._direct = shard.direct_features() if direct else None
        self._sizes: list[tuple[Callable[[], int], int, str]] = []
        """How to ask for a mapped file's size, what it was, and the array."""

    @cached_property
    def features(self) -> Stored:
        """The map of the features; a plain read-only array."""
        mapped, features = self._map("features")
        if hasattr(mmap, "MADV_RANDOM"):  # else up to 8 MB are read ahead for each row
            mapped.madvise(mmap.MADV_RANDOM)
        return features

    @cached_property
    def targets(self) -> Stored:
        """The map of the targets; a plain read-only array."""
        return self._map("targets")[1]

    def _map(self, name: str) -> tuple[mmap.mmap, Stored]:
        mapped, array = self._shard.mapped(name)
        self._sizes.append((mapped.size, len(mapped), name))
        return mapped, array

    def check_whole(self) -> None:
        """Raise a ShardError if a map's file has become shorter: touching it would be the end.

        What somebody cuts off a moment later still ends the process; nobody should.
        """
        for size, least, name in self._sizes:
            if size() < least:
                raise become_shorter(self._shard.file(name))

    def rows(self, start: int, stop: int) -> Stored:
        """Return consecutive rows of features, valid until this thread asks again."""
        if self._direct is not None:
            return self._direct.rows(start, stop)
        return self.features[start:stop]


class _OpenEras:
    """Open eras, the most recently used ones, as many as the process may have files open.

    A map keeps a descriptor, and descriptors belong to the process: all instances share a number of
    them, and the one that holds most gives way.
    """

    _instances: ClassVar[weakref.WeakSet["_OpenEras"]] = weakref.WeakSet()
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, dataset: Dataset, direct: npt.NDArray[np.bool_]) -> None:
        self._dataset, self._direct = dataset, direct
        self._open: OrderedDict[int, _OpenEra] = OrderedDict()
        # Two files an era, and half of the descriptors are left to everybody else.
        self._most_of_all = max(_LEAST_MAPS, open_file_limit() // 4)
        with self._lock:
            self._instances.add(self)

    def get(self, era: int) -> _OpenEra:
        """Return the era at a position."""
        with self._lock:
            found = self._open.get(era)
            if found is not None:
                self._open.move_to_end(era)
                return found
            self._make_room()
        shard = self._dataset[self._dataset.eras[era]]
        opened = _OpenEra(shard, direct=bool(self._direct[era]))
        with self._lock:
            self._open[era] = opened
        return opened

    def _make_room(self) -> None:
        instances = list(self._instances)
        n_open = sum(len(eras._open) for eras in instances)
        while n_open >= self._most_of_all:
            max(instances, key=lambda eras: len(eras._open))._open.popitem(last=False)
            n_open -= 1


def _groups(eras: npt.NDArray[np.int32]) -> list[tuple[int, int]]:
    """Return (first, last + 1) of the windows of each era."""
    edges = np.flatnonzero(np.diff(eras, prepend=-1, append=-1)).tolist()
    return list(pairwise(edges)) if len(eras) else []


def _are_gathered(n_rows: int, n_windows: int) -> bool:
    return n_rows < _GATHER_BELOW * n_windows
