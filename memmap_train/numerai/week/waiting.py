"""Waits for the round to open; says so if none opens in time.

Takes what the current round is from Numerai, again and again; returns the open round, or why
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


Missing = Callable[[Round], Sequence[str]]
"""A function that returns the models without a submission for a round."""


def open_round(
    missing: Missing,
    deadline: datetime,
    clock: Clock,
    log: Log,
    before_wait: Callable[[], object],
) -> Round | str:
    """Return the round that is open, as soon as one is; or why there is nothing to wait for.

    Parameters
    ----------
    missing : callable
        Returns the models without a submission for a round.
    deadline : datetime
        When to stop waiting.
    clock : Clock
    log : Log
    before_wait : callable
        Called before the first wait.

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
            end = end_of_wait(found, now, deadline, missing)
            if end:
                return end
            text = found.words(now)
        if not said:
            before_wait()
        if text != said:
            log.say(f"{text}; waiting until {shown_time(deadline)}")
            said = text
        clock.wait(seconds_to_wait(deadline, now))


def end_of_wait(found: Round, now: datetime, deadline: datetime, missing: Missing) -> str:
    """Return why a round that isn't open isn't waited for; empty if the next one may open in time.

    Raises
    ------
    NumeraiError
        It has closed without a submission for a model.
    """
    if now < deadline and _next_opening(found, now) <= deadline:
        return ""
    text = found.words(now)
    if now >= found.closes and missing(found):
        raise _missed(text, missing(found))
    return f"{text}: nothing to submit"


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
