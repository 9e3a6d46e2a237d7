"""Sources to shards to manifest: what `convert` decides before, around and after the pipeline.

Which columns and rows (the plan), whether the folder may be written, what an interrupted run has
left, when there is a dataset: with its manifest, written last. Needs pyarrow, and is imported only
by who converts.
"""

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ._version import __version__
from .dataset import Dataset, open_dataset
from .errors import ConversionError, MemmapTrainError
from .journal import FolderLock, Journal, is_ours, remove_dataset
from .machine import available_memory, n_cores
from .manifest import (
    FILE_NAME,
    Manifest,
    Scale,
    ShardEntry,
    read_manifest,
    write_manifest,
)
from .parquet import PYARROW_VERSION
from .parquet.reading import Source
from .pipeline import Pipeline
from .plan import Columns, ConvertOptions, Plan, choose_columns, make_plan, open_sources
from .schema import ColumnOptions

Array = npt.NDArray[np.generic]
Progress = Callable[[str, int, int], None]
T = TypeVar("T")

CODE_SCALE = Scale(multiply=0.25, add=0.0)
_LEAST_MEMORY = 256_000_000  # bytes; below it blocks of columns get too narrow to decode well
_MOST_MEMORY = 2_000_000_000  # bytes, by default: more makes nothing faster


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
        shards = Pipeline(plan, sources, journal, budget, n_workers, notify.written).run()
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
