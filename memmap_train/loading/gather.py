"""Rows of a pool, copied from the files of a dataset's eras into buffers.

Takes a `Pool` (which windows, and where each of their rows goes); returns filled arrays. There
are no random numbers and no steps here. Rows in the page cache are gathered in the order of the
buffer. If only some of their columns are needed, or if rows are read with direct I/O, they are
copied window by window, in the order of the file; those that lie close together are read at once.
Several threads fill parts of a pool at once: numpy's copies release the interpreter's lock.
"""

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise

import numpy as np

from ..arrays import Array, Float32, Int32, Int64, Mask
from ..dataset.dataset import Dataset
from ..dataset.format import HEADER_BYTES
from ..errors import BatchError
from ..system.buffers import BufferPool
from ..system.file_access import advise
from ..system.memory_budget import Reservation
from ..system.resources import n_cores
from .columns import Columns
from .direct_files import DirectFiles
from .disk_requests import Requests, requests_of
from .held_rows import HeldRows
from .sampler import Pool
from .stitched_map import StitchedArray, stitched_array
from .window_grid import ranges

Batch = tuple[Float32, Float32]

_SAMPLED_WINDOWS = 64  # windows of a pool that are checked for being in memory
_MAX_THREADS = 4  # more threads don't copy faster
_DISK_THREADS = 8  # a disk needs this many requests at once to reach its full rate
_MIN_WINDOW_ROWS = 8  # on average: shorter windows are gathered row by row
_MIN_REQUEST_ROWS = 8  # on average: fewer rows aren't worth a request to the disk


class PoolReader:
    """Copies rows of a dataset's eras into buffers; thread-safe.

    Parameters
    ----------
    dataset : Dataset
    feature_columns, target_columns : tuple of int or None
        None for all.
    direct_eras : collection of int
        Positions of the eras whose features are read with direct I/O, not mapped.
    reservation : Reservation, optional
        The memory that its buffers will take, if that is known.
    """

    def __init__(
        self,
        dataset: Dataset,
        feature_columns: tuple[int, ...] | None,
        target_columns: tuple[int, ...] | None,
        direct_eras: Collection[int] = (),
        reservation: Reservation | None = None,
    ) -> None:
        self._dataset = dataset
        self._direct = np.zeros(len(dataset.eras), np.bool_)
        self._direct[list(direct_eras)] = True
        self._feature_columns = Columns(feature_columns, len(dataset.feature_names))
        self._target_columns = Columns(target_columns, len(dataset.target_names))
        self.feature_names = self._feature_columns.names(dataset.feature_names)
        self.target_names = self._target_columns.names(dataset.target_names)
        self._store_dtype = dataset.manifest.store_dtype
        self.stored_row_bytes = len(dataset.feature_names) * self._store_dtype.itemsize
        """Bytes of a whole row of features in its file."""
        self.decodes = dataset.manifest.scale is not None
        shards = [dataset[era] for era in dataset.eras]
        self._features = stitched_array(shards, "features")
        self._targets: StitchedArray | HeldRows = stitched_array(shards, "targets")
        self._files = DirectFiles(dataset)
        self._memory = BufferPool(reservation)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row's selected features as stored."""
        return len(self.feature_names) * self._store_dtype.itemsize

    def buffers(self, n_rows: int) -> tuple[Array, Float32]:
        """Return reused arrays for the features (store dtype) and targets of `n_rows` rows."""
        return (
            self._memory.array((n_rows, len(self.feature_names)), self._store_dtype),
            self._memory.array((n_rows, len(self.target_names)), np.dtype(np.float32)),
        )

    def map_targets(self) -> None:
        """Map the targets of all eras at once, not when they are first needed."""
        self._targets.require(range(len(self._dataset.eras)))

    def hold_targets(self, rows: Float32) -> None:
        """Take the targets from an array from now on, no longer from files.

        Parameters
        ----------
        rows : ndarray of float32, shape (rows, targets)
            The selected targets of all rows, in the order of the dataset's eras. It isn't copied,
            and must not be changed.
        """
        if rows.shape[1:] != (len(self.target_names),):
            raise BatchError(
                f"rows: expected {len(self.target_names)} columns, the targets of the batches, "
                f"found shape {rows.shape}"
            )
        self._targets = HeldRows(self._dataset.rows_per_era, rows)
        self._target_columns = Columns(None, rows.shape[1])

    def release(self) -> None:
        """Release the buffers that no array shows any more."""
        self._memory.clear()

    @property
    def n_threads(self) -> int:
        """The number of threads that fill a pool fastest: a disk needs several requests at once."""
        return _DISK_THREADS if self._direct.any() else min(n_cores(), _MAX_THREADS)

    def announce(self, pool: Pool) -> None:
        """Let the kernel begin to read a pool's windows, all at once, in file order.

        For a dataset that doesn't fit into memory this makes the difference between the disk's
        latency and its throughput. Systems without such hints read a row when it is copied. If a
        sample of the windows is in memory already, no hint is given: it would cost half as much as
        the copying.
        """
        if not hasattr(os, "posix_fadvise"):
            return
        windows = np.flatnonzero(~self._are_direct(pool))
        if not len(windows) or self._is_resident(pool, windows):
            return
        requests = self._requests(pool, windows)
        starts = HEADER_BYTES + requests.starts * self.stored_row_bytes
        n_bytes = (requests.stops - requests.starts) * self.stored_row_bytes
        firsts = _firsts(requests.eras).tolist()
        for first, end in pairwise([*firsts, len(starts)]):
            with self._feature_file(int(requests.eras[first])) as file:
                if file is None:
                    continue  # reading it will raise the error
                for number in range(first, end):
                    advise(file, "WILLNEED", int(starts[number]), int(n_bytes[number]))

    def _requests(self, pool: Pool, windows: Int64) -> Requests:
        return requests_of(pool, windows, self.stored_row_bytes)

    def _is_resident(self, pool: Pool, windows: Int64) -> bool:
        """Return True if all windows in a sample of a pool's windows are in the page cache."""
        if not hasattr(os, "RWF_NOWAIT"):
            return False
        buffer = bytearray(1)
        for window in windows[:: -(-len(windows) // _SAMPLED_WINDOWS)].tolist():
            last_row = int(pool.starts[window] + pool.lengths[window]) - 1
            with self._feature_file(int(pool.eras[window])) as file:
                if file is None:
                    return False
                try:
                    offset = HEADER_BYTES + last_row * self.stored_row_bytes
                    os.preadv(file, [buffer], offset, os.RWF_NOWAIT)
                except OSError:  # not in memory yet, or the file system doesn't support it
                    return False
        return True

    @contextmanager
    def _feature_file(self, era: int) -> Iterator[int | None]:
        """Yield an open descriptor of an era's features; None if the file can't be opened."""
        path = self._dataset[self._dataset.eras[era]].file("features")
        try:
            file = os.open(path, os.O_RDONLY)
        except OSError:
            yield None
            return
        try:
            # Otherwise the kernel reads megabytes ahead, even for a read that may not wait.
            advise(file, "RANDOM")
            yield file
        finally:
            os.close(file)

    def fills(self, pool: Pool, x: Array, y: Float32, n_parts: int) -> list[Callable[[], None]]:
        """Return functions that together fill a pool's arrays, called at once or in any order.

        Raises
        ------
        ShardError
            A file is missing, damaged, another one than before, or has become shorter; the
            functions raise it as well.
        """
        is_direct = self._are_direct(pool)
        mapped = pool.eras[~is_direct]
        self._targets.require(pool.eras[_firsts(pool.eras)].tolist())
        self._features.require(mapped[_firsts(mapped)].tolist())
        offsets = np.cumsum(pool.lengths) - pool.lengths  # of a window's rows among all
        rows = np.arange(pool.n_rows) + np.repeat(pool.starts - offsets, pool.lengths)
        target_rows = rows + np.repeat(self._targets.first[pool.eras], pool.lengths)
        feature_rows = rows + np.repeat(self._features.first[pool.eras], pool.lengths)
        parts = _parts(pool.n_rows, n_parts)
        of_place, padded = _of_place(pool, target_rows), _padded_places(pool)
        found: list[Callable[[], None]] = []
        if y.size:  # a dataset may have no targets
            found = [partial(self._gather_targets, of_place[p], padded[p], y[p]) for p in parts]
        in_windows = pool.n_rows >= _MIN_WINDOW_ROWS * len(pool.lengths)
        if not is_direct.any() and (self._feature_columns.are_all or not in_windows):
            gather = partial(self._feature_columns.gather, self._features)
            of_place = _of_place(pool, feature_rows)
            return found + [partial(gather, of_place[p], x[p]) for p in parts]
        is_mapped = np.repeat(~is_direct, pool.lengths)
        feature_rows, places = feature_rows[is_mapped], pool.places[is_mapped]
        scatter = partial(self._feature_columns.scatter, self._features, x)
        parts = _parts(len(places), n_parts)
        found += [partial(scatter, feature_rows[p], places[p]) for p in parts]
        if not is_direct.any():
            return found
        windows = np.flatnonzero(is_direct)
        done = np.cumsum(pool.lengths[windows])
        edges = np.searchsorted(done, np.linspace(0, done[-1], n_parts + 1)[:-1]).tolist()
        read = partial(self._read_directly, pool, offsets, x)
        return found + [partial(read, windows[a:b]) for a, b in pairwise([*edges, len(windows)])]

    def _gather_targets(self, numbers: Int64, padded: Mask, y: Float32) -> None:
        """Copy the targets of rows of these numbers, one after another; none of padded rows."""
        self._target_columns.gather(self._targets, numbers, y)
        y[padded] = np.nan

    def _read_directly(self, pool: Pool, offsets: Int64, x: Array, windows: Int64) -> None:
        """Read windows of a pool with direct I/O; copy their rows to their places."""
        requests, lengths = self._requests(pool, windows), pool.lengths[windows]
        places = pool.places[ranges(offsets[windows], lengths)]
        n_windows = np.diff(requests.firsts, append=len(windows))
        # The number of each row among those that its request reads.
        numbers = ranges(pool.starts[windows] - np.repeat(requests.starts, n_windows), lengths)
        edges = (np.cumsum(lengths) - lengths)[requests.firsts].tolist()
        found = zip(requests.eras, requests.starts, requests.stops, n_windows, strict=True)
        for (era, start, stop, n), (low, high) in zip(
            found, pairwise([*edges, len(places)]), strict=True
        ):
            rows = self._files.get(int(era)).rows(int(start), int(stop))
            if n > 1:
                rows = rows.take(numbers[low:high], axis=0)
            self._feature_columns.put(rows, x, places[low:high])

    def _are_direct(self, pool: Pool) -> Mask:
        """Return for each window whether it is read with direct I/O; the same within an era."""
        if not self._direct.any():
            return np.zeros(len(pool.eras), np.bool_)
        requests = self._requests(pool, np.arange(len(pool.eras)))
        firsts = _firsts(requests.eras)
        n_requests = np.diff(firsts, append=len(requests.eras))
        n_rows = np.add.reduceat(requests.stops - requests.starts, firsts)
        eras = requests.eras[firsts]
        of_era = np.zeros(len(self._direct), np.bool_)
        of_era[eras] = self._direct[eras] & (n_rows >= _MIN_REQUEST_ROWS * n_requests)
        return of_era[pool.eras]

    def decode(self, x: Array) -> Float32:
        """Return stored features as float32: themselves, or decoded into a reused buffer."""
        if not self.decodes:
            return x  # type: ignore[return-value]
        return self._dataset.decode(x, self._memory.array(x.shape, np.dtype(np.float32)))

    def decode_batch(self, x: Array, y: Float32) -> Batch:
        """Return a batch as float32."""
        return self.decode(x), y


def _of_place(pool: Pool, numbers: Int64) -> Int64:
    """Return the numbers of a pool's rows, ordered by their places in the buffer."""
    found = np.empty_like(numbers)
    found[pool.places] = numbers
    return found


def _padded_places(pool: Pool) -> Mask:
    """Return for each place of a buffer whether its row only fills up a batch."""
    if pool.padding is None:
        return np.zeros(pool.n_rows, np.bool_)
    found = np.empty(pool.n_rows, np.bool_)
    found[pool.places] = np.repeat(pool.padding, pool.lengths)
    return found


def _firsts(eras: Int32) -> Int64:
    """Return the position of each era's first window."""
    return np.flatnonzero(np.diff(eras, prepend=-1))


def _parts(n: int, n_parts: int) -> list[slice]:
    """Cut a range into parts of nearly the same size."""
    edges = np.linspace(0, n, n_parts + 1).astype(int).tolist()
    return [slice(low, high) for low, high in pairwise(edges)]
