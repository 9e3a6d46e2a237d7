"""The report of a week."""

from dataclasses import dataclass

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
