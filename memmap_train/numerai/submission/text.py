"""The report of a submission, as text and as JSON."""

from datetime import datetime
from typing import Any

from ...text import counted, in_bytes
from .report import SubmitReport

_MINUTES = "%Y-%m-%d %H:%M"
_WHAT = {"predictions": "submitted", "diagnostics": "sent for diagnostics", "model": "uploaded"}
_MODEL_NOTE = (
    "once it is there, Numerai runs it every day and takes no predictions for this model by API"
)


def describe_submission(report: SubmitReport) -> dict[str, Any]:
    """Return the report as JSON data."""
    return {
        "kind": report.kind,
        "path": report.path,
        "bytes": report.n_bytes,
        "n_rows": report.n_rows,
        "model": report.model,
        "model_id": report.model_id,
        "dry_run": report.is_dry_run,
        "round": report.round_number,
        "round_is_open": report.round_is_open,
        "opens": _iso(report.opens),
        "closes": _iso(report.closes),
        "python": report.python,
        "image": report.image,
        "data_version": report.data_version,
        "id": report.id,
        "filename": report.filename,
        "status": report.status,
        "problem": report.problem,
        "scores": report.scores,
        "log": list(report.log),
    }


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def submission_text(report: SubmitReport) -> str:
    """Return the report as lines to read."""
    rows = "" if report.n_rows is None else f"{counted(report.n_rows, 'prediction')}, "
    lines = [f"{report.path}: {rows}{in_bytes(report.n_bytes)}, for the model {report.model!r}"]
    if report.opens is not None and report.closes is not None:
        lines.append(_round_text(report, report.opens, report.closes))
    if report.image is not None:
        lines.append(
            f"made by Python {report.python}: image {report.image!r}, data {report.data_version}"
        )
        lines.append(_MODEL_NOTE)
    if report.is_dry_run:
        lines.append("checked, and not sent: this was a dry run")
    else:
        lines.append(f"{_WHAT[report.kind]}: id {report.id}, file {report.filename}")
    if report.status is not None:
        lines.append(f"Numerai says: {report.status or 'nothing yet'}")
    lines += [f"  {line}" for line in report.log]
    lines += [f"  {name:<36} {value: .4f}" for name, value in report.scores.items()]
    return "\n  ".join(lines)


def _round_text(report: SubmitReport, opens: datetime, closes: datetime) -> str:
    number = f"round {report.round_number}"
    if report.round_is_open:
        return f"{number}: open until {closes:{_MINUTES}} UTC"
    return (
        f"{number}: open from {opens:{_MINUTES}} to {closes:{_MINUTES}} UTC, and not now; without "
        "--dry-run this is an error"
    )
