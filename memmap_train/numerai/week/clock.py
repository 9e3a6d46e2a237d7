"""The time, and a wait: what a test replaces."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Clock:
    """Tells the time and waits.

    Attributes
    ----------
    now : callable
        Returns the time in UTC.
    wait : callable
        Waits some seconds.
    """

    now: Callable[[], datetime]
    wait: Callable[[float], object]


def system_clock() -> Clock:
    """Return the clock of this machine."""
    return Clock(lambda: datetime.now(UTC), time.sleep)
