"""The report of a week, as values and as text."""

from dataclasses import dataclass

from ...text import counted

ROUND, LIVE_ROWS, DATASET = "Numerai", "the live rows", "the dataset"
"""The parts of a week that aren't those of a model."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one part of a week.

    Attributes
    ----------
    what : str
        The name of a model, or one of the names above.
    text : str
        What was done, or why it wasn't.
    has_failed : bool
    """

    what: str
    text: str
    has_failed: bool = False

    def __str__(self) -> str:
        return f"{self.what}: {'failed: ' if self.has_failed else ''}{self.text}"


@dataclass(frozen=True, slots=True)
class WeekReport:
    """What a week has done, or would do.

    Attributes
    ----------
    outcomes : tuple of Outcome
    is_dry_run : bool
    log : str
        The file with the log.
    """

    outcomes: tuple[Outcome, ...]
    is_dry_run: bool
    log: str

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """The parts that have failed."""
        return tuple(outcome for outcome in self.outcomes if outcome.has_failed)


def week_text(report: WeekReport) -> str:
    """Return the report in lines."""
    lines = [str(outcome) for outcome in report.outcomes]
    if report.is_dry_run:
        lines.append("nothing was written or sent")
    return "\n".join(lines)


def failures_text(report: WeekReport) -> str:
    """Return the error of a week in which something has failed, in one line.

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
