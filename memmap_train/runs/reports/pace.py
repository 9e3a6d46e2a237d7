"""How often the progress of a training is reported."""

import math
import time
from dataclasses import dataclass


@dataclass(slots=True)
class Pace:
    """Tells when the next report is due."""

    seconds: float
    last: float = -math.inf

    def is_due(self) -> bool:
        """Return True if a report is due; the next one is then due after the interval."""
        now = time.monotonic()
        if now - self.last < self.seconds:
            return False
        self.last = now
        return True
