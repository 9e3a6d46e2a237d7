"""What a conversion works with: its memory, its threads, and who is told how far it is.

A record that `conversion` makes of its arguments and passes on to each step.
"""

import time
from dataclasses import dataclass, field

from ..progress import Progress, ignore
from .memory_budget import ConversionBudget


@dataclass(frozen=True, slots=True)
class Resources:
    """What a conversion works with.

    Attributes
    ----------
    budget : ConversionBudget
    n_workers : int
        Number of threads.
    progress : callable(what, rows done, rows in all)
    started : float
        The time of `time.perf_counter` at which the conversion began.
    """

    budget: ConversionBudget
    n_workers: int = 1
    progress: Progress = ignore
    started: float = field(default_factory=time.perf_counter)
