"""What a conversion did: the record of it, and how it is said.

Conversion fills it in; the command line prints it. Nothing is read or written here.
"""

from dataclasses import dataclass
from typing import Any

from ..dataset.dataset import Dataset
from ..errors import listed
from ..text import in_bytes


@dataclass(frozen=True, slots=True)
class Report:
    """What a conversion did.

    Attributes
    ----------
    dataset : Dataset
    status : {"converted", "updated", "up to date"}
    n_rows, n_eras, n_bytes : int
        Of the whole dataset; bytes of all arrays.
    n_eras_kept : int
        Eras that an interrupted run had finished before.
    n_eras_new, n_eras_changed : int
        Eras that weren't there before; eras whose targets are other ones now.
    left_out : tuple of str
        Features and targets of the sources that the dataset doesn't have: because they can't be
        stored, or because they came after the dataset that was updated.
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
        f"{report.n_rows:,} rows, {report.n_eras:,} eras, {len(dataset.feature_names):,} features, "
        f"{dataset.manifest.dtype}, {in_bytes(report.n_bytes)}"
    )
    if report.status == "up to date":
        return f"{dataset.path}: up to date ({what})"
    rate = report.n_rows / report.seconds
    lines = [
        f"{dataset.path}: {report.status} {what} in {report.seconds:,.1f} s ({rate:,.0f} rows/s)"
    ]
    if report.status == "updated":
        lines.append(
            f"  {report.n_eras_new:,} new eras; new targets in {report.n_eras_changed:,} old ones"
        )
    if report.left_out:
        lines.append(
            f"  left out: {len(report.left_out):,} columns that the dataset doesn't have "
            f"({listed(report.left_out, 3)})"
        )
    if report.n_eras_kept:
        lines.append(f"  {report.n_eras_kept:,} eras were kept from an interrupted run")
    for target, named in dataset.manifest.aliases.items():
        lines.append(f"  {target} equals {named} in every row")
    return "\n".join(lines)
