"""The files of a dataset's benchmarks, written into the workspace of a conversion.

Each `benchmarks.npy` that differs from what the dataset holds is written, and waits beside the
other arrays of its era until `commit` moves it into place. A file that an interrupted run has left
is kept if it has the expected checksum, and removed if it isn't wanted any more. So a rerun needs
no notes on what was written.
"""

import os
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...dataset.array_writer import ArrayWriter
from ...dataset.file_digest import digest_file
from ...dataset.format import FILE_NAME
from ...dataset.manifest import FileEntry, ShardEntry, id_width
from ...system.durable import sync_directory
from ...system.junk import discard, names_in
from ...system.threads import ThreadPool
from ..workspace import Workspace, has_size
from .join import BenchmarkJoin, JoinedFile
from .joined_era import JoinedEra
from .stored import read_checked

_FILE = "benchmarks.npy"


@dataclass(frozen=True, slots=True)
class StagedBenchmarks:
    """The result of `stage_benchmarks`.

    Attributes
    ----------
    entries : dict of era to ShardEntry
        The eras with their benchmarks, in the order in which they were given.
    files : tuple of JoinedFile
        What became of the rows of the given files.
    """

    entries: dict[str, ShardEntry]
    files: tuple[JoinedFile, ...]


def stage_benchmarks(
    workspace: Workspace,
    join: BenchmarkJoin,
    entries: Mapping[str, ShardEntry],
    n_workers: int,
    progress: Callable[[int, int], None],
) -> StagedBenchmarks:
    """Write the benchmarks of all eras that change.

    Parameters
    ----------
    workspace : Workspace
    join : BenchmarkJoin
    entries : mapping of era to ShardEntry
        All eras; their ids are in the workspace, or else in the dataset.
    n_workers : int
        Number of threads.
    progress : callable(rows done, rows in all)

    Raises
    ------
    ShardError
        Ids or benchmarks of the dataset are damaged.
    """
    workspace.staged.mkdir(parents=True, exist_ok=True)
    if not join.names:
        for folder in workspace.staged.iterdir():
            _remove(folder / _FILE)  # of an interrupted run with other files
        return StagedBenchmarks(dict(entries), ())
    workspace.partial.mkdir(exist_ok=True)
    n_rows, n_done = sum(entry.rows for entry in entries.values()), 0
    staged, counts = {}, []
    writer = _EraBenchmarks(workspace, join)
    try:
        with ThreadPool(n_workers, thread_name_prefix="benchmarks") as threads:
            try:
                found = threads.map(writer.stage, entries.values())
                for entry, of_era in found:
                    staged[entry.era] = entry
                    counts.append(of_era)
                    n_done += entry.rows
                    progress(n_done, n_rows)
            finally:  # it may have been stopped
                threads.shutdown(cancel_futures=True)
    finally:
        shutil.rmtree(workspace.partial, ignore_errors=True)
    sync_directory(workspace.staged)
    return StagedBenchmarks(staged, join.joined_files(counts))


def clear_other_arrays(workspace: Workspace) -> None:
    """Remove from a workspace all that another conversion has left, but staged benchmarks."""
    # From here on, the staged eras aren't those that an earlier run was about to commit.
    (workspace.path / FILE_NAME).unlink(missing_ok=True)
    workspace.journal.unlink(missing_ok=True)
    shutil.rmtree(workspace.partial, ignore_errors=True)
    if workspace.staged.is_dir():
        for folder in workspace.staged.iterdir():
            if not folder.is_dir() or names_in(folder) != {_FILE}:
                discard(folder)


class _EraBenchmarks:
    """Stages the benchmarks of eras; thread-safe."""

    def __init__(self, workspace: Workspace, join: BenchmarkJoin) -> None:
        self._workspace, self._join = workspace, join

    def stage(self, entry: ShardEntry) -> tuple[ShardEntry, dict[int, tuple[int, int]]]:
        """Stage an era; return its entry with benchmarks, and its counts of rows."""
        folder = self._workspace.staged / entry.folder
        kept = self._join.kept(entry.era)
        if kept is not None and not self._join.changes(entry.era):
            _remove(folder / _FILE)
            files = {**entry.files, "benchmarks": kept.files["benchmarks"]}
            return replace(entry, files=files, benchmark_nulls=kept.benchmark_nulls), {}
        joined = self._join.era(entry.era, self._ids(entry))
        file, nulls = _write_file(None, joined)
        if kept is not None and kept.files["benchmarks"] == file:
            _remove(folder / _FILE)
        elif not _holds(folder / _FILE, file):
            self._write(folder, joined)
        found = replace(
            entry,
            files={**entry.files, "benchmarks": file},
            benchmark_nulls=dict(zip(self._join.names, nulls, strict=True)),
        )
        return found, joined.counts

    def _ids(self, entry: ShardEntry) -> npt.NDArray[np.bytes_]:
        dtype = np.dtype(f"S{id_width(entry)}")
        path = self._workspace.staged / entry.folder / "ids.npy"
        if not path.exists():
            path = self._workspace.directory / entry.folder / "ids.npy"
        ids = read_checked(path, dtype, (entry.rows,), entry.files["ids"].digest)
        return ids.astype(dtype, copy=False)

    def _write(self, folder: Path, joined: JoinedEra) -> None:
        """Write a file, and move it among the staged arrays of its era."""
        partial = self._workspace.partial / f"{threading.get_ident()}.npy"  # one at a time
        _write_file(partial, joined)
        folder.mkdir(exist_ok=True)
        os.replace(partial, folder / _FILE)
        sync_directory(folder)


def _write_file(path: Path | None, joined: JoinedEra) -> tuple[FileEntry, list[int]]:
    """Write the benchmarks of an era, or only compute their checksum.

    Returns
    -------
    file : FileEntry
    nulls : list of int
        The number of rows without a value, for each benchmark.
    """
    writer = ArrayWriter(path, np.dtype("<f4"), joined.shape)
    nulls = np.zeros(joined.shape[1], np.int64)
    for values in joined.chunks():
        writer.append(values)
        nulls += np.isnan(values).sum(axis=0)
    return FileEntry(*writer.finish()), nulls.tolist()


def _remove(path: Path) -> None:
    """Remove a file durably, if there is one."""
    if path.exists():
        path.unlink()
        sync_directory(path.parent)


def _holds(path: Path, file: FileEntry) -> bool:
    """Return True if there is a file with this size and checksum."""
    return has_size(path, file.bytes) and digest_file(path) == file.digest
