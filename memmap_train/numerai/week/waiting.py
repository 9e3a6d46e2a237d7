"""Waits for the round to open; says so if none opens in time.

Takes what the current round is from Numerai, again and again; returns the open round, or None if
there is nothing to do before the next one. A round that has closed without a submission is an
error.

Notes
-----
Source: docs.numer.ai, Submissions: a round opens once a day from Tuesday to Saturday, at an hour
that may vary, and is open for an hour at least.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from ...errors import NumeraiError, listed
from ..submission.rounds import Round, current_round
from .clock import Clock
from .log import Log

POLL_SECONDS = 30.0
BETWEEN_ROUNDS = timedelta(hours=20)
"""Shortest time from one opening to the next: they are a day apart, and the hour varies."""


def open_round(
    missing: Callable[[Round], Sequence[str]], deadline: datetime, clock: Clock, log: Log
) -> Round | None:
    """Return the round that is open, as soon as one is; None if there is nothing to wait for.

    Parameters
    ----------
    missing : callable
        Returns the models without a submission for a round.
    deadline : datetime
        When to stop waiting.
    clock : Clock
    log : Log

    Raises
    ------
    NumeraiError
        The round has closed without a submission for a model; or Numerai doesn't answer.
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
            text = found.words(now)
            if now >= deadline or _next_opening(found, now) > deadline:
                if now >= found.closes and missing(found):
                    raise _missed(text, missing(found))
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


def _missed(text: str, models: Sequence[str]) -> NumeraiError:
    return NumeraiError(
        f"{text}, without a submission for {listed(models)}; run the same command when the next "
        "round opens"
    )


def _next_opening(found: Round, now: datetime) -> datetime:
    """Return the earliest time at which a round can be open."""
    return found.opens if now < found.opens else found.opens + BETWEEN_ROUNDS
