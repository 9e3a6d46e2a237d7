"""The learning rate of each step: a warm-up, and a schedule after it.

Pure functions of the step, counted over the run. So a training that is resumed inside an epoch goes
on with the rates of one that never stopped.
"""

import math
from typing import TYPE_CHECKING

from ...errors import ConfigError
from ...text import counted

if TYPE_CHECKING:
    from .config import TrainConfig

CONSTANT, COSINE = "constant", "cosine"


def scheduled_rate(step: int, n_steps: int, rate: float, config: "TrainConfig") -> float | None:
    """Return the learning rate of a step, or None where it stays as it is.

    In the warm-up it rises in equal steps, to `rate` at the last step of it. With "cosine" it then
    falls along half a period of a cosine, so that the step after the last one would have 0.

    Parameters
    ----------
    step : int
        The step, from 0, counted over the run.
    n_steps : int
        The number of all steps of the run.
    rate : float
        The highest learning rate.
    config : TrainConfig
        The keys `warmup_steps` and `schedule` are used.

    Examples
    --------
    >>> from memmap_train.runs.configuration.config import TrainConfig
    >>> config = TrainConfig(warmup_steps=2, schedule="cosine")
    >>> [round(scheduled_rate(step, 6, 1.0, config), 3) for step in range(6)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146]
    >>> config = TrainConfig(warmup_steps=2, schedule="constant")
    >>> [scheduled_rate(step, 6, 1.0, config) for step in range(4)]
    [0.5, 1.0, None, None]
    """
    warmup_steps = config.warmup_steps
    if step < warmup_steps:
        return rate * (step + 1) / warmup_steps
    if config.schedule == CONSTANT:
        return None
    share = (step - warmup_steps) / (n_steps - warmup_steps)
    return rate * (1 + math.cos(math.pi * share)) / 2


def check_schedule(config: "TrainConfig", n_steps: int) -> None:
    """Raise a ConfigError if a run ends before its warm-up does.

    Parameters
    ----------
    config : TrainConfig
    n_steps : int
        The number of all steps of the run.
    """
    if config.warmup_steps >= n_steps:
        raise ConfigError(
            f"warmup_steps: expected fewer than the {counted(n_steps, 'step')} of the run, found "
            f"{config.warmup_steps:,}"
        )
