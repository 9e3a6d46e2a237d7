"""The decisions by the monitored score: best epoch, learning rate, end of a training.

Takes the scores of the epochs so far, in order. Pure functions, no TensorFlow. Nothing is counted
on the way, so a training that is resumed decides as one that never stopped.
"""

import math
from collections.abc import Iterable
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..configuration.config import TrainConfig

FURTHER_SCORES = ("bmc", "mmc", "fnc")
"""Scores that a training computes only if it monitors one of their columns in history.csv."""

_FURTHER_COLUMNS = {
    f"val_{score}_{statistic}": is_smaller_better
    for score in FURTHER_SCORES
    for statistic, is_smaller_better in {
        "mean": False,
        "std": True,
        "sharpe": False,
        "max_drawdown": True,
        "positive": False,
    }.items()
}

MONITORS = MappingProxyType(
    {
        "val_corr_mean": False,
        "val_corr_std": True,
        "val_corr_sharpe": False,
        "val_max_drawdown": True,
        "val_corr_positive": False,
        "val_pearson_mean": False,
        "val_pearson_std": True,
        "val_pearson_sharpe": False,
        "val_pearson_max_drawdown": True,
        "val_pearson_positive": False,
        "loss": True,
        **_FURTHER_COLUMNS,
    }
)
"""Scores that may decide, as columns of history.csv, and whether a smaller one is better."""


def further_score(monitor: str) -> str | None:
    """Return the one of `FURTHER_SCORES` that a monitored score belongs to, or None.

    >>> further_score("val_bmc_sharpe"), further_score("val_corr_sharpe")
    ('bmc', None)
    """
    return monitor.split("_")[1] if monitor in _FURTHER_COLUMNS else None


def is_better(monitor: str, score: float, than: float) -> bool:
    """Compare two values of a monitored score, of which a NaN is the worst.

    >>> is_better("val_corr_mean", 0.03, than=0.02), is_better("val_max_drawdown", 0.03, than=0.02)
    (True, False)
    >>> is_better("loss", 0.1, than=math.nan), is_better("loss", math.nan, than=0.1)
    (True, False)
    """
    if math.isnan(than):
        return not math.isnan(score)
    return score < than if MONITORS[monitor] else score > than


def learning_rate_after(scores: Iterable[float], config: "TrainConfig") -> float:
    """Return the learning rate of the epoch that follows epochs with these scores.

    Parameters
    ----------
    scores : iterable of float
        The monitored score of each epoch.
    config : TrainConfig
        The keys `monitor`, `learning_rate`, `plateau_patience` and `plateau_factor` are used.

    Examples
    --------
    >>> from memmap_train.runs.configuration.config import TrainConfig
    >>> config = TrainConfig(learning_rate=0.8, plateau_patience=2, plateau_factor=0.5)
    >>> [learning_rate_after([3, 1, 2, 4, 4, 4][:n], config) for n in range(7)]
    [0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.2]
    """
    rate, best, n_stale = config.learning_rate, math.nan, 0
    for score in scores:
        if is_better(config.monitor, score, best):
            best, n_stale = score, 0
        else:
            n_stale += 1
        if config.plateau_patience and n_stale >= config.plateau_patience:
            rate, n_stale = rate * config.plateau_factor, 0
    return rate
