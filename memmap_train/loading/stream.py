"""A prefetching iterator over batches: the next pool is read while the present one is used.

A batch is a slice of a pool's buffer, which is reused only once no batch made from it is held.
"""

import os
import time
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from types import TracebackType
from typing import Any

from ..arrays import Float32, Stored
from ..errors import BatchError
from ..system.thread_lock import ThreadLock
from ..system.threads import ThreadPool
from .gather import Batch, PoolReader
from .sampler import Pool, Sampler, StepLocation, check_within, whole


class Stream(Iterator[Batch]):
    """Batches one after another; the next pool is read while the present one is used.

    Its threads stop when it is closed, when its `with` block is left, or when the last reference to
    it is gone. An error in a thread ends the stream with that error.
    """

    def __init__(
        self, sampler: Sampler, reader: PoolReader, start: int, end: int | None, stride: int = 1
    ) -> None:
        whole("start", start, least=0)
        if end is not None:
            whole("end", end, least=0)
        self.step = start
        self._end, self._stride = end, whole("stride", stride)
        self.wait_seconds = 0.0
        """Seconds that `next` has waited for rows."""
        self._sampler, self._reader = sampler, reader
        self._process = os.getpid()
        self._threads = ThreadPool(reader.n_threads, thread_name_prefix="memmap-train")
        # Decoding has its own thread: otherwise it would queue behind the reading of the next pool.
        self._decoder = ThreadPool(1, thread_name_prefix="memmap-train-decode")
        self._pools: dict[tuple[int, int], _PoolReading] = {}
        self._decoding: dict[int, Future[Batch]] = {}
        self._lock = ThreadLock()
        executors = (self._threads, self._decoder)
        self._finalizer = weakref.finalize(self, _abandon, self._process, executors)

    def __next__(self) -> Batch:
        with self._lock:  # threads that share a stream get each batch once
            if self._is_end(self.step):
                raise StopIteration
            batch = self.at(self.step)
            self.step += self._stride
        return batch

    def at(self, step: int) -> Batch:
        """Return the batch of a step; fast for the steps of this pool and the next one."""
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

    @property
    def is_reading(self) -> bool:
        """Whether rows of a pool are being read at present."""
        with self._lock:
            return any(not reading.is_done() for reading in self._pools.values())

    def close(self) -> None:
        """Stop the threads and release the buffers; batches that callers hold stay valid."""
        if self._finalizer.detach() and os.getpid() == self._process:
            for executor in (self._threads, self._decoder):
                executor.shutdown(wait=False, cancel_futures=True)
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

    def _is_end(self, step: int) -> bool:
        return self._end is not None and step >= self._end

    def _check_open(self) -> None:
        if os.getpid() != self._process:  # a fork copies no threads
            raise BatchError(
                "the stream belongs to the process that this one was forked from; make another "
                "here with batches.stream(start=step)"
            )
        if not self._finalizer.alive:
            raise BatchError("the stream is closed; make another with batches.stream(start=step)")

    def _decoded(self, step: int) -> Batch:
        """Return a decoded batch; decode the next one meanwhile if its rows have been read."""
        future = self._decoding.get(step)
        if future is None:
            batch = self._reader.decode_batch(*self._slice(step))
        else:
            batch = future.result()
        self._decoding = {}
        upcoming = step + self._stride
        following = self._sampler.locate(upcoming)
        reading = self._pools.get(_key(following))
        if reading is not None and reading.is_done() and not self._is_end(upcoming):
            self._decoding[upcoming] = self._decoder.submit(
                self._reader.decode_batch, *self._slice(upcoming)
            )
        return batch

    def _slice(self, step: int) -> tuple[Any, Float32]:
        place = self._sampler.locate(step)
        key = _key(place)
        reading = self._pools.get(key)
        if reading is None:
            # Pools of other steps aren't needed any more; their buffers are.
            self._pools = {}
            reading = self._pools[key] = self._read(place)
        x, y = reading.result()
        check_within(len(x), place, step)
        following = self._following(place)
        if following is None or _key(following) in self._pools:
            return x[place.low : place.high], y[place.low : place.high]
        if place.low > 0 or place.high == len(x) or self._reader.decodes:
            # From the second step on: the caller has released the last pool's buffer by then.
            # Decoded batches don't refer to a pool's buffer: at once.
            planned = reading.planned_following()
            self._pools = {
                key: reading
            }  # releases the last pool's buffer before the next one needs it
            self._pools[_key(following)] = self._read(following, planned)
        return x[place.low : place.high], y[place.low : place.high]

    def _read(self, place: StepLocation, planned: "Future[Pool] | None" = None) -> "_PoolReading":
        following = self._following(place)
        return _PoolReading(
            self._sampler,
            self._reader,
            self._threads,
            _key(place),
            None if following is None else _key(following),
            planned,
        )

    def _following(self, place: StepLocation) -> StepLocation | None:
        """Return where the next pool's first step is found; None if the stream ends before."""
        if self._end is not None and place.next_pool_step >= self._end:
            return None
        return self._sampler.locate(place.next_pool_step)


class _PoolReading:
    """A pool that is being read: planned and announced, then filled by several tasks.

    The next pool is planned and announced meanwhile, which needs no buffer.
    """

    def __init__(
        self,
        sampler: Sampler,
        reader: PoolReader,
        threads: ThreadPool,
        key: tuple[int, int],
        following: tuple[int, int] | None,
        planned: "Future[Pool] | None",
    ) -> None:
        self._sampler, self._reader, self._threads = sampler, reader, threads
        if planned is None:
            planned = threads.submit(self._plan, *key)
        self._begun = threads.submit(self._begin, planned, following)

    def _plan(self, epoch: int, pool: int) -> Pool:
        planned = self._sampler.pool(epoch, pool)
        self._reader.announce(planned)
        return planned

    def _begin(
        self, planned: "Future[Pool]", following: tuple[int, int] | None
    ) -> "tuple[Stored, Float32, list[Future[None]], Future[Pool] | None]":
        pool = planned.result()  # running already, or done: tasks start in order
        # One size for all pools: a buffer that is a little too small couldn't be reused.
        x, y = self._reader.buffers(self._sampler.max_pool_rows)
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
        """Return the plan of the next pool, once the rows of this one have been read."""
        return self._begun.result()[3]

    def is_done(self) -> bool:
        """Return True if the rows have been read; `result` raises an error that has occurred."""
        if not self._begun.done() or self._begun.exception() is not None:
            return False
        return all(fill.done() for fill in self._begun.result()[2])


def _key(place: StepLocation) -> tuple[int, int]:
    return place.epoch, place.pool


def _abandon(process: int, executors: Sequence[ThreadPool]) -> None:
    if os.getpid() != process:
        return  # a forked child has none of the threads, and their locks may be held
    for executor in executors:
        executor.abandon()
