"""Sources to shards to manifest: streaming, in bounded memory, carried on after an interruption.

One row group after another is decoded by blocks of columns, turned into rows in a stage, encoded
and appended to the shards of its eras; all of that by threads, the next row group being decoded
while the last one is written. A shard is published when its last row is written, the manifest when
all shards are. Needs pyarrow, and is imported only by who converts.
"""

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ._version import __version__
from .dataset import Dataset, open_dataset
from .encoding import FeatureEncoder, refuse_infinities
from .errors import ConversionError, MemmapTrainError, SourceError
from .journal import FolderLock, Journal, is_ours, remove_dataset
from .machine import available_memory, n_cores
from .manifest import (
    FILE_NAME,
    FileEntry,
    Manifest,
    Scale,
    ShardEntry,
    read_manifest,
    write_manifest,
)
from .parquet import PYARROW_VERSION
from .parquet.reading import DECODING_BYTES, Source, columns_at_once
from .plan import Columns, ConvertOptions, Plan, RowGroup, choose_columns, make_plan, open_sources
from .schema import ColumnOptions
from .shard import ArrayWriter
from .stage import Field, FileStore, MemoryStore, Stage, Store

Array = npt.NDArray[np.generic]
Progress = Callable[[str, int, int], None]
T = TypeVar("T")

CODE_SCALE = Scale(multiply=0.25, add=0.0)
_LEAST_MEMORY = 256_000_000  # bytes; below it blocks of columns get too narrow to decode well
_MOST_MEMORY = 2_000_000_000  # bytes, by default: more makes nothing faster
_CHUNK_BYTES = 8_000_000  # encoded rows written at once: within the last-level cache
_CHUNK_ROWS = 1024
_LEAST_BLOCK, _MOST_BLOCK = 32, 256  # columns collected before they are turned


@dataclass(frozen=True, slots=True)
class Report:
    """What a conversion did.

    Attributes
    ----------
    dataset : Dataset
    status : {"converted", "up to date"}
    n_rows, n_eras, n_bytes : int
        Of the whole dataset; bytes of all arrays.
    n_eras_kept : int
        Eras that an interrupted run had finished before.
    seconds : float
    """

    dataset: Dataset
    status: str
    n_rows: int
    n_eras: int
    n_bytes: int
    n_eras_kept: int
    seconds: float


def convert(
    sources: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    dtype: str = "float32",
    features_json: str | os.PathLike[str] | None = None,
    feature_set: str | None = None,
    targets: str | Sequence[str] | None = None,
    era_column: str = "era",
    id_column: str | None = None,
    feature_prefix: str = "feature",
    target_prefix: str = "target",
    missing: str = "0.5",
    memory: int | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Convert parquet files into a dataset.

    Parameters
    ----------
    sources : path or sequence of paths
        Parquet files with the same columns; their rows are taken in this order.
    out : path
        The dataset's folder: absent, empty, or with an unfinished conversion of the same sources.
    dtype : {"float32", "int8"}
        The store dtype. int8 holds Numerai's codes 0 to 4 in a quarter of the space.
    features_json : path, optional
        Numerai's `features.json`; its feature sets are recorded where they are wholly present.
    feature_set : str, optional
        Convert only the features of this set.
    targets : str or sequence of str, optional
        Convert only these targets.
    era_column, id_column, feature_prefix, target_prefix : str
        How to tell the columns apart. Without `id_column`: `id`, else `__index_level_0__`, else
        the dataset has no ids.
    missing : {"0.5", "nan"}
        What stands for a missing feature; "nan" needs the float32 store.
    memory : int, optional
        MB (10^6 bytes) that buffers may take; by default a quarter of what is available, at most
        2,000.
    workers : int, optional
        Threads; by default one per core.
    overwrite : bool
        Replace a dataset of ours that is there.
    progress : callable(what, rows done, rows in all), optional
        Called from several threads, one at a time.

    Returns
    -------
    Report

    Raises
    ------
    SourceError
        A source can't be read, or holds values that a dataset can't.
    SchemaError
        Columns are missing, differ between sources, or were asked for and aren't there.
    ConversionError
        The folder is taken, the disk too small or full, or another process is at work.
    """
    started = time.perf_counter()
    directory = Path(out)
    paths = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    options = ConvertOptions(
        dtype=dtype,
        missing=missing,
        features_json=features_json,
        feature_set=feature_set,
        targets=None
        if targets is None
        else (targets,)
        if isinstance(targets, str)
        else tuple(targets),
        columns=ColumnOptions(
            era_column=era_column,
            id_column=id_column,
            feature_prefix=feature_prefix,
            target_prefix=target_prefix,
        ),
    )
    budget = _budget(memory)
    n_workers = n_cores() if workers is None else workers
    if n_workers < 1:
        raise ConversionError(f"workers: expected 1 or more, found {workers}")
    opened = open_sources(paths)
    try:
        columns = choose_columns(opened, options)

        def is_up_to_date() -> bool:
            _check_folder(directory, overwrite=overwrite)
            if overwrite or not (directory / FILE_NAME).exists():
                return False
            _check_same(read_manifest(directory), opened, columns, options, directory)
            return True

        if is_up_to_date():
            return _report(directory, "up to date", 0, started)
        notify = _Notifier(progress)
        plan = make_plan(opened, columns, options, notify.reading)
        for source in opened:
            source.check_unchanged()
        with _explained(directory):
            _check_disk(directory, plan, budget)
            lock = FolderLock(directory)
            done = False
            try:
                # Planning took a while: another process may have finished meanwhile.
                done = is_up_to_date()
                if done:
                    return _report(directory, "up to date", 0, started)
                if (directory / FILE_NAME).exists():
                    remove_dataset(directory)
                n_eras_kept = _write(plan, opened, directory, budget, n_workers, notify)
                done = True
            finally:
                lock.release(done=done)
    finally:
        for source in opened:
            source.close()
    return _report(directory, "converted", n_eras_kept, started)


def _write(
    plan: Plan,
    sources: Sequence[Source],
    directory: Path,
    budget: int,
    n_workers: int,
    notify: "_Notifier",
) -> int:
    """Write shards and manifest; return how many eras an earlier run had finished."""
    journal = Journal(directory, _job(plan))
    try:
        shards = _Conversion(plan, sources, journal, budget, n_workers, notify).run()
        for source in sources:
            source.check_unchanged()
        write_manifest(_manifest(plan, shards), directory)
    finally:
        journal.close()
    return len(journal.finished)


class _Notifier:
    """Passes progress on, one call at a time."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._written = 0

    def reading(self, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress("reading eras", done, total)

    def written(self, rows: int, total: int) -> None:
        if self._progress is not None:
            with self._lock:
                self._written += rows
                self._progress("converting", self._written, total)


@dataclass(slots=True)
class _Shard:
    """An era on its way to disk."""

    era: str
    rows: int
    folder: Path
    writers: dict[str, ArrayWriter]
    missing_features: int = 0
    target_nulls: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    equal_targets: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    """Which targets have equalled the alias in every row so far."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """The rows of one era in one row group: consecutive in the shard, and where they are staged."""

    era: str
    chunks: range


class _Conversion:
    """One run: row groups through stages into shards."""

    def __init__(
        self,
        plan: Plan,
        sources: Sequence[Source],
        journal: Journal,
        budget: int,
        n_workers: int,
        notify: _Notifier,
    ) -> None:
        self._plan, self._journal, self._notify = plan, journal, notify
        self._schema = plan.columns.schema
        self._sources = sources
        self._local = threading.local()
        self._n_workers = n_workers
        self._todo = set(plan.rows_per_era) - set(journal.finished)
        self._groups = [group for group in plan.groups if not self._todo.isdisjoint(group.eras)]
        self._staged_as_codes = self._schema.integer_features
        self._stores, rest = self._make_stores(budget)
        self._fields = self._make_fields(rest)
        self._shards: dict[str, _Shard] = {}
        self._encoder = FeatureEncoder(
            self._schema.features, plan.options.dtype, plan.options.missing
        )
        self._finished = dict(journal.finished)
        alias = plan.options.columns.target_prefix
        targets = self._schema.targets
        self._alias_column = targets.index(alias) if alias in targets else None

    def run(self) -> dict[str, tuple[ShardEntry, list[str]]]:
        """Convert all row groups that aren't finished; return every era's entry."""
        kept = sum(entry.rows for entry, _ in self._finished.values())
        self._notify.written(kept, self._plan.n_rows)
        publishing: list[Future[None]] = []
        writing: list[Future[Future[None] | None]] = []
        with ExitStack() as at_the_end:  # in reverse order, and all of it whatever happens
            for store in self._stores:
                at_the_end.callback(store.close)
            # Waiting for the disk is no work for the cores.
            publishers = ThreadPoolExecutor(2, thread_name_prefix="publish")
            at_the_end.callback(publishers.shutdown)
            threads = ThreadPoolExecutor(self._n_workers, thread_name_prefix="convert")
            at_the_end.callback(threads.shutdown, cancel_futures=True)
            for number, group in enumerate(self._groups):
                if len(self._stores) == 1:  # the stage is still being written from
                    _results(writing)
                store = self._stores[number % len(self._stores)]
                stage, pieces, order = self._lay_out(group, store)
                filling = [
                    threads.submit(self._fill, group, stage, name, first, n_columns, order)
                    for name, blocks in self._fields.items()
                    for first, n_columns in blocks.blocks()
                ]
                # An era's rows are appended in the order of the source: first finish the last ones.
                publishing += [future for future in _results(writing) if future is not None]
                _results([future for future in publishing if future.done()])
                publishing = [future for future in publishing if not future.done()]
                _results(filling)
                writing = [
                    threads.submit(self._write, group, stage, piece, publishers) for piece in pieces
                ]
            publishing += [future for future in _results(writing) if future is not None]
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
        # Encoded rows and what they are made of; what Arrow holds for the columns of one call.
        decoded = DECODING_BYTES + max(
            source.item_bytes(schema.features) for source in self._sources
        )
        fixed = 2 * _CHUNK_BYTES + columns_at_once(rows) * rows * decoded

        def least(item: int) -> int:
            return fixed + _LEAST_BLOCK * rows * item

        dtype = np.dtype(np.int8 if self._staged_as_codes else np.float32)
        self._n_workers = max(1, min(self._n_workers, budget // least(dtype.itemsize)))
        per_worker = budget // self._n_workers - fixed

        def block(n_columns: int, item: int) -> int:
            share = -(-n_columns // (2 * self._n_workers))  # two blocks per worker at least
            fits = per_worker // (rows * item)
            return max(_LEAST_BLOCK, min(fits, share, _MOST_BLOCK))

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
    ) -> tuple[Stage, list[_Piece], list[npt.NDArray[np.int64] | slice]]:
        """Return the stage, the pieces, and for each chunk which rows of the group it takes."""
        rows = self._source(group).eras(group.index, self._schema.era)
        by_label = {label: code for code, label in enumerate(rows.labels)}
        feature_bytes = len(self._schema.features) * np.dtype(self._plan.options.dtype).itemsize
        chunk_rows = max(1, min(_CHUNK_ROWS, _CHUNK_BYTES // feature_bytes))
        pieces: list[_Piece] = []
        order: list[npt.NDArray[np.int64] | slice] = []
        for era, n_rows in group.eras.items():
            if era not in self._todo:
                continue
            chosen = np.flatnonzero(rows.codes == by_label.get(era, -1))
            if len(chosen) != n_rows:
                raise SourceError(
                    f"{self._source(group).path}: the file changed while it was read; run the same "
                    "command again"
                )
            first_chunk = len(order)
            for first in range(0, n_rows, chunk_rows):
                part = chosen[first : first + chunk_rows]
                consecutive = part[-1] - part[0] == len(part) - 1
                order.append(slice(int(part[0]), int(part[-1]) + 1) if consecutive else part)
            pieces.append(_Piece(era, range(first_chunk, len(order))))
        lengths = [
            part.stop - part.start if isinstance(part, slice) else len(part) for part in order
        ]
        return Stage(store, self._fields, lengths), pieces, order

    def _fill(
        self,
        group: RowGroup,
        stage: Stage,
        name: str,
        first: int,
        n_columns: int,
        order: Sequence[npt.NDArray[np.int64] | slice],
    ) -> None:
        """Decode a block of columns of a row group and put it into the stage."""
        source = self._source(group)
        schema = self._schema
        dtype = self._fields[name].dtype
        block: Array = np.empty((n_columns, group.rows), dtype)
        columns: Any
        if name == "ids":
            assert schema.id is not None
            columns = [source.ids(group.index, schema.id)]
        elif name == "targets":
            columns = source.targets(group.index, schema.targets[first : first + n_columns])
        elif self._staged_as_codes:
            columns = source.features(group.index, schema.features[first : first + n_columns])
        else:
            columns = source.floats(group.index, schema.features[first : first + n_columns])
        for position, column in enumerate(columns):
            block[position] = column
        for chunk, part in enumerate(order):
            stage.put(name, chunk, first, block[:, part])

    def _source(self, group: RowGroup) -> Source:
        """Return this thread's own handle on a group's source."""
        handles = self._local.__dict__.setdefault("handles", {})
        if group.source not in handles:
            handles[group.source] = self._sources[group.source].reopened()
        handle: Source = handles[group.source]
        return handle

    # -- from the stage into shards -----------------------------------------------------------

    def _write(
        self, group: RowGroup, stage: Stage, piece: _Piece, publishers: ThreadPoolExecutor
    ) -> Future[None] | None:
        """Append a piece's rows to its era's shard; have it published if they are the last."""
        shard = self._shards.get(piece.era) or self._begin(piece.era)
        schema = self._schema
        store_dtype = np.dtype(self._plan.options.dtype)
        where = f"{self._sources[group.source].path}: era {piece.era!r}"
        features, staged = np.empty(0, store_dtype), np.empty(0, np.float32)
        for chunk in piece.chunks:
            blocks = list(stage.take("features", chunk))
            rows = len(blocks[0][1])
            if len(features) != rows:
                features = np.empty((rows, len(schema.features)), store_dtype)
            for first, block in blocks:
                out = features[:, first : first + block.shape[1]]
                shard.missing_features += self._encoder.encode(block, out, first, where)
            shard.writers["features"].append(features)
            if schema.targets:
                if len(staged) != rows:
                    staged = np.empty((rows, len(schema.targets)), np.float32)
                for first, block in stage.take("targets", chunk):
                    np.copyto(staged[:, first : first + block.shape[1]], block)
                refuse_infinities("target", schema.targets, staged, where)
                self._count_targets(shard, staged)
                shard.writers["targets"].append(staged)
            else:
                shard.writers["targets"].append(np.empty((rows, 0), np.float32))
            if "ids" in shard.writers:
                for _, ids in stage.take("ids", chunk):
                    shard.writers["ids"].append(np.ascontiguousarray(ids[:, 0]))
            self._notify.written(rows, self._plan.n_rows)
        if shard.writers["features"].rows_written < shard.rows:
            return None
        del self._shards[piece.era]
        return publishers.submit(self._publish, shard)

    def _begin(self, era: str) -> _Shard:
        schema = self._schema
        rows = self._plan.rows_per_era[era]
        folder = self._journal.begin(era)
        layout: dict[str, tuple[np.dtype[np.generic], tuple[int, ...]]] = {
            "features": (np.dtype(self._plan.options.dtype), (rows, len(schema.features))),
            "targets": (np.dtype(np.float32), (rows, len(schema.targets))),
        }
        if schema.id is not None:
            layout["ids"] = (np.dtype(f"S{self._plan.id_width}"), (rows,))
        shard = self._shards[era] = _Shard(
            era,
            rows,
            folder,
            {
                name: ArrayWriter(folder / f"{name}.npy", dtype, shape)
                for name, (dtype, shape) in layout.items()
            },
            target_nulls=np.zeros(len(schema.targets), np.int64),
            equal_targets=np.ones(len(schema.targets), np.bool_),
        )
        return shard

    def _count_targets(self, shard: _Shard, targets: npt.NDArray[np.float32]) -> None:
        null = np.isnan(targets)
        shard.target_nulls += null.sum(axis=0)
        if self._alias_column is not None:
            alias = targets[:, [self._alias_column]]
            equal = (targets == alias) | (null & null[:, [self._alias_column]])
            shard.equal_targets &= equal.all(axis=0)

    def _publish(self, shard: _Shard) -> None:
        files = {}
        for name, writer in shard.writers.items():
            size, digest = writer.finish()
            files[name] = FileEntry(size, digest)
        targets = self._schema.targets
        entry = ShardEntry(
            era=shard.era,
            rows=shard.rows,
            data_type=self._plan.data_types[shard.era],
            missing_features=shard.missing_features,
            target_nulls=dict(zip(targets, map(int, shard.target_nulls), strict=True)),
            files=files,
        )
        equal = [] if self._alias_column is None else list(np.array(targets)[shard.equal_targets])
        self._journal.publish(entry, [str(name) for name in equal])
        self._finished[shard.era] = (entry, [str(name) for name in equal])


def _results(futures: Sequence[Future[T]]) -> list[T]:
    """Wait for all and return what they return; raise the first error as soon as it is there."""
    done, _ = wait(futures, return_when=FIRST_EXCEPTION)
    for future in done:
        future.result()
    return [future.result() for future in futures]


def _budget(memory: int | None) -> int:
    if memory is None:
        return max(_LEAST_MEMORY, min(available_memory() // 4, _MOST_MEMORY))
    if memory * 1_000_000 < _LEAST_MEMORY:
        raise ConversionError(
            f"memory: expected {_LEAST_MEMORY // 1_000_000} MB or more, found {memory}"
        )
    return memory * 1_000_000


def _check_folder(directory: Path, *, overwrite: bool) -> None:
    existing = _nearest_existing(directory)
    if existing != directory:
        if not existing.is_dir() or os.path.lexists(directory):
            what = existing if not existing.is_dir() else f"{directory} (a link to nowhere)"
            raise ConversionError(f"{directory}: can't be made: {what} is no folder")
        return
    if not directory.is_dir():
        raise ConversionError(f"{directory}: a file; expected a folder for the dataset, or nothing")
    if os.listdir(directory) and not is_ours(directory):
        advice = "" if overwrite else "; choose another --out"
        raise ConversionError(
            f"{directory}: the folder holds files that aren't a dataset's, and they won't be "
            f"touched{advice}"
        )


def _nearest_existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _check_same(
    manifest: Manifest,
    sources: Sequence[Source],
    columns: Columns,
    options: ConvertOptions,
    directory: Path,
) -> None:
    """Raise a ConversionError if a finished dataset was made from other sources or options."""
    schema = columns.schema
    found = {
        "sources": manifest.sources,
        "dtype": manifest.dtype,
        "missing": manifest.missing,
        "features": manifest.features,
        "targets": manifest.targets,
        "feature sets": dict(manifest.feature_sets),
        "era column": manifest.columns.get("era"),
        "id column": manifest.columns.get("id"),
    }
    wanted = {
        "sources": tuple(source.entry for source in sources),
        "dtype": options.dtype,
        "missing": options.missing,
        "features": schema.features,
        "targets": schema.targets,
        "feature sets": columns.feature_sets,
        "era column": schema.era,
        "id column": schema.id,
    }
    differing = [name for name in found if found[name] != wanted[name]]
    if differing:
        raise ConversionError(
            f"{directory}: holds a dataset made with other {', '.join(differing)}; choose another "
            "--out, or replace it with --overwrite"
        )


def _check_disk(directory: Path, plan: Plan, budget: int) -> None:
    """Refuse before writing where the dataset won't fit on the disk."""
    free = shutil.disk_usage(_nearest_existing(directory)).free
    if directory.is_dir():  # what an earlier run has written will be kept or replaced
        free += sum(file.stat().st_size for file in directory.glob("era-*/*.npy"))
    needed = plan.n_bytes
    largest = max(group.rows for group in plan.groups) * plan.staged_row_bytes
    if largest > budget // 2:  # it is staged in a file
        needed += largest
    if needed > free:
        advice = "free some, or choose another disk with --out"
        if plan.options.dtype == "float32":
            advice += ", or a quarter of the bytes with --dtype int8"
        if plan.options.feature_set is None:
            advice += ", or fewer features with --feature-set"
        raise ConversionError(
            f"{directory}: not enough disk: expected {needed / 1e9:,.2f} GB free, found "
            f"{free / 1e9:,.2f} GB; {advice}"
        )


@contextmanager
def _explained(directory: Path) -> Iterator[None]:
    """Turn the system's errors while writing into one of ours."""
    try:
        yield
    except MemmapTrainError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what = "the disk is full"
        else:
            what = f"can't be written: {error.strerror or error}"
        raise ConversionError(
            f"{error.filename or directory}: {what}; finished eras are kept, and the same command "
            "carries on"
        ) from error


def _job(plan: Plan) -> dict[str, Any]:
    """Return what identifies a conversion: with an equal job a rerun carries on."""
    schema = plan.columns.schema
    return {
        "job_version": 1,
        "dtype": plan.options.dtype,
        "missing": plan.options.missing,
        "features": list(schema.features),
        "targets": list(schema.targets),
        "columns": {"era": schema.era, "id": schema.id},
        "alias": plan.options.columns.target_prefix,
        "sources": [
            [source.name, source.bytes, source.modified, source.footer_digest]
            for source in plan.sources
        ],
        "rows_per_era": plan.rows_per_era,
    }


def _manifest(plan: Plan, shards: dict[str, tuple[ShardEntry, list[str]]]) -> Manifest:
    schema = plan.columns.schema
    return Manifest(
        dtype=plan.options.dtype,
        scale=CODE_SCALE if plan.options.dtype == "int8" else None,
        missing=plan.options.missing,
        features=schema.features,
        targets=schema.targets,
        aliases=_aliases(plan, shards),
        feature_sets=plan.columns.feature_sets,
        columns={"era": schema.era, "id": schema.id},
        sources=plan.sources,
        shards=tuple(shards[era][0] for era in plan.rows_per_era),
        created_by={"package": __version__, "numpy": np.__version__, "pyarrow": PYARROW_VERSION},
        planted=plan.columns.planted,
    )


def _aliases(plan: Plan, shards: dict[str, tuple[ShardEntry, list[str]]]) -> dict[str, str]:
    """Return {target: the named target equal to it in every row}, where there is a label at all."""
    alias = plan.options.columns.target_prefix
    targets = plan.columns.schema.targets
    if alias not in targets:
        return {}
    if all(entry.target_nulls[alias] == entry.rows for entry, _ in shards.values()):
        return {}
    equal = set.intersection(*(set(names) for _, names in shards.values())) - {alias}
    return {alias: next(name for name in targets if name in equal)} if equal else {}


def _report(directory: Path, status: str, n_eras_kept: int, started: float) -> Report:
    dataset = open_dataset(directory)
    return Report(
        dataset=dataset,
        status=status,
        n_rows=dataset.n_rows,
        n_eras=len(dataset.eras),
        n_bytes=sum(f.bytes for s in dataset.manifest.shards for f in s.files.values()),
        n_eras_kept=n_eras_kept,
        seconds=time.perf_counter() - started,
    )
