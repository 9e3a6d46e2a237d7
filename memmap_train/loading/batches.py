"""A dataset in an order: shuffled batches `(x, y)` of float32, at random or as a prefetched stream.

The order says which rows, the reader fetches them; here they meet. A stream has the next pool read
by threads while the present one is used; a batch is a slice of a pool's buffer, which is reused
only once nothing refers to any batch made from it.
"""

import os
import time
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from functools import cached_property
from types import TracebackType
from typing import Any

from ..dataset.dataset import Dataset, Selection
from ..errors import BatchError
from ..system.memory_budget import PROCESS_MEMORY, MemoryBudget
from ..system.thread_lock import ThreadLock
from ..system.threads import ThreadPool
from ..text import in_bytes
from .gather import Batch, Float32, PoolReader, Stored
from .placement import placement_of
from .sampler import Pool, WindowSampler, whole
from .shuffle_quality import Shuffling, choose_windows, pool_for_window, shuffling_of

_NUMBERS_BYTES = 64  # of a row of a pool: where it is, and where it goes, while it is filled

_MIN_AVAILABLE = 100_000_000  # bytes of memory, whatever the system says


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
        pool are the least); by default half of what is available, or what features leave of it that
        fit into memory. Decoded batches of an int8 store come on top.
    drop_remainder : bool
        Leave out the rows that don't fill a last batch. False makes every row come exactly once
        per epoch, in a last batch that may be short.
    memory_budget : MemoryBudget, optional
        Where the available memory is measured and the buffers' part of it is reserved; by default
        that of the process.

    Attributes
    ----------
    window_size, pool_batches : int
        As chosen.
    shuffling : Shuffling
        How well that shuffles, beside a global shuffle.
    pool_bytes : int
        Of the largest pool's buffer for features; two are in use.
    placement : Placement
        The memory available, and whether the dataset's features fit into it.
    direct_eras : tuple of int
        Positions of the eras that are read past the page cache: the dataset is larger than memory.

    Raises
    ------
    BatchError, DatasetError
        A size out of range, a batch larger than the data, pools larger than memory, an unknown
        name.

    Notes
    -----
    `batches[step]` works for any step from 0 (steps count on over epochs), in any order, in any
    thread. Arrays belong to the caller for as long as he keeps them.

    `len(batches)` is the number of steps of an epoch. What asks for no more than these, as
    ``for``, ``list``, ``zip``, ``reversed`` and PyTorch's ``DataLoader(batches, batch_size=None)``
    do, gets epoch 0 each time; `epoch` gives any other one.
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
        memory_budget: MemoryBudget = PROCESS_MEMORY,
    ) -> None:
        self.dataset = dataset
        self.batch_size = whole("batch_size", batch_size)
        columns = dataset.feature_columns(features), dataset.target_columns(targets)
        row_bytes = dataset.manifest.store_dtype.itemsize * (
            len(dataset.feature_names) if columns[0] is None else len(columns[0])
        )
        self._budget = memory_budget
        self.placement = placement = placement_of(dataset, memory_budget)
        most_bytes = placement.buffer_bytes
        if memory is not None:
            most_bytes = whole("memory", memory) * 1_000_000
        if pool_batches is not None:
            pool_batches = whole("pool_batches", pool_batches)
        self._reason = "as asked for"
        if window_size is None:
            choice = choose_windows(
                dataset.rows_per_era,
                batch_size=self.batch_size,
                row_bytes=dataset.feature_bytes // dataset.n_rows,
                buffered_row_bytes=row_bytes + _NUMBERS_BYTES,
                memory=most_bytes,
                window_bytes=placement.window_bytes(dataset),
                pool_batches=pool_batches,
            )
            window_size, pool_batches = choice.window_size, choice.pool_batches
            self._reason = choice.reason
        elif pool_batches is None:
            pool_batches = pool_for_window(whole("window_size", window_size))
        self.order = WindowSampler(
            dataset.rows_per_era,
            batch_size=batch_size,
            window_size=window_size,
            pool_batches=pool_batches,
            drop_remainder=drop_remainder,
            seed=seed,
        )
        self.window_size, self.pool_batches = window_size, pool_batches
        self.pool_bytes = row_bytes * self.order.most_pool_rows
        if 2 * self.pool_bytes > max(placement.available, _MIN_AVAILABLE):
            raise BatchError(
                f"pools of {pool_batches:,} batches of {batch_size:,} rows take "
                f"{in_bytes(self.pool_bytes)} each, and two are in use; expected "
                f"{in_bytes(placement.available)} at most, the memory available: take fewer "
                "pool_batches, smaller batches or fewer features"
            )
        self.direct_eras = placement.direct_eras(dataset, 2 * self.pool_bytes)
        self._columns = columns
        self._reader = self._new_reader()
        self.feature_names = self._reader.feature_names
        self.target_names = self._reader.target_names

    def explain(self) -> tuple[str, str]:
        """Say how it is shuffled and why so, and where the rows come from: a sentence each."""
        row_bytes = self.dataset.feature_bytes // self.dataset.n_rows
        quality = self.shuffling
        rows = "row" if self.window_size == 1 else "rows"
        shuffled = (
            f"windows of {self.window_size:,} {rows} ({in_bytes(self.window_size * row_bytes)}) in "
            f"pools of {self.pool_batches:,} batches ({in_bytes(self.pool_bytes)}): "
            f"{quality.eras_per_batch:,.0f} eras in a batch "
            f"({quality.ideal_eras_per_batch:,.0f} in a global shuffle), "
            f"{quality.same_era_rate:.3%} of its pairs of one era "
            f"({quality.ideal_same_era_rate:.3%}), "
            f"gradient variance x {quality.inflation():.3f}; {self._reason}"
        )
        placement = self.placement
        features = f"{in_bytes(placement.feature_bytes)} of features"
        if placement.fits:
            read = f"{features} fit into the {in_bytes(placement.available)} of memory available"
        elif self.direct_eras:
            n_kept = len(self.dataset.eras) - len(self.direct_eras)
            read = (
                f"{features} for {in_bytes(placement.available)} of memory available: "
                f"{n_kept:,} eras stay in memory, {len(self.direct_eras):,} are read from the disk "
                "in each epoch"
            )
        else:
            read = (
                f"{features} for {in_bytes(placement.available)} of memory available; this disk "
                "can't be read past the page cache, which is left to do what it can"
            )
        return shuffled, read

    def reader(self, direct: bool | None = None) -> PoolReader:
        """Return the reader, or one that reads all eras past the page cache, or none."""
        if direct is None:
            return self._reader
        direct_eras = range(len(self.dataset.eras)) if direct else ()
        return PoolReader(self.dataset, *self._columns, direct_eras)

    def _new_reader(self) -> PoolReader:
        reservation = self._budget.reserve(2 * self.pool_bytes)
        return PoolReader(self.dataset, *self._columns, self.direct_eras, reservation)

    @cached_property
    def shuffling(self) -> Shuffling:
        """How well window and pool shuffle, beside a global shuffle."""
        return shuffling_of(self.order)

    def __len__(self) -> int:
        """Return the steps of an epoch."""
        return self.order.steps_per_epoch

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of any step: x (batch, features) and y (batch, targets), float32."""
        if isinstance(step, slice):
            raise BatchError(
                f"step: expected one whole number, 0 or more, found {step!r}; several steps come "
                "from batches.stream(start, end), an epoch from batches.epoch(0)"
            )
        place = self.order.locate(step)
        part = self.order.pool(place.epoch, place.pool).only(place.low, place.high)
        x, y = self._reader.buffers(part.n_rows)
        for fill in self._reader.fills(part, x, y, n_parts=1):
            fill()
        return self._reader.decode(x), y

    def __getstate__(self) -> dict[str, Any]:
        """Pickle everything but open files and buffers: another process has its own."""
        own = ("_reader", "_budget")
        return {name: value for name, value in vars(self).items() if name not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take everything over, window and pool as they were chosen."""
        vars(self).update(state)
        self._budget = PROCESS_MEMORY
        self._reader = self._new_reader()

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over epoch 0."""
        with self.epoch(0) as stream:
            yield from stream

    def epoch(self, number: int) -> "Stream":
        """Return a prefetched iterator over the batches of an epoch.

        Parameters
        ----------
        number : int
            From 0; each epoch has an order of its own.

        Raises
        ------
        BatchError
            The number is negative.
        """
        start = whole("epoch", number, least=0) * len(self)
        return self.stream(start, start + len(self))

    def stream(self, start: int = 0, end: int | None = None) -> "Stream":
        """Return a prefetched iterator from a step on; resuming is an offset.

        Parameters
        ----------
        start : int
        end : int, optional
            The step before which it ends; nothing is read that comes later. Endless by default.

        All targets are mapped now: an update of the dataset, which replaces files of targets only,
        doesn't end the stream.

        Raises
        ------
        BatchError
            A step is negative.
        ShardError
            A file of targets is missing, damaged, or another one than before.
        """
        self._reader.map_targets()
        return Stream(self.order, self._reader, start, end)


class Stream(Iterator[Batch]):
    """Batches one after another, the next pool being read while this one is used.

    Dropping it, `close()` or leaving its `with` block stops its threads. An error in a thread ends
    the stream with that error.
    """

    def __init__(
        self, order: WindowSampler, reader: PoolReader, start: int, end: int | None
    ) -> None:
        whole("start", start, least=0)
        if end is not None:
            whole("end", end, least=0)
        self.step = start
        self._end = end
        self.wait_seconds = 0.0
        """Seconds that `next` has waited for rows that weren't there yet."""
        self._order, self._reader = order, reader
        self._process = os.getpid()
        self._threads = ThreadPool(reader.n_threads, thread_name_prefix="memmap-train")
        # Decoding has a thread of its own: it would queue behind the next pool's reading.
        self._decoder = ThreadPool(1, thread_name_prefix="memmap-train-decode")
        self._pools: dict[tuple[int, int], _PoolReading] = {}
        self._decoding: dict[int, Future[Batch]] = {}
        self._lock = ThreadLock()
        executors = (self._threads, self._decoder)
        self._stop = weakref.finalize(self, _shut_down, self._process, executors)

    def __next__(self) -> Batch:
        with self._lock:  # threads that share a stream get each batch once
            if self._end is not None and self.step >= self._end:
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
        if os.getpid() != self._process:  # threads don't come along
            raise BatchError(
                "the stream belongs to the process that this one was forked from; make another "
                "here with batches.stream(start=step)"
            )
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
        if place.low > 0 or place.high == len(x) or self._reader.decodes:
            # From the second step on: the caller has let go of the last pool's buffer by then.
            # Decoded batches show no pool's buffer: at once.
            planned = reading.planned_following()
            self._pools = {key: reading}  # lets the last pool's buffer go before the next needs one
            self._pools[following] = self._read(*following, planned)
        return x[place.low : place.high], y[place.low : place.high]

    def _read(self, epoch: int, pool: int, planned: "Future[Pool] | None" = None) -> "_PoolReading":
        following = self._following(epoch, pool)
        return _PoolReading(
            self._order, self._reader, self._threads, (epoch, pool), following, planned
        )

    def _following(self, epoch: int, pool: int) -> tuple[int, int] | None:
        epoch, pool = divmod(
            epoch * self._order.pools_per_epoch + pool + 1, self._order.pools_per_epoch
        )
        first_step = epoch * self._order.steps_per_epoch + self._order.first_step(pool)
        return None if self._end is not None and first_step >= self._end else (epoch, pool)


class _PoolReading:
    """A pool on its way into a buffer: planned and announced, then filled by several tasks.

    The next pool is planned and announced meanwhile, which takes no buffer.
    """

    def __init__(
        self,
        order: WindowSampler,
        reader: PoolReader,
        threads: ThreadPool,
        key: tuple[int, int],
        following: tuple[int, int] | None,
        planned: "Future[Pool] | None",
    ) -> None:
        self._order, self._reader, self._threads = order, reader, threads
        if planned is None:
            planned = threads.submit(self._plan, *key)
        self._begun = threads.submit(self._begin, planned, following)

    def _plan(self, epoch: int, pool: int) -> Pool:
        planned = self._order.pool(epoch, pool)
        self._reader.announce(planned)
        return planned

    def _begin(
        self, planned: "Future[Pool]", following: tuple[int, int] | None
    ) -> "tuple[Stored, Float32, list[Future[None]], Future[Pool] | None]":
        pool = planned.result()  # at work already, or done: tasks are taken up in order
        # Of one size for all pools: a buffer that is a little too small would be of no use again.
        x, y = self._reader.buffers(self._order.most_pool_rows)
        x, y = x[: pool.n_rows], y[: pool.n_rows]
        submit = self._threads.submit
        fills = [submit(fill) for fill in self._reader.fills(pool, x, y, self._reader.n_threads)]
        return x, y, fills, submit(self._plan, *following) if following else None

    def result(self) -> tuple[Stored, Float32]:
        x, y, fills, _ = self._begun.result()
        for fill in fills:
            fill.result()
        return x, y

    def planned_following(self) -> "Future[Pool] | None":
        """Return the plan of the next pool, once the rows of this one are there."""
        return self._begun.result()[3]

    def is_done(self) -> bool:
        """Tell whether the rows are there; an error will be told by `result`."""
        if not self._begun.done() or self._begun.exception() is not None:
            return False
        return all(fill.done() for fill in self._begun.result()[2])


def _shut_down(process: int, executors: Sequence[ThreadPool]) -> None:
    if os.getpid() != process:
        return  # a forked child has none of the threads, and may find their locks held
    for executor in executors:
        executor.shutdown(wait=False, cancel_futures=True)
