"""The report of a conversion, as a record, as JSON and as text.

The command line prints it. Nothing is written here.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..dataset.dataset import Dataset, open_dataset
from ..dataset.manifest import Manifest
from ..errors import listed
from ..text import counted, in_bytes


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
    left_out : tuple of str
        Features and targets of the sources that aren't in the dataset: because they can't be
        stored, or because they were added to the sources after the dataset was made.
    seconds : float
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


def make_report(
    directory: Path,
    status: str,
    started: float,
    *,
    old: Manifest | None = None,
    n_eras_kept: int = 0,
    left_out: Sequence[str] = (),
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
        n_eras_changed=sum(
            entry.files["targets"] != before[entry.era].files["targets"]
            for entry in shards
            if entry.era in before
        ),
        left_out=tuple(left_out),
        seconds=time.perf_counter() - started,
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
        "left_out": list(report.left_out),
        "n_features": len(dataset.feature_names),
        "n_targets": len(dataset.target_names),
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
    if report.status == "updated":
        lines.append(
            f"  {counted(report.n_eras_new, 'new era')}; new targets in "
            f"{counted(report.n_eras_changed, 'old one')}"
        )
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
