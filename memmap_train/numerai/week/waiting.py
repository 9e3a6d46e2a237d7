"""Waits for the round to open; says so if none opens in time.

Takes what the current round is from Numerai, again and again; returns the open round, or None if
there is nothing to do before the next one. Whether a round missed its submissions decides between
None and an error.

Notes
-----
Source: docs.numer.ai, Submissions: a round opens once a day from Tuesday to Saturday, at an hour
that may vary, and is open for an hour at least.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from ...errors import NumeraiError
from ..submission.rounds import Round, current_round
from .clock import Clock
from .log import Log

POLL_SECONDS = 30.0
BETWEEN_ROUNDS = timedelta(hours=20)
"""Shortest time from one opening to the next: they are a day apart, and the hour varies."""


def open_round(
    is_done: Callable[[Round], bool], deadline: datetime, clock: Clock, log: Log
) -> Round | None:
    """Return the round that is open, as soon as one is; None if there is nothing to wait for.

    Parameters
    ----------
    is_done : callable
        Whether all was submitted for a round.
    deadline : datetime
        When to stop waiting.
    clock : Clock
    log : Log

    Raises
    ------
    NumeraiError
        The round has closed, and something wasn't submitted; or Numerai doesn't answer.
    """
    said = ""
    while True:
        now = clock.now()
        try:
            found = current_round()
        except NumeraiError as error:
            if now >= deadline:
                raise
            text = str(error)
        else:
            if found.is_open(now):
                return found
            text = _text(found, now)
            if now >= deadline or _next_opening(found, now) > deadline:
                _check_not_missed(found, now, text, is_done)
                log.say(f"{text}: nothing to submit")
                return None
        if text != said:
            log.say(f"{text}; waiting until {shown_time(deadline)}")
            said = text
        clock.wait(seconds_to_wait(deadline, now))


def seconds_to_wait(deadline: datetime, now: datetime) -> float:
    """Return how long to wait before the next look."""
    return min(POLL_SECONDS, max((deadline - now).total_seconds(), 0.0))


def shown_time(time: datetime) -> str:
    """Return a time as it stands in a message.

    >>> from datetime import UTC
    >>> shown_time(datetime(2026, 11, 28, 12, tzinfo=UTC))
    '2026-11-28 12:00 UTC'
    """
    return f"{time:%Y-%m-%d %H:%M} UTC"


def _check_not_missed(
    found: Round, now: datetime, text: str, is_done: Callable[[Round], bool]
) -> None:
    if now >= found.closes and not is_done(found):
        raise NumeraiError(
            f"{text}, and not everything was submitted for it; the same command submits in the "
            "next one, `memmap-train submit` sends a late submission"
        )


def _next_opening(found: Round, now: datetime) -> datetime:
    """Return the earliest time at which a round can be open."""
    return found.opens if now < found.opens else found.opens + BETWEEN_ROUNDS


def _text(found: Round, now: datetime) -> str:
    if now < found.opens:
        return f"round {found.number} opens at {shown_time(found.opens)}"
    return f"round {found.number} has closed at {shown_time(found.closes)}, no other is open"
