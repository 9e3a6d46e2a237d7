"""From sources to a manifest: what `convert` decides before, around and after shards are written.

Which columns and rows (the plan), whether the folder may be written, what an interrupted run has
left, when there is a dataset: with its manifest, written last. How rows come out of what they are
made from is the origin's business.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .._version import __version__
from ..dataset.dataset import open_dataset
from ..dataset.eras import out_of_order
from ..dataset.manifest import CODE_SCALE, WORKPLACE, Manifest, ShardEntry, write_manifest
from ..errors import ConversionError, SourceError, listed
from ..progress import Progress, ProgressOption, reporting
from ..system.paths import checked_path, user_path
from ..system.resources import available_memory, n_cores
from .dataset_source import DatasetSource, find_source_dataset
from .journal import ChangedEraError, FolderLock, Journal, commit
from .plan import (
    MIN_MEMORY,
    OWN_BYTES,
    OWN_METADATA_BYTES,
    ConversionPlan,
    ConvertOptions,
    default_budget,
)
from .preflight import (
    check_apart,
    check_disk,
    check_folder,
    check_updatable,
    current,
    explained,
    finish_begun,
    is_up_to_date,
)
from .report import Report
from .schema import ColumnOptions, reasons
from .source import ConversionSource
from .update import (
    UpdateJournal,
    changed_features,
    check_rows,
    narrow_to_dataset,
)

_LOG = logging.getLogger("memmap_train")


def convert(
    sources: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    dtype: str | None = None,
    features_json: str | os.PathLike[str] | None = None,
    feature_set: str | None = None,
    targets: str | Sequence[str] | None = None,
    era_column: str = "era",
    id_column: str | None = None,
    feature_prefix: str = "feature",
    target_prefix: str = "target",
    missing: str | None = None,
    memory: int | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    trust_features: bool = False,
    progress: ProgressOption = None,
) -> Report:
    """Convert parquet files into a dataset, or a dataset into a narrower one.

    What a dataset is narrowed to is what its own parquet files would have been converted to, with
    the same options.

    Parameters
    ----------
    sources : path or sequence of paths
        Parquet files with the same columns, whose rows are taken in this order; or one dataset.
    out : path
        The dataset's folder: absent, empty, with an unfinished conversion of the same sources, or
        with a dataset that was made from earlier versions of them, which is then updated.
    dtype : {"float32", "int8"}, optional
        The store dtype. int8 holds Numerai's codes 0 to 4 in a quarter of the space. By default
        float32, and a narrowed dataset's own.
    features_json : path, optional
        Numerai's `features.json`; its feature sets are recorded where all their features are
        present. A narrowed dataset has sets of its own, which it replaces.
    feature_set : str, optional
        Convert only the features of this set.
    targets : str or sequence of str, optional
        Convert only these targets.
    era_column, id_column, feature_prefix, target_prefix : str
        How to tell the columns of parquet files apart. Without `id_column`: `id`, else
        `__index_level_0__`, else the dataset has no ids; with an empty one it has none. A feature
        or target that isn't numeric is left out with a warning, unless it is asked for by name.
    missing : {"0.5", "nan"}, optional
        What stands for a missing feature; "nan" needs the float32 store. By default 0.5, and what
        a narrowed dataset has.
    memory : int, optional
        MB (10^6 bytes) of anonymous memory that the process may take, 512 or more; by default a
        quarter of what is available, at most 2,000.
    workers : int, optional
        Threads; by default one per core.
    overwrite : bool
        Replace a dataset of ours that is there, once the new one is complete.
    trust_features : bool
        In an update, take features of old eras to be what they were, without decoding them.
    progress : bool or callable(what, done, total), optional
        Whether to show how far the work is, or what to call instead (see `types.Progress`). By
        default it is shown in a terminal and in a notebook.

    Returns
    -------
    Report

    Raises
    ------
    SourceError
        A source can't be read, or holds values that a dataset can't.
    ManifestError, ShardError
        The dataset that is to be narrowed is damaged.
    SchemaError
        Columns are missing, differ between sources, or were asked for and aren't there.
    ConversionError
        The folder is taken, the disk too small or full, another process is at work, or the
        sources no longer hold what the dataset was made of.
    """
    started = time.perf_counter()
    directory = checked_path(out, ConversionError)
    given = [sources] if isinstance(sources, str | os.PathLike) else sources
    paths = [user_path(path) for path in given]
    if isinstance(targets, str):
        targets = [targets]
    budget = _Budget(memory)
    n_workers = n_cores() if workers is None else workers
    if n_workers < 1:
        raise ConversionError(f"workers: expected 1 or more, found {workers}")
    origin = _open(paths, directory, budget)
    with closing(origin), explained(directory), reporting(progress) as told:
        notify = _Notifier(told)
        options = ConvertOptions(
            dtype=origin.own_dtype if dtype is None else dtype,
            missing=origin.own_missing if missing is None else missing,
            features_json=None if features_json is None else user_path(features_json),
            feature_set=feature_set,
            targets=None if targets is None else tuple(targets),
            columns=ColumnOptions(
                era_column=era_column,
                id_column=id_column,
                feature_prefix=feature_prefix,
                target_prefix=target_prefix,
            ),
        )
        columns = origin.choose_columns(options)
        check_folder(directory, overwrite=overwrite)
        if finish_begun(directory) and overwrite:
            with suppress(ConversionError):  # it was of other options
                now = current(directory, overwrite=False)
                overwrite = not is_up_to_date(now, origin.entries, columns, options, directory)
        old = current(directory, overwrite=overwrite)
        if is_up_to_date(old, origin.entries, columns, options, directory):
            if (directory / WORKPLACE).exists():  # a run was killed before it could tidy up
                FolderLock(directory).release(done=True)
            return _report(directory, "up to date", started)
        left_out: list[str] = []
        if old is not None:
            check_updatable(old, origin.entries, columns, options, directory)
            columns, left_out = narrow_to_dataset(columns, old, directory, origin.name)
        with _blaming_changes(origin):
            plan = origin.make_plan(columns, options, notify.reading)
        origin.check_unchanged()
        if old is not None:
            check_rows(plan, old, directory, origin.name)
        budget.require(origin.least_budget(plan))
        check_disk(directory, plan, budget.n_bytes, old)
        if unusable := columns.schema.unusable:
            left_out = [*unusable, *left_out]
            _LOG.warning("left out, since they can't be stored: %s", reasons(unusable))
        if len(unsorted := out_of_order(plan.rows_per_era)) > 1:
            _LOG.warning(
                "eras such as %s hold neither a number nor a date with the year first: they are "
                "sorted as text, which may not be the order of time",
                listed(unsorted, 2),
            )
        lock = FolderLock(directory)
        done = False
        try:
            # Planning took a while: another process may have finished meanwhile.
            now = current(directory, overwrite=overwrite)
            if is_up_to_date(now, origin.entries, columns, options, directory):
                done = True
                return _report(directory, "up to date", started)
            if now != old:
                raise ConversionError(
                    f"{directory}: another process has changed the dataset meanwhile; run the same "
                    "command again"
                )
            journal = (
                Journal(directory, _job(origin, plan, None))
                if old is None
                else UpdateJournal(
                    directory,
                    _job(origin, plan, old) | {"trusts_features": trust_features},
                    old,
                    trusts_features=trust_features,
                )
            )
            try:
                with _blaming_changes(origin):
                    shards = origin.write(plan, journal, budget.n_bytes, n_workers, notify.written)
                origin.check_unchanged()
            except ChangedEraError as error:
                done = True  # nothing of it is of use
                raise _changed(error, plan, origin, directory) from None
            finally:
                journal.close()
            manifest = _manifest(plan, shards, old, origin.pyarrow_version)
            if old is not None and _is_only_touched(old, manifest):
                # The next time, the times alone will tell that nothing has changed.
                write_manifest(replace(old, sources=manifest.sources), directory)
                done = True
                return _report(directory, "up to date", started)
            commit(directory, manifest)
            done = True
        finally:
            lock.release(done=done)
        return _report(
            directory,
            "converted" if old is None else "updated",
            started,
            n_eras_kept=len(journal.finished),
            old=old,
            left_out=left_out,
        )


class _Notifier:
    """Passes progress on, one call at a time."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._written = 0.0

    def reading(self, done: int, total: int) -> None:
        self._progress("reading eras", done, total)

    def written(self, rows: float, total: int) -> None:
        with self._lock:
            self._written += rows
            self._progress("converting", round(self._written), total)


class _Budget:
    """The memory that the process may take, and what of it buffers may.

    Parameters
    ----------
    memory : int or None
        MB; None for the default, which gives way to what is needed and available.
    """

    def __init__(self, memory: int | None) -> None:
        self._memory, self._opened = memory, 0
        if memory is None:
            self._limit = default_budget(available_memory()) + OWN_BYTES
        else:
            self._limit = memory * 1_000_000
            if self._limit < MIN_MEMORY:
                raise ConversionError(
                    f"memory: expected {MIN_MEMORY // 1_000_000} MB or more, found {memory}"
                )

    @property
    def n_bytes(self) -> int:
        """What buffers may take."""
        return self._limit - OWN_BYTES - self._opened

    def set_apart(self, n_bytes: int) -> None:
        """Set memory aside for what open files will hold."""
        self._opened = max(0, n_bytes - OWN_METADATA_BYTES)
        self.require(MIN_MEMORY - OWN_BYTES)

    def require(self, n_bytes: int) -> None:
        """See to it that buffers may take so many bytes, or raise a ConversionError."""
        needed = OWN_BYTES + self._opened + n_bytes
        if needed > self._limit:
            available = available_memory()
            if self._memory is not None or needed > available:
                mb = available // 1_000_000
                found = f"{mb} available" if self._memory is None else f"{self._memory}"
                raise ConversionError(
                    f"memory: expected {-(-needed // 1_000_000)} MB or more for row groups of "
                    f"this size and number, found {found}"
                )
            self._limit = needed


def _open(
    paths: Sequence[str | os.PathLike[str]], directory: Path, budget: _Budget
) -> ConversionSource:
    """Open what a dataset in a folder is to be made from."""
    parent = find_source_dataset(paths)
    if parent is not None:
        check_apart(directory, parent)
        return DatasetSource(parent)
    from .parquet_source import ParquetSource, opened_bytes  # needs pyarrow

    budget.set_apart(opened_bytes(paths))
    return ParquetSource(paths)


@contextmanager
def _blaming_changes(origin: ConversionSource) -> Iterator[None]:
    """Say that a source has changed meanwhile, where that is why it can't be read."""
    try:
        yield
    except SourceError:
        origin.check_unchanged()
        raise


def _changed(
    error: ChangedEraError, plan: ConversionPlan, origin: ConversionSource, directory: Path
) -> ConversionError:
    """Explain an old era that isn't what it was: which features, in which era."""
    names: list[str] = []
    advice = "choose another --out for the new files, or replace it with --overwrite"
    if error.array != "ids":
        names = changed_features(error, origin, plan, open_dataset(directory))
        if plan.columns.schema.id is not None:  # or its rows may come in another order now
            advice += ", or keep its features with --trust-features"
    what = f"feature {listed(names, 3)}" if names else f"the {error.array}"
    if error.array == "counts":
        what = f"which rows lack {what}: the missing values"
    return ConversionError(
        f"{directory}: era {error.era!r}: {what} of {origin.name} differ from what is here; the "
        f"dataset stays as it is; {advice}"
    )


def _job(origin: ConversionSource, plan: ConversionPlan, old: Manifest | None) -> dict[str, Any]:
    """Return what identifies a conversion: with an equal job a rerun resumes it."""
    schema = plan.columns.schema
    return {
        "job_version": 4,
        "updates": None if old is None else old.digest,
        "origin": origin.identity(),
        "dtype": plan.options.dtype,
        "missing": plan.options.missing,
        "features": list(schema.features),
        "targets": list(schema.targets),
        "columns": {"era": schema.era, "id": schema.id},
        "alias": plan.columns.alias,
        "rows_per_era": plan.rows_per_era,
    }


def _is_only_touched(old: Manifest, new: Manifest) -> bool:
    """Tell whether nothing has changed but the sources' times of modification."""
    sources = tuple(
        replace(now, modified=before.modified)
        for before, now in zip(old.sources, new.sources, strict=True)
    )
    return old == replace(new, sources=sources, history=old.history, created_by=old.created_by)


def _manifest(
    plan: ConversionPlan,
    shards: dict[str, tuple[ShardEntry, list[str]]],
    old: Manifest | None,
    pyarrow_version: str,
) -> Manifest:
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
        created_by={"package": __version__, "numpy": np.__version__, "pyarrow": pyarrow_version},
        planted=plan.columns.planted,
        history=() if old is None else (*old.history, old.sources),
    )


def _aliases(
    plan: ConversionPlan, shards: dict[str, tuple[ShardEntry, list[str]]]
) -> dict[str, str]:
    """Return {target: the named target equal to it in every row}, where there is a label at all."""
    alias, targets = plan.columns.alias, plan.columns.schema.targets
    if alias not in targets:
        return {}
    if all(entry.target_nulls[alias] == entry.rows for entry, _ in shards.values()):
        return {}
    equal = set.intersection(*(set(names) for _, names in shards.values())) - {alias}
    return {alias: next(name for name in targets if name in equal)} if equal else {}


def _report(
    directory: Path,
    status: str,
    started: float,
    *,
    n_eras_kept: int = 0,
    old: Manifest | None = None,
    left_out: Sequence[str] = (),
) -> Report:
    dataset = open_dataset(directory)
    shards = dataset.manifest.shards
    before = {} if old is None else {entry.era: entry for entry in old.shards}
    return Report(
        dataset=dataset,
        status=status,
        n_rows=dataset.n_rows,
        n_eras=len(dataset.eras),
        n_bytes=sum(file.bytes for entry in shards for file in entry.files.values()),
        n_eras_kept=n_eras_kept,
        n_eras_new=0 if status == "up to date" else sum(e.era not in before for e in shards),
        n_eras_changed=sum(
            entry.files["targets"] != before[entry.era].files["targets"]
            for entry in shards
            if entry.era in before
        ),
        left_out=tuple(left_out),
        seconds=time.perf_counter() - started,
    )
