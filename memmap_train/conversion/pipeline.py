"""Rows on their way from row groups to shards: streaming, on all cores, in bounded memory.

One row group after another is decoded by blocks of columns, turned into rows in a stage, encoded
and appended to the shards of its eras, all of that by threads. A row group is decoded while the one
before is written, by turns: threads that only decode are in each other's way, those that only write
wait for the disk. A shard is handed to the journal with its last row.
"""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..dataset.format import N_COUNTS
from ..errors import SourceError
from ..system.disk_writer import BLOCK_BYTES, DiskWriter
from ..system.scratch import ThreadScratch
from ..system.threads import ThreadPool
from .codec import FeatureEncoder, settle_targets
from .era_writer import ShardWriter
from .journal import FinishedEra, Journal
from .parquet.columns import DECODING_BYTES, columns_at_once
from .parquet.file import ParquetFileInfo
from .parquet.handle import ParquetHandle
from .parquet.handle_pool import HandlePool
from .parquet.row_labels import read_eras, read_ids
from .plan import ConversionPlan, RowGroup
from .transpose import Field, FileStore, MemoryStore, Store, TransposeBuffer

Array = npt.NDArray[np.generic]
T = TypeVar("T")
Task = Callable[[], Future[None] | None]
"""Fills a part of a stage, or writes from it; returns what waits for the disk then, if anything."""

_CHUNK_BYTES = 8_000_000  # encoded rows written at once: within the last-level cache
_CHUNK_ROWS = 8192  # more than an era has, as a rule: threads wait for each other at every call
_TURN_SECONDS = 0.0001  # Python's own 0.005 are as long as a hundred calls of numpy
_BUFFERS_SHARE = 0.125  # of the budget, for rows on their way to the disk
_LINE_BYTES = 64  # of a cache
_N_PUBLISHERS = 4  # waiting for the disk is no work for the cores
_MAX_UNPUBLISHED = 64  # finished shards that wait for the disk: each holds its counts
_MIN_BLOCK, _MAX_BLOCK = 32, 256  # bytes of a row, columns: collected before they are turned
_ROW_BYTES = 24  # of a row group's row: its era's number and its place, for two groups at once
_IDS_BYTES = 8_000_000  # of ids read at once
_ID_COPIES = 4  # of them: Arrow's, with wide offsets, of one width, in the order of eras


def least_budget(plan: ConversionPlan, sources: Sequence[ParquetFileInfo]) -> int:
    """Return the bytes of buffers with which one thread can decode the largest row group."""
    rows = max((group.rows for group in plan.groups), default=1)
    for_disk = 2 * (_CHUNK_BYTES + BLOCK_BYTES)
    a_thread = _fixed_bytes(plan, sources, rows) + _MIN_BLOCK * rows
    return for_disk + _held_bytes(plan) + a_thread


def _held_bytes(plan: ConversionPlan) -> int:
    """Return what is held all along: of rows in row groups, and counts of eras that are begun."""
    rows = max((group.rows for group in plan.groups), default=1)
    last = {era: number for number, group in enumerate(plan.groups) for era in group.eras}
    begun: set[str] = set()
    ended, most = 0, 0
    for number, group in enumerate(plan.groups):
        begun.update(group.eras)
        most = max(most, len(begun) - ended)
        ended += sum(last[era] == number for era in group.eras)
    per_era = 4 * N_COUNTS * len(plan.columns.schema.features)
    return _ROW_BYTES * rows + most * per_era


def _fixed_bytes(plan: ConversionPlan, sources: Sequence[ParquetFileInfo], rows: int) -> int:
    """Return what a thread takes to decode columns of so many rows, whatever it collects."""
    features, id_bytes = plan.columns.schema.features, 0
    # What Arrow holds for the columns of one call (and again as they are gathered into one array).
    item = max(source.item_bytes(features) for source in sources)
    decoded = columns_at_once(rows, item) * rows * (DECODING_BYTES + 4 * item)
    if plan.id_width:
        id_bytes = _ID_COPIES * _ids_at_once(plan.id_width) * plan.id_width
    # Besides, what encoded rows are made of.
    return 2 * _CHUNK_BYTES + max(decoded, id_bytes)


def _ids_at_once(id_width: int) -> int:
    return max(1, _IDS_BYTES // id_width)


@dataclass(frozen=True, slots=True)
class _Piece:
    """The rows of one era in one row group: consecutive in the shard, and where they are staged."""

    era: str
    chunks: range


class Pipeline:
    """Row groups through stages into shards.

    Parameters
    ----------
    plan : ConversionPlan
    handles : HandlePool
        Handles on the plan's sources.
    journal : Journal
        Says which eras are finished, gives folders to write in, and takes finished shards.
    budget : int
        Bytes that buffers may take.
    n_workers : int
        Threads that decode and encode; fewer where the budget is small.
    progress : callable(rows done now, rows in all)
        Called from several threads.
    """

    def __init__(
        self,
        plan: ConversionPlan,
        handles: HandlePool,
        journal: Journal,
        budget: int,
        n_workers: int,
        progress: Callable[[float, int], None],
    ) -> None:
        self._plan, self._journal, self._progress = plan, journal, progress
        self._schema = plan.columns.schema
        self._handles = handles
        self._scratch = ThreadScratch()
        self._n_workers = n_workers
        self._todo = set(plan.rows_per_era) - set(journal.finished)
        self._groups = [group for group in plan.groups if not self._todo.isdisjoint(group.eras)]
        self._staged_as_codes = self._schema.integer_features
        feature_bytes = len(self._schema.features) * np.dtype(plan.options.dtype).itemsize
        widest = max(1, feature_bytes, plan.id_width)
        self._chunk_rows = max(1, min(_CHUNK_ROWS, _CHUNK_BYTES // widest))
        # One buffer for each thread to fill, and as many on their way to the disk.
        buffer_bytes = self._chunk_rows * feature_bytes + BLOCK_BYTES
        affordable = int(budget * _BUFFERS_SHARE) // (2 * buffer_bytes)
        n_buffers = 2 * max(1, min(n_workers, affordable))
        self._stores, rest = self._make_stores(budget - n_buffers * buffer_bytes)
        self._fields = self._make_fields(rest)
        self._shards: dict[str, ShardWriter] = {}
        self._unpublished = threading.Semaphore(_MAX_UNPUBLISHED)
        self._encoder = FeatureEncoder(
            self._schema.features, plan.options.dtype, plan.options.missing
        )
        self._finished = dict(journal.finished)
        self._disk = DiskWriter(n_buffers, buffer_bytes)  # at last: it has a thread

    def run(self) -> dict[str, FinishedEra]:
        """Convert all row groups that aren't finished; return every era's entry."""
        kept = sum(era.entry.rows for era in self._finished.values())
        self._progress(kept, self._plan.n_rows)
        publishing: list[Future[None]] = []
        writes: list[Task] = []  # of the row group before
        with ExitStack() as at_the_end:  # in reverse order, and all of it whatever happens
            at_the_end.enter_context(_quick_turns())
            for store in self._stores:
                at_the_end.callback(store.close)
            at_the_end.callback(self._disk.close)
            publishers = ThreadPool(_N_PUBLISHERS, thread_name_prefix="publish")
            at_the_end.callback(publishers.shutdown)
            threads = ThreadPool(self._n_workers, thread_name_prefix="convert")
            at_the_end.callback(threads.shutdown, cancel_futures=True)
            laid_out = [self._lay_out(group, self._stores[0]) for group in self._groups[:1]]
            for number, group in enumerate(self._groups):
                stage, pieces, order = laid_out.pop()
                fills = [
                    partial(self._fill, group, stage, name, first, n_columns, order)
                    for name, blocks in stage.fields.items()
                    for first, n_columns in blocks.blocks()
                ]
                if len(self._stores) == 1:  # the stage is still being written from
                    publishing += _handed_over(map(threads.submit, writes))
                    writes = []
                running = list(map(threads.submit, _spread(fills, writes)))
                if number + 1 < len(self._groups):  # while the threads are at work
                    store = self._stores[(number + 1) % len(self._stores)]
                    laid_out.append(self._lay_out(self._groups[number + 1], store))
                # An era's rows are appended in the order of the source: first finish the last ones.
                publishing += _handed_over(running)
                self._handles.cross_check(group.source, group.index)
                _results([future for future in publishing if future.done()])
                publishing = [future for future in publishing if not future.done()]
                writes = [partial(self._write, group, stage, piece, publishers) for piece in pieces]
            publishing += _handed_over(map(threads.submit, writes))
            _results(publishing)
        return self._finished

    # -- what takes how much memory -----------------------------------------------------------

    def _make_stores(self, budget: int) -> tuple[list[Store], int]:
        """Return two stages in memory, or one, or one in a file, and what is left for decoding."""
        largest = max((self._todo_rows(group) for group in self._groups), default=0)
        largest *= self._plan.staged_row_bytes
        for n_stores in (2, 1):
            if n_stores * largest <= budget // 2:
                n_stores = min(n_stores, max(1, len(self._groups)))
                return [MemoryStore(largest) for _ in range(n_stores)], budget - n_stores * largest
        return [FileStore(self._journal.scratch)], budget

    def _make_fields(self, budget: int) -> dict[str, Field]:
        """Choose workers, and how many columns each collects, so that all stay within a budget."""
        schema = self._schema
        rows = max((group.rows for group in self._groups), default=1)
        budget -= _held_bytes(self._plan)
        fixed = _fixed_bytes(self._plan, self._handles.files, rows)

        dtype = np.dtype(np.int8 if self._staged_as_codes else np.float32)
        self._n_workers = max(1, min(self._n_workers, budget // (fixed + _MIN_BLOCK * rows)))
        per_worker = budget // self._n_workers - fixed

        def block(n_columns: int, item: int) -> int:
            share = -(-n_columns // (2 * self._n_workers))  # two blocks per worker at least
            fits = per_worker // (rows * item)
            most = min(max(-(-_MIN_BLOCK // item), min(fits, share)), _MAX_BLOCK)
            return -(-n_columns // -(-n_columns // most))  # as many, of much the same size

        n_features, n_targets = len(schema.features), len(schema.targets)
        fields = {"features": Field(dtype, n_features, block(n_features, dtype.itemsize))}
        if schema.targets:
            fields["targets"] = Field(np.dtype(np.float32), n_targets, block(n_targets, 4))
        if schema.id is not None:
            fields["ids"] = Field(np.dtype(f"S{self._plan.id_width}"), 1, 1)
        return fields

    def _todo_rows(self, group: RowGroup) -> int:
        return sum(rows for era, rows in group.eras.items() if era in self._todo)

    # -- columns into the stage ---------------------------------------------------------------

    def _lay_out(
        self, group: RowGroup, store: Store
    ) -> tuple[TransposeBuffer, list[_Piece], list[npt.NDArray[np.int64] | slice]]:
        """Return the stage, the pieces, and for each chunk which rows of the group it takes."""
        with self._handles.take(group.source) as source:
            path = source.info.path
            rows = read_eras(source, group.index, self._schema.era)
        by_label = {label: code for code, label in enumerate(rows.labels)}
        pieces: list[_Piece] = []
        order: list[npt.NDArray[np.int64] | slice] = []
        for era, n_rows in group.eras.items():
            if era not in self._todo:
                continue
            chosen = np.flatnonzero(rows.codes == by_label.get(era, -1))
            if len(chosen) != n_rows:
                raise SourceError(
                    f"{path}: the file changed while it was read; run the same command again"
                )
            first_chunk = len(order)
            n_chunks = -(-n_rows // self._chunk_rows)
            for part in np.array_split(chosen, n_chunks):  # of much the same size
                consecutive = part[-1] - part[0] == len(part) - 1
                order.append(slice(int(part[0]), int(part[-1]) + 1) if consecutive else part)
            pieces.append(_Piece(era, range(first_chunk, len(order))))
        lengths = [
            part.stop - part.start if isinstance(part, slice) else len(part) for part in order
        ]
        fields = dict(self._fields)
        if all("features" in self._journal.policy.skipped(piece.era) for piece in pieces):
            del fields["features"]
        return TransposeBuffer(store, fields, lengths), pieces, order

    def _fill(
        self,
        group: RowGroup,
        stage: TransposeBuffer,
        name: str,
        first: int,
        n_columns: int,
        order: Sequence[npt.NDArray[np.int64] | slice],
    ) -> None:
        """Decode a block of columns of a row group and put it into the stage."""
        with self._handles.take(group.source) as source:
            if name == "ids":
                self._put_ids(source, group.index, stage, order)
            else:
                block = self._block(n_columns, group.rows, self._fields[name].dtype)
                self._decode(source, group.index, name, first, block)
                for chunk, part in enumerate(order):
                    stage.put(name, chunk, first, block[:, part])
        # A row counts half when it is decoded: a million of them come before the first is written.
        share = n_columns / sum(field.n_columns for field in stage.fields.values())
        self._progress(sum(stage.chunk_rows) * share / 2, self._plan.n_rows)

    def _decode(
        self, source: ParquetHandle, group: int, name: str, first: int, block: Array
    ) -> None:
        """Decode columns of a field, from the first one, into rows of a block."""
        schema = self._schema
        columns: Any
        if name == "targets":
            targets = schema.targets[first : first + len(block)]
            columns = source.floats(group, targets, divide_codes=False)
        elif self._staged_as_codes:
            features = schema.features[first : first + len(block)]
            source.features(group, features, block.view(np.int8))
            columns = ()
        else:
            features = schema.features[first : first + len(block)]
            columns = source.floats(group, features, divide_codes=True)
        for position, column in enumerate(columns):
            block[position] = column

    def _put_ids(
        self,
        source: ParquetHandle,
        group: int,
        stage: TransposeBuffer,
        order: Sequence[npt.NDArray[np.int64] | slice],
    ) -> None:
        """Put a row group's ids into the stage, a piece at a time: they may be long."""
        assert self._schema.id is not None
        dtype = self._fields["ids"].dtype
        begin = 0
        for ids in read_ids(source, group, self._schema.id, _ids_at_once(dtype.itemsize)):
            ids, end = ids.astype(dtype, copy=False), begin + len(ids)
            for chunk, part in enumerate(order):
                if isinstance(part, slice):
                    rows = slice(max(part.start, begin), min(part.stop, end))
                    if rows.start < rows.stop:
                        here = slice(rows.start - begin, rows.stop - begin)
                        stage.put_rows("ids", chunk, rows.start - part.start, ids[here])
                else:
                    first, last = np.searchsorted(part, (begin, end))
                    if first < last:
                        stage.put_rows("ids", chunk, int(first), ids[part[first:last] - begin])
            begin = end

    def _block(self, n_columns: int, n_rows: int, dtype: np.dtype[np.generic]) -> Array:
        """Return this thread's scratch array for a block of columns.

        Columns are an odd number of cache lines apart. Numerai's row groups have 2^20 rows: columns
        that far apart are in each other's place in every cache.
        """
        in_line = max(1, _LINE_BYTES // dtype.itemsize)
        distance = (n_rows // in_line | 1) * in_line + 2 * in_line
        n_bytes = n_columns * distance * dtype.itemsize
        memory = self._scratch.array("block", n_bytes, np.uint8)
        return memory.view(dtype).reshape(n_columns, distance)[:, :n_rows]

    # -- from the stage into shards -----------------------------------------------------------

    def _write(
        self, group: RowGroup, stage: TransposeBuffer, piece: _Piece, publishers: ThreadPool
    ) -> Future[None] | None:
        """Append a piece's rows to its era's shard; have it published if they are the last."""
        shard = self._shards.get(piece.era) or self._begin(piece.era)
        schema = self._schema
        where = f"{self._handles.files[group.source].path}: era {piece.era!r}"
        staged = np.empty(0, np.float32)
        for chunk in piece.chunks:
            rows = stage.chunk_rows[chunk]
            if "features" in shard.writers:
                with shard.writers["features"].reserve(rows) as features:
                    for first, block in stage.take("features", chunk):
                        end = first + block.shape[1]
                        counts = None if shard.counts is None else shard.counts[first:end]
                        self._encoder.encode(block, features[:, first:end], counts, first, where)
            if schema.targets:
                if len(staged) != rows:
                    staged = np.empty((rows, len(schema.targets)), np.float32)
                for first, block in stage.take("targets", chunk):
                    np.copyto(staged[:, first : first + block.shape[1]], block)
                settle_targets(schema.targets, staged, where)
                shard.count_targets(staged)
                shard.writers["targets"].append(staged)
            else:
                shard.writers["targets"].append(np.empty((rows, 0), np.float32))
            if "ids" in shard.writers:
                for _, ids in stage.take("ids", chunk):
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
def _quick_turns() -> Iterator[None]:
    """Have threads that hold the interpreter's lock give it to those that wait for it sooner.

    One that decodes is in Python half of its time; one that encodes needs the lock for a moment
    between two calls of numpy.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(_TURN_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _spread(some: Sequence[Task], others: Sequence[Task]) -> list[Task]:
    """Return all tasks, each kind in its order, so that either is begun and done with the other."""
    places = [
        ((position + 0.5) / len(tasks), kind, task)
        for kind, tasks in enumerate((some, others))
        for position, task in enumerate(tasks)
    ]
    return [task for _, _, task in sorted(places, key=itemgetter(0, 1))]


def _handed_over(tasks: Iterable[Future[Future[None] | None]]) -> list[Future[None]]:
    """Wait for all tasks; return what they have handed over to the publishers."""
    return [future for future in _results(tasks) if future is not None]


def _results(futures: Iterable[Future[T]]) -> list[T]:
    """Wait for all and return what they return; raise the first error as soon as it is there."""
    futures = list(futures)
    done, _ = wait(futures, return_when=FIRST_EXCEPTION)
    for future in done:
        future.result()
    return [future.result() for future in futures]
