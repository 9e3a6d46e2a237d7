"""A dataset in an order: shuffled batches `(x, y)` of float32, at random or as a prefetched stream.

The order says which rows, the reader fetches them; here they meet. A stream has the next pool read
by threads while the present one is used; a batch is a slice of a pool's buffer, which is reused
only once nothing refers to any batch made from it.
"""

import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from math import ceil
from types import TracebackType
from typing import Any

import numpy as np

from .dataset import Dataset, Selection
from .errors import BatchError
from .machine import available_memory, n_cores
from .order import Order, whole
from .reader import Batch, Float32, Reader, Stored

# Rows of window for each batch of a pool at which windows inflate the gradient's variance by 5 %,
# where rows of one era share 1 % of it: 0.05 / 0.01. See `_choose_pool`.
_WINDOW_PER_POOL_BATCH = 5
_LEAST_POOL_BATCHES = 8
_LEAST_CHOSEN_POOL = 2  # where memory is short
_WARM_WINDOW = 40  # rows: copied from memory as fast as larger ones, in the smallest pools
_WARM_SHARE = 0.8  # of the memory available: a dataset below it stays in the page cache
_COLD_READ_BYTES = 512_000  # a window that a disk reads at nearly its sequential speed
_MOST_THREADS = 4  # more copy no faster than the memory allows


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
        MB that two pools of buffers may take, where window and pool are to be chosen (two batches a
        pool are the least); by default an eighth of what is available.
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
        self._reader = Reader(
            dataset, dataset.feature_columns(features), dataset.target_columns(targets)
        )
        self.feature_names = self._reader.feature_names
        self.target_names = self._reader.target_names
        batch_size = whole("batch_size", batch_size)
        budget = available_memory() // 8 if memory is None else whole("memory", memory) * 1_000_000
        if pool_batches is not None:
            pool_batches = whole("pool_batches", pool_batches)
        if window_size is None:
            window_size, pool_batches = self._choose(batch_size, pool_batches, budget)
        elif pool_batches is None:
            pool_batches = _choose_pool(whole("window_size", window_size))
        self.order = Order(
            dataset.rows_per_era,
            batch_size=batch_size,
            window_size=window_size,
            pool_batches=pool_batches,
            drop_remainder=drop_remainder,
            seed=seed,
        )
        self.window_size, self.pool_batches = window_size, pool_batches

    def _choose(self, batch_size: int, pool_batches: int | None, budget: int) -> tuple[int, int]:
        """Return window and pool for a dataset that fits in memory, or one that comes from disk."""
        wanted = _WARM_WINDOW
        if self.dataset.feature_bytes > available_memory() * _WARM_SHARE:
            # What is read of a file are whole rows, what is buffered are the chosen columns.
            window = max(wanted, ceil(_COLD_READ_BYTES / self._reader.stored_row_bytes))
            wanted = min(window, max(self.dataset.rows_per_era))
        if pool_batches is None:
            two_batches = 2 * batch_size * self._reader.row_bytes  # one of each of two pools
            pool_batches = min(_choose_pool(wanted), max(_LEAST_CHOSEN_POOL, budget // two_batches))
        return max(1, min(wanted, pool_batches * _WINDOW_PER_POOL_BATCH)), pool_batches

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
        with Stream(self.order, self._reader, 0, end=len(self)) as stream:
            yield from stream

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

    def __init__(self, order: Order, reader: Reader, start: int, *, end: int | None = None) -> None:
        order.locate(start)  # refuses a negative step at once
        self.step = start
        self._end = end
        self.wait_seconds = 0.0
        """Seconds that `next` has waited for rows that weren't there yet."""
        self._order, self._reader = order, reader
        self._n_threads = min(n_cores(), _MOST_THREADS)
        self._threads = ThreadPoolExecutor(self._n_threads, thread_name_prefix="memmap-train")
        # Decoding has a thread of its own: it would queue behind the next pool's reading.
        self._decoder = ThreadPoolExecutor(1, thread_name_prefix="memmap-train-decode")
        self._pools: dict[tuple[int, int], _PoolReading] = {}
        self._decoding: dict[int, Future[Batch]] = {}
        self._lock = threading.RLock()
        self._stop = weakref.finalize(self, _shut_down, self._threads, self._decoder)

    def __next__(self) -> Batch:
        with self._lock:  # threads that share a stream get each batch once
            if self.step == self._end:
                raise StopIteration
            batch = self.at(self.step)
            self.step += 1
        return batch

    def at(self, step: int) -> Batch:
        """Return the batch of a step; cheap for the next few, a pool's reading for any other."""
        started = time.perf_counter()
        with self._lock:
            try:
                self._check_open()
                batch = self._decoded(step) if self._reader.decodes else self._slice(step)
            except BaseException as error:
                if isinstance(error, CancelledError | RuntimeError):
                    self._check_open()  # closed by another thread meanwhile?
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

    def _check_open(self) -> None:
        if not self._stop.alive:
            raise BatchError("the stream is closed; make another with batches.stream(start=step)")

    def _decoded(self, step: int) -> Batch:
        """Return a decoded batch, and have the next one decoded meanwhile if its rows are there."""
        future = self._decoding.get(step)
        if future is None:
            batch = self._reader.decode_batch(*self._slice(step))
        else:
            batch = future.result()
        self._decoding = {}
        following = self._order.locate(step + 1)
        reading = self._pools.get((following.epoch, following.pool))
        if reading is not None and reading.is_done() and step + 1 != self._end:
            self._decoding[step + 1] = self._decoder.submit(
                self._reader.decode_batch, *self._slice(step + 1)
            )
        return batch

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
        if following is None or following in self._pools:
            return x[place.low : place.high], y[place.low : place.high]
        if place.low > 0 or place.high == len(x):
            # From the second step on: the caller has let go of the last pool's buffer by then.
            self._pools = {key: reading, following: self._read(*following)}
        return x[place.low : place.high], y[place.low : place.high]

    def _read(self, epoch: int, pool: int) -> "_PoolReading":
        following = self._following(epoch, pool)
        return _PoolReading(
            self._order, self._reader, self._threads, self._n_threads, (epoch, pool), following
        )

    def _following(self, epoch: int, pool: int) -> tuple[int, int] | None:
        if pool + 1 < self._order.pools_per_epoch:
            return epoch, pool + 1
        if self._end is not None and (epoch + 1) * self._order.steps_per_epoch >= self._end:
            return None
        return epoch + 1, 0


class _PoolReading:
    """A pool on its way into a buffer: planned by one task, then filled by several."""

    def __init__(
        self,
        order: Order,
        reader: Reader,
        threads: ThreadPoolExecutor,
        n_threads: int,
        key: tuple[int, int],
        following: tuple[int, int] | None,
    ) -> None:
        self._planned = threads.submit(
            self._plan, order, reader, threads, n_threads, key, following
        )

    @staticmethod
    def _plan(
        order: Order,
        reader: Reader,
        threads: ThreadPoolExecutor,
        n_threads: int,
        key: tuple[int, int],
        following: tuple[int, int] | None,
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
        if following is not None and following[0] > key[0]:
            fills.append(threads.submit(order.prepare, following[0]))
        return x, y, fills

    def result(self) -> tuple[Stored, Float32]:
        x, y, fills = self._planned.result()
        for fill in fills:
            fill.result()
        return x, y

    def is_done(self) -> bool:
        """Tell whether the rows are there; an error will be told by `result`."""
        if not self._planned.done() or self._planned.exception() is not None:
            return False
        return all(fill.done() for fill in self._planned.result()[2])


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
    return max(_LEAST_POOL_BATCHES, ceil((window_size - 1) / _WINDOW_PER_POOL_BATCH))
