"""The report of a conversion, as a record, as JSON and as text.

The command line prints it. Nothing is written here.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..dataset.dataset import Dataset
from ..dataset.manifest import Manifest, ShardEntry
from ..dataset.opening import open_dataset
from ..errors import listed
from ..text import counted, in_bytes
from .benchmarks.join import JoinedFile


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a conversion.

    Attributes
    ----------
    dataset : Dataset
        The dataset, opened.
    status : {"converted", "updated", "up to date"}
    n_rows, n_eras : int
        Rows and eras of the dataset.
    n_bytes : int
        Total size of its arrays.
    n_eras_kept : int
        Number of eras that an interrupted run had finished before.
    n_eras_new, n_eras_changed : int
        Number of eras that weren't in the dataset before; number of old eras with changed targets.
    n_eras_benchmarks : int
        Number of old eras whose benchmarks were added or have changed.
    left_out : tuple of str
        Features and targets of the sources that aren't in the dataset: because they can't be
        stored, or because they were added to the sources after the dataset was made.
    seconds : float
    benchmark_files : tuple of JoinedFile
        What became of the rows of the given files of benchmarks.
    """

    dataset: Dataset
    status: str
    n_rows: int
    n_eras: int
    n_bytes: int
    n_eras_kept: int
    n_eras_new: int
    n_eras_changed: int
    left_out: tuple[str, ...]
    seconds: float
    n_eras_benchmarks: int = 0
    benchmark_files: tuple[JoinedFile, ...] = ()


def make_report(
    directory: Path,
    status: str,
    started: float,
    *,
    old: Manifest | None = None,
    n_eras_kept: int = 0,
    left_out: Sequence[str] = (),
    benchmark_files: tuple[JoinedFile, ...] = (),
) -> Report:
    """Return the report of a conversion.

    Parameters
    ----------
    directory : Path
        The folder of the finished dataset.
    status : {"converted", "updated", "up to date"}
    started : float
        The time of `time.perf_counter` at which the conversion began.
    old : Manifest or None
        The manifest of the dataset before an update.
    n_eras_kept : int
    left_out : sequence of str
    benchmark_files : tuple of JoinedFile
    """
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
        n_eras_changed=_n_changed("targets", shards, before),
        n_eras_benchmarks=_n_changed("benchmarks", shards, before),
        benchmark_files=benchmark_files,
        left_out=tuple(left_out),
        seconds=time.perf_counter() - started,
    )


def _n_changed(array: str, shards: Sequence[ShardEntry], before: Mapping[str, ShardEntry]) -> int:
    """Return the number of eras that were in a dataset before, with another file of an array."""
    return sum(
        entry.files.get(array) != before[entry.era].files.get(array)
        for entry in shards
        if entry.era in before
    )


def describe_report(report: Report) -> dict[str, Any]:
    """Return a report as plain data, for `convert --json`."""
    dataset = report.dataset
    return {
        "dataset": str(dataset.path),
        "status": report.status,
        "n_rows": report.n_rows,
        "n_eras": report.n_eras,
        "n_eras_kept": report.n_eras_kept,
        "n_eras_new": report.n_eras_new,
        "n_eras_changed": report.n_eras_changed,
        "n_eras_benchmarks": report.n_eras_benchmarks,
        "left_out": list(report.left_out),
        "n_features": len(dataset.feature_names),
        "n_targets": len(dataset.target_names),
        "benchmarks": list(dataset.benchmark_names),
        "benchmark_files": [asdict(file) for file in report.benchmark_files],
        "dtype": dataset.manifest.dtype,
        "bytes": report.n_bytes,
        "seconds": round(report.seconds, 3),
        "digest": dataset.manifest.digest,
    }


def report_text(report: Report) -> str:
    """Return a report in lines."""
    dataset = report.dataset
    what = (
        f"{counted(report.n_rows, 'row')}, {counted(report.n_eras, 'era')}, "
        f"{counted(len(dataset.feature_names), 'feature')}, {dataset.manifest.dtype}, "
        f"{in_bytes(report.n_bytes)}"
    )
    if report.status == "up to date":
        return f"{dataset.path}: up to date ({what})"
    rate = report.n_rows / report.seconds
    lines = [
        f"{dataset.path}: {report.status} {what} in {report.seconds:,.1f} s ({rate:,.0f} rows/s)"
    ]
    is_of_sources = report.n_eras_new or report.n_eras_changed or not report.n_eras_benchmarks
    if report.status == "updated" and is_of_sources:
        lines.append(
            f"  {counted(report.n_eras_new, 'new era')}; new targets in "
            f"{counted(report.n_eras_changed, 'old one')}"
        )
    lines += _benchmark_lines(report)
    if report.left_out:
        lines.append(
            f"  left out: {counted(len(report.left_out), 'column')} that the dataset doesn't have "
            f"({listed(report.left_out, 3)})"
        )
    if report.n_eras_kept:
        were = "was" if report.n_eras_kept == 1 else "were"
        lines.append(f"  {counted(report.n_eras_kept, 'era')} {were} kept from an interrupted run")
    for target, named in dataset.manifest.aliases.items():
        lines.append(f"  {target} equals {named} in every row")
    return "\n".join(lines)


def _benchmark_lines(report: Report) -> Iterator[str]:
    """Yield what was joined, and which new eras have no benchmarks because no file was given."""
    names = report.dataset.benchmark_names
    if report.benchmark_files or report.n_eras_benchmarks:
        written = f"written in {counted(report.n_eras_benchmarks, 'old era')}"
        of_update = f", {written}" if report.status == "updated" else ""
        yield f"  {counted(len(names), 'benchmark')} ({listed(names, 3)}){of_update}"
    elif names and report.status == "updated" and report.n_eras_new:
        yield (
            f"  no benchmarks yet in {counted(report.n_eras_new, 'new era')}: name their files "
            "with --benchmarks"
        )
    for file in report.benchmark_files:
        left_out = [
            f"{counted(n, 'row')} {whose} the dataset lacks"
            for n, whose in ((file.n_other_eras, "whose era"), (file.n_other_ids, "whose id"))
            if n
        ]
        rest = f"; left out: {', '.join(left_out)}" if left_out else ""
        yield f"    {file.name}: {file.n_joined:,} of {counted(file.n_rows, 'row')} joined{rest}"
