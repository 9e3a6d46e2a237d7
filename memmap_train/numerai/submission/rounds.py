"""The current round: its number, whether it is open, and until when."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ...errors import NumeraiError, shown
from ..api import TOURNAMENT, ask

_ROUND = """query($tournament: Int!) {
    rounds(tournament: $tournament number: 0) { number openTime closeTime closeStakingTime }
}"""

_MINUTES = "%Y-%m-%d %H:%M"


@dataclass(frozen=True, slots=True)
class Round:
    """A round.

    Attributes
    ----------
    number : int
    opens, closes : datetime
        In UTC. What is submitted later counts as late.
    """

    number: int
    opens: datetime
    closes: datetime

    def is_open(self, now: datetime) -> bool:
        """Return True if submissions count at this time."""
        return self.opens <= now < self.closes

    def words(self, now: datetime) -> str:
        """Return the state of the round in words.

        >>> day = datetime(2026, 11, 28, 12, tzinfo=UTC)
        >>> Round(7, day, day).words(day)
        'round 7 has been closed since 2026-11-28 12:00 UTC'
        """
        if now < self.opens:
            return f"round {self.number} isn't open before {self.opens:{_MINUTES}} UTC"
        state = "is open until" if self.is_open(now) else "has been closed since"
        return f"round {self.number} {state} {self.closes:{_MINUTES}} UTC"


def current_round() -> Round:
    """Return the current round.

    Raises
    ------
    NumeraiError
        There is none, as between two rounds, or Numerai doesn't answer.
    """
    rounds = ask("the current round", _ROUND, {"tournament": TOURNAMENT}).get("rounds")
    found = rounds[0] if isinstance(rounds, list) and rounds else None
    if not isinstance(found, dict):
        raise NumeraiError("Numerai has no current round; try again when the next one opens")
    try:
        return Round(
            number=int(found["number"]),
            opens=_time(found["openTime"]),
            closes=_time(found.get("closeStakingTime") or found["closeTime"]),
        )
    except (KeyError, TypeError, ValueError):
        raise NumeraiError(
            f"Numerai's current round: expected a number and two times, found {shown(found)}; try "
            "again later"
        ) from None


def _time(text: Any) -> datetime:
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
