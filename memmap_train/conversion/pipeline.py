"""Convert row groups into shards: streaming, on all cores, in bounded memory.

One row group after another is decoded by blocks of columns, transposed into rows, encoded and
appended to the shards of its eras, all of that by threads. A row group is decoded while the one
before is written, a block and an era in turn: threads that only decode wait for each other, those
that only write wait for the disk. A shard is handed to the journal with its last row.
"""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextlib import ExitStack, contextmanager
from functools import partial
from operator import itemgetter
from typing import TypeVar

import numpy as np

from ..system.disk_writer import DiskWriter
from ..system.threads import ThreadPool
from .codec import FeatureEncoder, canonicalize_nans
from .era_writer import ShardWriter
from .journal import FinishedEra, Journal
from .parquet.handle_pool import HandlePool
from .pipeline_sizes import DEFAULT_LIMITS, PipelineLimits, choose_sizes
from .plan import ConversionPlan
from .row_groups import Piece, RowGroupDecoder, RowGroupLayout
from .transpose import FileStore, MemoryStore, Store

T = TypeVar("T")
Task = Callable[[], Future[None] | None]
"""Decodes a block or writes a piece; returns a future of what waits for the disk then, if any."""

_SWITCH_SECONDS = 0.0001  # Python's own 0.005 are as long as a hundred calls of numpy
_N_PUBLISHERS = 4  # waiting for the disk is no work for the cores
_MAX_UNPUBLISHED = 64  # finished shards that wait for the disk: each holds its counts


class Pipeline:
    """Converts row groups into shards.

    Parameters
    ----------
    plan : ConversionPlan
    handles : HandlePool
        Handles on the plan's sources.
    journal : Journal
        Knows which eras are finished, gives folders to write in, and takes finished shards.
    budget : int
        Bytes that buffers may take.
    n_workers : int
        Threads that decode and encode; fewer if the budget is small.
    progress : callable(rows done now, rows in all)
        Called from several threads.
    limits : PipelineLimits, optional
    """

    def __init__(
        self,
        plan: ConversionPlan,
        handles: HandlePool,
        journal: Journal,
        budget: int,
        n_workers: int,
        progress: Callable[[float, int], None],
        limits: PipelineLimits = DEFAULT_LIMITS,
    ) -> None:
        self._plan, self._journal, self._progress = plan, journal, progress
        self._schema = plan.columns.schema
        self._handles = handles
        self._todo = set(plan.rows_per_era) - set(journal.finished)
        self._groups = [group for group in plan.groups if not self._todo.isdisjoint(group.eras)]
        sizes = choose_sizes(plan, handles.files, self._todo, budget, n_workers, limits)
        self._n_workers = sizes.n_workers
        self._stores: list[Store] = [
            MemoryStore(sizes.store_bytes) for _ in range(sizes.n_stores)
        ] or [FileStore(journal.scratch)]
        self._decoder = RowGroupDecoder(plan, handles, sizes, limits, progress)
        self._encoder = FeatureEncoder(
            self._schema.features, plan.options.dtype, plan.options.missing
        )
        self._shards: dict[str, ShardWriter] = {}
        self._unpublished = threading.Semaphore(_MAX_UNPUBLISHED)
        self._finished = dict(journal.finished)
        self._disk = DiskWriter(sizes.n_buffers, sizes.buffer_bytes)  # last: it starts a thread

    def run(self) -> dict[str, FinishedEra]:
        """Convert all row groups with unfinished eras; return all finished eras."""
        kept = sum(era.entry.rows for era in self._finished.values())
        self._progress(kept, self._plan.n_rows)
        with ExitStack() as at_the_end:  # in reverse order, and all of it whatever happens
            at_the_end.enter_context(_short_switch_interval())
            for store in self._stores:
                at_the_end.callback(store.close)
            at_the_end.callback(self._disk.close)
            publishers = ThreadPool(_N_PUBLISHERS, thread_name_prefix="publish")
            at_the_end.callback(publishers.shutdown)
            threads = ThreadPool(self._n_workers, thread_name_prefix="convert")
            at_the_end.callback(threads.shutdown, cancel_futures=True)
            self._convert_groups(threads, publishers)
        return self._finished

    def _convert_groups(self, threads: ThreadPool, publishers: ThreadPool) -> None:
        """Decode each row group while the one before is written."""
        publishing: list[Future[None]] = []
        writes: list[Task] = []  # of the row group before
        layouts = [self._lay_out(0)] if self._groups else []
        for number in range(len(self._groups)):
            layout = layouts.pop()
            blocks = [partial(self._decoder.decode, layout, *block) for block in layout.blocks()]
            if len(self._stores) == 1:  # the store is still being written from
                publishing += _handed_over(map(threads.submit, writes))
                writes = []
            running = list(map(threads.submit, _spread(blocks, writes)))
            if number + 1 < len(self._groups):  # while the threads are at work
                layouts.append(self._lay_out(number + 1))
            # An era's rows are appended in the order of the source: first finish the last ones.
            publishing += _handed_over(running)
            self._handles.cross_check(layout.group.source, layout.group.index)
            _results([future for future in publishing if future.done()])
            publishing = [future for future in publishing if not future.done()]
            writes = [partial(self._write, layout, piece, publishers) for piece in layout.pieces]
        publishing += _handed_over(map(threads.submit, writes))
        _results(publishing)

    def _lay_out(self, number: int) -> RowGroupLayout:
        store = self._stores[number % len(self._stores)]
        skipped = self._journal.policy.skipped
        return self._decoder.lay_out(self._groups[number], store, self._todo, skipped)

    def _write(
        self, layout: RowGroupLayout, piece: Piece, publishers: ThreadPool
    ) -> Future[None] | None:
        """Append a piece's rows to its era's shard; have it published if they are the last."""
        group, buffer = layout.group, layout.buffer
        shard = self._shards.get(piece.era) or self._begin(piece.era)
        schema = self._schema
        where = f"{self._handles.files[group.source].path}: era {piece.era!r}"
        targets = np.empty(0, np.float32)
        for chunk in piece.chunks:
            rows = buffer.chunk_rows[chunk]
            if "features" in shard.writers:
                with shard.writers["features"].reserve(rows) as features:
                    for first, block in buffer.take("features", chunk):
                        end = first + block.shape[1]
                        counts = None if shard.counts is None else shard.counts[first:end]
                        self._encoder.encode(block, features[:, first:end], counts, first, where)
            if schema.targets:
                if len(targets) != rows:
                    targets = np.empty((rows, len(schema.targets)), np.float32)
                for first, block in buffer.take("targets", chunk):
                    np.copyto(targets[:, first : first + block.shape[1]], block)
                canonicalize_nans(schema.targets, targets, where)
                shard.count_targets(targets)
                shard.writers["targets"].append(targets)
            else:
                shard.writers["targets"].append(np.empty((rows, 0), np.float32))
            if "ids" in shard.writers:
                for _, ids in buffer.take("ids", chunk):
                    shard.append_ids(ids[:, 0])
            self._progress(rows / 2, self._plan.n_rows)
        if shard.writers["targets"].rows_written < shard.rows:
            return None
        del self._shards[piece.era]
        self._unpublished.acquire()
        return publishers.submit(self._publish, shard)

    def _begin(self, era: str) -> ShardWriter:
        shard = self._shards[era] = ShardWriter(era, self._plan, self._journal, self._disk)
        return shard

    def _publish(self, shard: ShardWriter) -> None:
        try:
            for source in self._handles.files:  # a rerun will rely on this era
                source.check_untouched()
            self._finished[shard.era] = shard.publish()
        finally:
            self._unpublished.release()


@contextmanager
def _short_switch_interval() -> Iterator[None]:
    """Shorten the interpreter's switch interval, for the whole process, while the block runs.

    A thread that decodes is in Python half of its time; one that encodes needs the lock for a
    moment between two calls of numpy.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _spread(some: Sequence[Task], others: Sequence[Task]) -> list[Task]:
    """Return all tasks, each kind in its order, spread so that both begin and end together."""
    positions = [
        ((position + 0.5) / len(tasks), kind, task)
        for kind, tasks in enumerate((some, others))
        for position, task in enumerate(tasks)
    ]
    return [task for _, _, task in sorted(positions, key=itemgetter(0, 1))]


def _handed_over(tasks: Iterable[Future[Future[None] | None]]) -> list[Future[None]]:
    """Wait for all tasks; return the futures that they have handed over to the publishers."""
    return [future for future in _results(tasks) if future is not None]


def _results(futures: Iterable[Future[T]]) -> list[T]:
    """Wait for all futures and return their results; raise the first error as soon as it occurs."""
    futures = list(futures)
    done, _ = wait(futures, return_when=FIRST_EXCEPTION)
    for future in done:
        future.result()
    return [future.result() for future in futures]
