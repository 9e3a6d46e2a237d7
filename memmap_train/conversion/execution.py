"""The steps of a conversion: inspect the target, plan, check, write eras, commit.

Nothing is written before all checks have passed. From then on the workspace is locked, and whatever
ends the conversion leaves in it what a rerun resumes. How rows are read is up to the source.
"""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..dataset.eras import out_of_order
from ..dataset.manifest import Manifest
from ..errors import ConversionError, SourceError, listed
from ..progress import Progress
from .benchmarks.join import BenchmarkJoin, JoinedFile
from .benchmarks.opening import open_files, opened_join
from .benchmarks.staging import stage_benchmarks
from .benchmarks.stored import StoredBenchmarks
from .benchmarks.update import update_benchmarks
from .commit import commit_changes, finish_interrupted_commit
from .job import open_journal
from .journal import FinishedEra, Journal
from .memory_budget import ConversionBudget
from .new_manifest import make_manifest
from .plan import ConversionPlan, ConvertOptions
from .preflight import check_disk, check_folder, translated_errors
from .report import Report, make_report
from .resources import Resources
from .schema import reasons
from .source import ConversionSource
from .target import (
    Outdated,
    OutdatedBenchmarks,
    Request,
    Target,
    UpToDate,
    check_updatable,
    inspect_target,
)
from .update import changed_eras_explained, check_rows, columns_of_update
from .workspace import Workspace, acquire_workspace, remove_leftovers

if TYPE_CHECKING:
    from .benchmarks.files import BenchmarkFile

_LOG = logging.getLogger("memmap_train")


def convert_source(
    source: ConversionSource,
    directory: Path,
    options: ConvertOptions,
    resources: Resources,
    *,
    overwrite: bool = False,
    trust_features: bool = False,
    benchmarks: Sequence[Path] = (),
) -> Report:
    """Convert an opened source into a dataset; see `convert`.

    Parameters
    ----------
    source : ConversionSource
    directory : Path
        The dataset's folder.
    options : ConvertOptions
    resources : Resources
    overwrite, trust_features : bool
    benchmarks : sequence of Path
        Files of benchmarks.
    """
    budget, started = resources.budget, resources.started
    notifier = ProgressNotifier(resources.progress)
    with translated_errors(directory):
        request, files, target = _inspect(source, directory, options, benchmarks, overwrite)
        if isinstance(target, UpToDate):
            remove_leftovers(directory)
            return make_report(directory, "up to date", started)
        if isinstance(target, OutdatedBenchmarks):
            return update_benchmarks(
                target.manifest,
                files,
                directory,
                resources,
                own=source.own_benchmarks,
                is_done_meanwhile=lambda: _is_done_meanwhile(request, target),
            )
        old = target.manifest if isinstance(target, Outdated) else None
        plan, left_out = _make_plan(source, request, old, budget, notifier)
        with opened_join(
            files,
            list(plan.rows_per_era),
            directory,
            resources,
            kept=None if old is None else StoredBenchmarks(directory, old),
            own=source.own_benchmarks,
        ) as join:
            budget.require(join.era_bytes(plan.rows_per_era, plan.id_width))
            check_disk(directory, plan, budget.n_bytes, old, 4 * len(join.names))
            with acquire_workspace(directory) as workspace:
                if _is_done_meanwhile(request, target):
                    workspace.clear()
                    return make_report(directory, "up to date", started)
                journal = open_journal(workspace, source, plan, old, trust_features=trust_features)
                found = _write_eras(source, plan, journal, workspace, resources, notifier)
                found, joined = _join_eras(workspace, join, found, resources, notifier)
                manifest = make_manifest(plan, found, old, source.pyarrow_version, join)
                status = commit_changes(workspace, manifest, old)
                workspace.clear()
        if status == "up to date":
            return make_report(directory, status, started)
        return make_report(
            directory,
            status,
            started,
            old=old,
            n_eras_kept=len(journal.finished),
            left_out=left_out,
            benchmark_files=joined,
        )


class ProgressNotifier:
    """Passes progress on to a callback, one call at a time.

    Parameters
    ----------
    progress : callable
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._rows_written = 0.0

    def read(self, done: int, total: int) -> None:
        """Report how many rows have been read for the plan."""
        self._progress("reading eras", done, total)

    def joined(self, done: int, total: int) -> None:
        """Report how many rows have their benchmarks."""
        self._progress("joining benchmarks", done, total)

    def written(self, rows: float, total: int) -> None:
        """Report how many more rows have been converted; thread-safe."""
        with self._lock:
            self._rows_written += rows
            self._progress("converting", round(self._rows_written), total)


def _inspect(
    source: ConversionSource,
    directory: Path,
    options: ConvertOptions,
    benchmarks: Sequence[Path],
    overwrite: bool,
) -> tuple[Request, "tuple[BenchmarkFile, ...]", Target]:
    """Return the requested dataset, its files of benchmarks, and the state of the target folder.

    A commit that was interrupted is finished first.
    """
    columns = source.choose_columns(options)
    files, own = open_files(benchmarks, columns.schema, directory), source.own_benchmarks
    check_folder(directory, overwrite=overwrite)
    was_just_committed = finish_interrupted_commit(directory)
    request = Request(
        directory=directory,
        sources=source.entries,
        columns=columns,
        options=options,
        overwrite=overwrite,
        benchmarks=(
            *(() if own is None else own.names),
            *(name for file in files for name in file.names),
        ),
        benchmark_sources=(
            *(() if own is None else own.sources),
            *(file.info.entry for file in files),
        ),
    )
    return request, files, inspect_target(request, was_just_committed=was_just_committed)


def _make_plan(
    source: ConversionSource,
    request: Request,
    old: Manifest | None,
    budget: ConversionBudget,
    notifier: ProgressNotifier,
) -> tuple[ConversionPlan, list[str]]:
    """Return a plan that the budget suffices for, and the columns of the source that are left out.

    What is left out, or uncertain, is logged.
    """
    columns, additional = request.columns, list[str]()
    if old is not None:
        check_updatable(old, request)
        columns, additional = columns_of_update(columns, old, request.directory, source.name)
    with _changes_reported(source):
        plan = source.make_plan(columns, request.options, notifier.read)
    source.check_unchanged()
    if old is not None:
        check_rows(plan, old, request.directory, source.name)
    budget.require(source.least_budget(plan))
    _warn(plan)
    return plan, [*columns.schema.unusable, *additional]


def _warn(plan: ConversionPlan) -> None:
    """Log which columns are left out, and eras whose order is uncertain."""
    if unusable := plan.columns.schema.unusable:
        _LOG.warning("left out, since they can't be stored: %s", reasons(unusable))
    if len(unsorted := out_of_order(plan.rows_per_era)) > 1:
        _LOG.warning(
            "eras such as %s hold neither a number nor a date with the year first: they are "
            "sorted as text, which may not be the order of time",
            listed(unsorted, 2),
        )


def _is_done_meanwhile(request: Request, before: Target) -> bool:
    """Return True if another process has finished this conversion since the inspection.

    Raises
    ------
    ConversionError
        Another process has made another dataset.
    """
    now = inspect_target(request)
    if isinstance(now, UpToDate):
        return True
    if now != before:
        raise ConversionError(
            f"{request.directory}: another process has changed the dataset meanwhile; run the same "
            "command again"
        )
    return False


def _write_eras(
    source: ConversionSource,
    plan: ConversionPlan,
    journal: Journal,
    workspace: Workspace,
    resources: Resources,
    notifier: ProgressNotifier,
) -> dict[str, FinishedEra]:
    """Write all unfinished eras and close the journal; return all finished eras."""
    with (
        changed_eras_explained(workspace, source, plan),
        _changes_reported(source),
        closing(journal),
    ):
        n_bytes, n_workers = resources.budget.n_bytes, resources.n_workers
        eras = source.write(plan, journal, n_bytes, n_workers, notifier.written)
        source.check_unchanged()
    return eras


def _join_eras(
    workspace: Workspace,
    join: BenchmarkJoin,
    eras: Mapping[str, FinishedEra],
    resources: Resources,
    notifier: ProgressNotifier,
) -> tuple[dict[str, FinishedEra], tuple[JoinedFile, ...]]:
    """Write the benchmarks of finished eras; return these eras with them, and counts of rows."""
    entries = {era: finished.entry for era, finished in eras.items()}
    n_threads = join.workers_within(resources, entries.values())
    staged = stage_benchmarks(workspace, join, entries, n_threads, notifier.joined)
    found = {era: replace(eras[era], entry=entry) for era, entry in staged.entries.items()}
    return found, staged.files


@contextmanager
def _changes_reported(source: ConversionSource) -> Iterator[None]:
    """Report that a source has changed, if that is why it can't be read."""
    try:
        yield
    except SourceError:
        source.check_unchanged()
        raise
