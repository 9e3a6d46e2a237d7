"""Benchmarks added to a dataset, or brought up to date, without touching its other files.

The features and targets of the dataset aren't read. Only eras whose benchmarks change are written.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...dataset.manifest import Manifest, id_width
from ...dataset.manifest_file import read_manifest
from ...errors import ConversionError
from ..commit import commit_changes, finish_interrupted_commit
from ..preflight import check_folder, check_free, translated_errors
from ..report import Report, make_report
from ..resources import Resources
from ..schema import schema_of_dataset
from ..target import check_no_links
from ..workspace import acquire_workspace, remove_leftovers
from .opening import open_files, opened_join
from .staging import clear_other_arrays, stage_benchmarks
from .stored import StoredBenchmarks

if TYPE_CHECKING:
    from .files import BenchmarkFile


def add_benchmarks(paths: Sequence[Path], directory: Path, resources: Resources) -> Report:
    """Add the benchmarks of files to a dataset, whose sources aren't needed.

    Parameters
    ----------
    paths : sequence of Path
    directory : Path
        The dataset's folder.
    resources : Resources

    Raises
    ------
    ManifestError
        The folder holds no finished dataset.
    SourceError, SchemaError
        A file can't be read, or isn't one of benchmarks.
    """
    with translated_errors(directory):
        check_folder(directory, overwrite=False)
        finish_interrupted_commit(directory)
        old = read_manifest(directory)
        files = open_files(paths, schema_of_dataset(old), directory)
        if set(old.benchmark_sources).issuperset(file.info.entry for file in files):
            remove_leftovers(directory)
            return make_report(directory, "up to date", resources.started)

        def is_done_meanwhile() -> bool:
            if read_manifest(directory) != old:
                raise ConversionError(
                    f"{directory}: another process has changed the dataset meanwhile; run the same "
                    "command again"
                )
            return False

        return update_benchmarks(
            old,
            files,
            directory,
            resources,
            own=None,
            is_done_meanwhile=is_done_meanwhile,
        )


def update_benchmarks(
    old: Manifest,
    files: "Sequence[BenchmarkFile]",
    directory: Path,
    resources: Resources,
    *,
    own: StoredBenchmarks | None,
    is_done_meanwhile: Callable[[], bool],
) -> Report:
    """Join files with a dataset, and write the benchmarks that change.

    Parameters
    ----------
    old : Manifest
        The dataset's manifest.
    files : sequence of BenchmarkFile
    directory : Path
        The dataset's folder.
    resources : Resources
    own : StoredBenchmarks or None
        The benchmarks of the source dataset.
    is_done_meanwhile : callable() -> bool
        Called when no other process can write; returns whether another one has done the work.
    """
    budget, started = resources.budget, resources.started
    check_no_links(old, directory)
    rows = {entry.era: entry.rows for entry in old.shards}
    kept = StoredBenchmarks(directory, old)
    with opened_join(files, list(rows), directory, resources, kept=kept, own=own) as join:
        budget.require(join.era_bytes(rows, max(map(id_width, old.shards))))
        check_free(directory, 4 * len(join.names) * sum(rows.values()), "the benchmarks")
        with acquire_workspace(directory) as workspace:
            if is_done_meanwhile():
                workspace.clear()
                return make_report(directory, "up to date", started)
            clear_other_arrays(workspace)
            staged = stage_benchmarks(
                workspace,
                join,
                {entry.era: entry for entry in old.shards},
                join.workers_within(resources, old.shards),
                partial(resources.progress, "joining benchmarks"),
            )
            manifest = replace(
                old,
                shards=tuple(staged.entries.values()),
                benchmarks=join.names,
                benchmark_sources=join.sources,
            )
            status = commit_changes(workspace, manifest, old)
            workspace.clear()
    if status == "up to date":
        return make_report(directory, status, started)
    return make_report(directory, status, started, old=old, benchmark_files=staged.files)
