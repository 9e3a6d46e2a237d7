"""The report of a week, as text and as JSON."""

from typing import Any

from ...text import counted
from .report import WeekReport


def describe_week(report: WeekReport) -> dict[str, Any]:
    """Return the report as JSON data."""
    return {
        "dry_run": report.is_dry_run,
        "parts": [
            {"what": outcome.what, "text": outcome.text, "has_failed": outcome.has_failed}
            for outcome in report.outcomes
        ],
        "log": report.log,
    }


def week_text(report: WeekReport) -> str:
    """Return what was done, or would be, in lines; what has failed is in `failures_text`."""
    lines = [str(outcome) for outcome in report.outcomes if not outcome.has_failed]
    if report.is_dry_run:
        lines.append("nothing was written or sent")
    return "\n".join(lines or ["nothing was done"])


def failures_text(report: WeekReport) -> str:
    """Return the error of a week in which something has failed, in one line.

    >>> from memmap_train.numerai.week.report import Outcome
    >>> outcomes = (Outcome("a", "no such run", has_failed=True), Outcome("b", "submitted"))
    >>> failures_text(WeekReport(outcomes, is_dry_run=True, log="week.log"))
    '1 of 2 parts failed: a: no such run'
    """
    failed = report.failures
    of_all = f"{len(failed)} of {counted(len(report.outcomes), 'part')} failed"
    names: dict[str, list[str]] = {}
    for outcome in failed:
        names.setdefault(outcome.text, []).append(outcome.what)
    text = "; ".join(f"{', '.join(names[reason])}: {reason}" for reason in names)
    rest = "" if report.is_dry_run else f"; the log is {report.log}"
    return f"{of_all}: {text}{rest}"
