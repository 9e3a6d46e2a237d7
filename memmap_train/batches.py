"""A dataset in an order: shuffled batches `(x, y)` of float32, at random or as a prefetched stream.

The order says which rows, this room fetches them: it knows bytes and no random generator. For each
pool it takes the windows in file order, tells the kernel what the next pool will need, and copies
rows from the maps to their places in the pool's buffer; a batch is a slice of that buffer. Threads
do this, since numpy's copies release the interpreter's lock. Buffers hold the store dtype and are
reused, but only once nothing refers to any batch made from them.
"""

import mmap
import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from math import ceil
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from .dataset import Dataset, Selection
from .errors import BatchError
from .machine import available_memory, n_cores, open_file_limit
from .order import Order, Pool
from .schema import era_folder
from .shard import HEADER_BYTES

Float32 = npt.NDArray[np.float32]
Stored = npt.NDArray[np.generic]
Batch = tuple[Float32, Float32]

ALIGNMENT = 64  # bytes; TensorFlow takes over aligned arrays without a copy and aborts on others
_INFLATION_CEILING = 0.05  # of the gradient's variance, at …
_INTRA_ERA_CORRELATION = 0.01
_LEAST_POOL_BATCHES = 8
_WARM_WINDOW = 40  # rows: copied from memory as fast as larger ones, in the smallest pools
_COLD_READ_BYTES = 512_000  # a window that a disk reads at nearly its sequential speed
_MOST_THREADS = 4  # more copy no faster than the memory allows
_SAMPLED_WINDOWS = 64  # of a pool, to see whether it is in memory
_GATHER_BELOW = 8  # rows: shorter windows are gathered by era, longer ones copied one by one


class Batches:
    """Shuffled batches of a dataset.

    Parameters
    ----------
    dataset : Dataset
    batch_size : int
        Rows of a batch.
    seed : int
        From 0; the same seed gives the same batches on any machine.
    features, targets : str or list of str, optional
        A feature set, or names; by default all, in the manifest's order.
    window_size : int, optional
        Rows that are drawn and read together; 1 is a global shuffle. By default it is chosen from
        the dataset's size and the memory available.
    pool_batches : int, optional
        Batches that are shuffled together; by default so many that windows inflate the gradient's
        variance by at most 5 % at an intra-era correlation of 0.01.
    memory : int, optional
        MB that buffers may take, for choosing the window; by default an eighth of what is
        available.
    drop_remainder : bool
        Leave out the rows that don't fill a last batch. False makes every row come exactly once
        per epoch, in a last batch that may be short.

    Attributes
    ----------
    window_size, pool_batches : int
        As chosen.

    Raises
    ------
    BatchError, DatasetError
        A size out of range, a batch larger than the data, an unknown name.

    Notes
    -----
    `batches[step]` works for any step from 0 (steps count on over epochs), in any order, in any
    thread. Arrays belong to the caller for as long as he keeps them.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        batch_size: int,
        seed: int,
        features: Selection = None,
        targets: Selection = None,
        window_size: int | None = None,
        pool_batches: int | None = None,
        memory: int | None = None,
        drop_remainder: bool = True,
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self._reader = _Reader(
            dataset, dataset.feature_columns(features), dataset.target_columns(targets)
        )
        self.feature_names = self._reader.feature_names
        self.target_names = self._reader.target_names
        if batch_size < 1:
            raise BatchError(f"batch_size: expected 1 or more, found {batch_size}")
        budget = available_memory() // 8 if memory is None else memory * 1_000_000
        if window_size is None:
            fits = dataset.feature_bytes < available_memory() * 0.8
            window_size = _choose_window(self._reader.row_bytes, batch_size, budget, fits=fits)
        if pool_batches is None:
            pool_batches = _choose_pool(window_size)
        self.order = Order(
            dataset.rows_per_era,
            batch_size=batch_size,
            window_size=window_size,
            pool_batches=pool_batches,
            drop_remainder=drop_remainder,
            seed=seed,
        )
        self.window_size, self.pool_batches = window_size, pool_batches

    def __len__(self) -> int:
        """Return the steps of an epoch."""
        return self.order.steps_per_epoch

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of any step: x (batch, features) and y (batch, targets), float32."""
        place = self.order.locate(step)
        part = self.order.pool(place.epoch, place.pool).only(place.low, place.high)
        x, y = self._reader.buffers(part.n_rows)
        self._reader.fill(part, x, y, 0, len(part.eras))
        return self._reader.decode(x), y

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over epoch 0."""
        with self.stream() as stream:
            for _ in range(len(self)):
                yield next(stream)

    def stream(self, start: int = 0) -> "Stream":
        """Return an endless, prefetched iterator from a step on; resuming is an offset.

        Raises
        ------
        BatchError
            The step is negative.
        """
        return Stream(self.order, self._reader, start)


class Stream(Iterator[Batch]):
    """Batches one after another, the next pool being read while this one is used.

    Dropping it, `close()` or leaving its `with` block stops its threads. An error in a thread ends
    the stream with that error.
    """

    def __init__(self, order: Order, reader: "_Reader", start: int) -> None:
        order.locate(start)  # refuses a negative step at once
        self.step = start
        self.wait_seconds = 0.0
        """Seconds that `next` has waited for rows that weren't there yet."""
        self._order, self._reader = order, reader
        self._n_threads = min(n_cores(), _MOST_THREADS)
        self._threads = ThreadPoolExecutor(self._n_threads, thread_name_prefix="memmap-train")
        # Decoding has a thread of its own: it would queue behind the next pool's reading.
        self._decoder = ThreadPoolExecutor(1, thread_name_prefix="memmap-train-decode")
        self._pools: dict[tuple[int, int], _PoolReading] = {}
        self._decoding: dict[int, Future[Batch]] = {}
        self._lock = threading.Lock()
        self._stop = weakref.finalize(self, _shut_down, self._threads, self._decoder)

    def __next__(self) -> Batch:
        batch = self.at(self.step)
        self.step += 1
        return batch

    def at(self, step: int) -> Batch:
        """Return the batch of a step; cheap for the next few, a pool's reading for any other."""
        if not self._stop.alive:
            raise BatchError("the stream is closed; make another with batches.stream(start=step)")
        started = time.perf_counter()
        with self._lock:
            try:
                batch = self._decoded(step) if self._reader.decodes else self._slice(step)
            except BaseException:
                self.close()
                raise
        self.wait_seconds += time.perf_counter() - started
        return batch

    def close(self) -> None:
        """Stop the threads and let go of the buffers; batches handed out stay valid."""
        self._stop()
        self._pools.clear()
        self._decoding.clear()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _decoded(self, step: int) -> Batch:
        future = self._decoding.pop(step, None)
        batch = self._decode(*self._slice(step)) if future is None else future.result()
        self._decoding = {key: value for key, value in self._decoding.items() if key == step + 1}
        if step + 1 not in self._decoding:
            following = self._order.locate(step + 1)
            reading = self._pools.get((following.epoch, following.pool))
            if reading is not None and reading.is_done():
                self._decoding[step + 1] = self._decoder.submit(
                    self._reader.decode_batch, *self._slice(step + 1)
                )
        return batch

    def _decode(self, x: Stored, y: Float32) -> Batch:
        return self._reader.decode_batch(x, y)

    def _slice(self, step: int) -> tuple[Any, Float32]:
        place = self._order.locate(step)
        key = (place.epoch, place.pool)
        reading = self._pools.get(key)
        if reading is None:
            # Pools of another place in the run are of no use here; their buffers are.
            self._pools = {}
            reading = self._pools[key] = self._read(*key)
        x, y = reading.result()
        following = self._following(*key)
        if following not in self._pools and (place.low > 0 or place.high == len(x)):
            # From the second step on: the caller has let go of the last pool's buffer by then.
            self._pools = {key: reading, following: self._read(*following)}
        return x[place.low : place.high], y[place.low : place.high]

    def _read(self, epoch: int, pool: int) -> "_PoolReading":
        following = self._following(epoch, pool)
        return _PoolReading(
            self._order, self._reader, self._threads, self._n_threads, (epoch, pool), following
        )

    def _following(self, epoch: int, pool: int) -> tuple[int, int]:
        if pool + 1 < self._order.pools_per_epoch:
            return epoch, pool + 1
        return epoch + 1, 0


class _PoolReading:
    """A pool on its way into a buffer: planned by one task, then filled by several."""

    def __init__(
        self,
        order: Order,
        reader: "_Reader",
        threads: ThreadPoolExecutor,
        n_threads: int,
        key: tuple[int, int],
        following: tuple[int, int],
    ) -> None:
        self._planned = threads.submit(
            self._plan, order, reader, threads, n_threads, key, following
        )

    @staticmethod
    def _plan(
        order: Order,
        reader: "_Reader",
        threads: ThreadPoolExecutor,
        n_threads: int,
        key: tuple[int, int],
        following: tuple[int, int],
    ) -> tuple[Stored, Float32, list[Future[None]]]:
        pool = order.pool(*key)
        reader.announce(pool)
        x, y = reader.buffers(pool.n_rows)
        edges = np.searchsorted(
            np.cumsum(pool.lengths), np.linspace(0, pool.n_rows, n_threads + 1), side="left"
        )
        edges[-1] = len(pool.eras)
        parts = zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        fills = [threads.submit(reader.fill, pool, x, y, low, high) for low, high in parts]
        if following[0] > key[0]:
            fills.append(threads.submit(order.prepare, following[0]))
        return x, y, fills

    def result(self) -> tuple[Stored, Float32]:
        x, y, fills = self._planned.result()
        for fill in fills:
            fill.result()
        return x, y

    def is_done(self) -> bool:
        return self._planned.done() and all(fill.done() for fill in self._planned.result()[2])


class _Reader:
    """Copies rows from the maps of a dataset's eras into buffers; thread-safe."""

    def __init__(
        self,
        dataset: Dataset,
        feature_columns: tuple[int, ...] | None,
        target_columns: tuple[int, ...] | None,
    ) -> None:
        self._dataset = dataset
        self._feature_columns = _Columns(feature_columns, len(dataset.feature_names))
        self._target_columns = _Columns(target_columns, len(dataset.target_names))
        self.feature_names = self._feature_columns.names(dataset.feature_names)
        self.target_names = self._target_columns.names(dataset.target_names)
        self._store_dtype = dataset.manifest.store_dtype
        self._stored_row_bytes = len(dataset.feature_names) * self._store_dtype.itemsize
        self.decodes = dataset.manifest.scale is not None
        self._maps = _Maps(dataset)
        self._memory = _Recycler()

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

    def announce(self, pool: Pool) -> None:
        """Have the kernel begin to read a pool's windows, all at once, in file order.

        Where the dataset doesn't fit in memory this makes the difference between the disk's latency
        and its throughput. A hint: systems without it read when a row is copied. Where a sample of
        the windows is in memory already, nothing is said: saying it would cost half of the copying.
        """
        if not hasattr(os, "posix_fadvise") or self._is_resident(pool):
            return
        edges = np.flatnonzero(np.diff(pool.eras, prepend=-1, append=-1))
        for begin, end in pairwise(edges.tolist()):
            starts = HEADER_BYTES + pool.starts[begin:end] * self._stored_row_bytes
            n_bytes = pool.lengths[begin:end] * self._stored_row_bytes
            with self._feature_file(int(pool.eras[begin])) as file:
                for start, length in zip(starts.tolist(), n_bytes.tolist(), strict=True):
                    os.posix_fadvise(file, start, length, os.POSIX_FADV_WILLNEED)

    def _is_resident(self, pool: Pool) -> bool:
        """Tell whether all of a sample of a pool's windows are in the page cache."""
        if not hasattr(os, "RWF_NOWAIT"):
            return False
        buffer = bytearray(1)
        sample = np.linspace(0, len(pool.eras) - 1, min(_SAMPLED_WINDOWS, len(pool.eras)))
        for window in sample.astype(np.int64).tolist():
            last_row = int(pool.starts[window] + pool.lengths[window]) - 1
            with self._feature_file(int(pool.eras[window])) as file:
                try:
                    offset = HEADER_BYTES + last_row * self._stored_row_bytes
                    os.preadv(file, [buffer], offset, os.RWF_NOWAIT)
                except OSError:  # not there yet, or a file system that can't tell
                    return False
        return True

    @contextmanager
    def _feature_file(self, era: int) -> Iterator[int]:
        path = self._dataset.path / era_folder(self._dataset.eras[era]) / "features.npy"
        file = os.open(path, os.O_RDONLY)
        try:
            yield file
        finally:
            os.close(file)

    def fill(self, pool: Pool, x: Stored, y: Float32, low: int, high: int) -> None:
        """Copy the windows low … high of a pool to their places."""
        eras = pool.eras[low:high]
        starts, lengths = pool.starts[low:high], pool.lengths[low:high]
        first_place = int(pool.lengths[:low].sum())
        places = pool.places[first_place : first_place + int(lengths.sum())]
        if not len(eras):
            return
        edges = np.flatnonzero(np.diff(eras)) + 1
        ends = np.cumsum(lengths)
        for begin, end in zip([0, *edges.tolist()], [*edges.tolist(), len(eras)], strict=True):
            features, targets = self._maps.get(int(eras[begin]))
            place = int(ends[begin] - lengths[begin])
            if lengths[begin:end].mean() < _GATHER_BELOW:
                rows = np.repeat(starts[begin:end], lengths[begin:end])
                rows += np.arange(len(rows)) - np.repeat(
                    ends[begin:end] - lengths[begin:end] - place, lengths[begin:end]
                )
                to = places[place : place + len(rows)]
                self._feature_columns.gather(features, rows, x, to)
                self._target_columns.gather(targets, rows, y, to)
            else:
                for start, length in zip(
                    starts[begin:end].tolist(), lengths[begin:end].tolist(), strict=True
                ):
                    to = places[place : place + length]
                    self._feature_columns.copy(features[start : start + length], x, to)
                    self._target_columns.copy(targets[start : start + length], y, to)
                    place += length

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


class _Maps:
    """Maps of eras, the most recently used ones, as many as the process may have files open."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        # A map keeps a descriptor; half of them is left to everybody else.
        self._most = max(8, open_file_limit() // 4)
        self._open: OrderedDict[int, tuple[Stored, Stored]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, era: int) -> tuple[Stored, Stored]:
        """Return the features and targets of the era at a position; plain read-only arrays."""
        with self._lock:
            arrays = self._open.get(era)
            if arrays is not None:
                self._open.move_to_end(era)
                return arrays
        shard = self._dataset[self._dataset.eras[era]]
        features = shard.features
        _read_no_more_than_asked(features)
        # np.asarray: a memmap's own indexing costs microseconds more for each slice.
        arrays = (np.asarray(features), np.asarray(shard.targets))
        with self._lock:
            self._open[era] = arrays
            while len(self._open) > self._most:
                self._open.popitem(last=False)
        return arrays


class _Recycler:
    """Aligned memory that returns here when the last array that shows it is gone.

    First touch of fresh memory is dear (a page fault every 4 kB), so blocks are kept and reused.
    """

    def __init__(self) -> None:
        self._free: list[npt.NDArray[np.uint8]] = []
        self._lock = threading.Lock()

    def array(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Any:
        """Return an array with undefined contents, aligned to 64 bytes."""
        n_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        lease = _Lease(self._take(n_bytes), self)
        return np.asarray(lease)[:n_bytes].view(dtype).reshape(shape)

    def _take(self, n_bytes: int) -> npt.NDArray[np.uint8]:
        with self._lock:
            # A block much larger than what is asked for stays for those who need it.
            fitting = [b for b in self._free if n_bytes <= len(b) <= 2 * n_bytes + 4096]
            if fitting:
                block = min(fitting, key=len)
                self._free = [b for b in self._free if b is not block]
                return block
        raw = np.empty(n_bytes + ALIGNMENT, np.uint8)
        offset = -raw.ctypes.data % ALIGNMENT
        return raw[offset : offset + max(n_bytes, 1)]

    def give_back(self, block: npt.NDArray[np.uint8]) -> None:
        """Take a block back; only the last few are kept, since sizes go out of use."""
        with self._lock:
            self._free.append(block)
            if len(self._free) > 8:
                self._free.pop(0)


class _Lease:
    """The owner of arrays made from a block: numpy keeps it alive for as long as one of them is."""

    def __init__(self, block: npt.NDArray[np.uint8], home: _Recycler) -> None:
        self.__array_interface__ = block.__array_interface__
        self._block, self._home = block, home

    def __del__(self) -> None:
        self._home.give_back(self._block)


def _read_no_more_than_asked(array: np.memmap) -> None:
    """Switch the kernel's read-ahead off for a map: up to 8 MB are read for each row otherwise."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_RANDOM"):
        mapped.madvise(mmap.MADV_RANDOM)


def _shut_down(*executors: ThreadPoolExecutor) -> None:
    for executor in executors:
        executor.shutdown(wait=False, cancel_futures=True)


def _choose_pool(window_size: int) -> int:
    """Return the batches per pool that keep the inflation of the gradient's variance low.

    Notes
    -----
    Two rows of a batch come from one window with a probability of about (window - 1) / (pool rows).
    With rows of one era sharing a part rho of the gradient's variance, that inflates the variance
    of a batch's mean by about rho * (window - 1) / pool_batches.
    """
    needed = _INTRA_ERA_CORRELATION * (window_size - 1) / _INFLATION_CEILING
    return max(_LEAST_POOL_BATCHES, ceil(needed))


def _choose_window(row_bytes: int, batch_size: int, budget: int, *, fits: bool) -> int:
    """Return the window for a dataset that fits in memory, or for one that must come from disk."""
    if fits:
        return _WARM_WINDOW
    window = max(_WARM_WINDOW, ceil(_COLD_READ_BYTES / row_bytes))
    while window > _WARM_WINDOW:  # two pools of buffers within the budget
        if 2 * _choose_pool(window) * batch_size * row_bytes <= budget:
            break
        window = max(_WARM_WINDOW, window * 3 // 4)
    return window
