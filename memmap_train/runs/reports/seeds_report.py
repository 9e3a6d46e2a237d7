"""The report of a run of several seeds: the scores of all models together, and of each seed.

Imports no TensorFlow.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..scores.summary import Summary, result_scores
from .report import FoldsReport, TrainReport


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedsReport:
    """The result of training a model with several seeds.

    Attributes
    ----------
    run_dir : str
    n_eras : int
        The validation eras, or with folds those that are predicted out of fold.
    corr, pearson, further, best_possible, baseline
        The same as in `TrainReport`, of the mean of all seeds' ranks in each era, which is what
        `predict` returns.
    chart_path : str or None
        The picture of these scores; None without matplotlib, or where drawing it failed.
    seeds : mapping of int to TrainReport or FoldsReport
        The report of each seed, in order.
    already_finished : bool
        Whether all was finished before, and nothing was done.
    report_path : str or None
        The page of the official scores; None if there is none.
    """

    run_dir: str
    n_eras: int
    corr: Summary
    pearson: Summary
    best_possible: float | None
    chart_path: str | None
    seeds: Mapping[int, TrainReport | FoldsReport]
    baseline: Summary | None = None
    already_finished: bool = False
    report_path: str | None = None
    further: Mapping[str, Summary] = field(default_factory=dict)

    @property
    def seed_corrs(self) -> tuple[float, ...]:
        """The mean `numerai_corr` of each seed's own predictions, in order."""
        return tuple(report.corr.mean for report in self.seeds.values())

    @property
    def seed_mean(self) -> float:
        """The mean of `seed_corrs`: what one seed scores on average."""
        return float(np.mean(self.seed_corrs))

    @property
    def seed_std(self) -> float:
        """The standard deviation of `seed_corrs`, with ``ddof=1``."""
        return float(np.std(self.seed_corrs, ddof=1))

    @property
    def standard_error(self) -> float:
        """The standard error of `seed_mean`: that of the choice of seeds, not that of the eras."""
        return self.seed_std / math.sqrt(len(self.seeds))

    def to_json(self) -> dict[str, Any]:
        """Return the report as `state.json` has it: the scores, and those of each seed."""
        return {
            "run_dir": self.run_dir,
            "n_eras": self.n_eras,
            **result_scores(self.corr, self.pearson, self.further),
            "best_possible": self.best_possible,
            "chart_path": self.chart_path,
            "seed_corr_mean": self.seed_mean,
            "seed_corr_std": self.seed_std,
            "seed_corr_standard_error": self.standard_error,
            "seeds": [
                {"seed": seed, **_without_nan(_scores_of(report))}
                for seed, report in self.seeds.items()
            ],
        }


def _scores_of(report: TrainReport | FoldsReport) -> dict[str, float]:
    return result_scores(report.corr, report.pearson, report.further)


def _without_nan(scores: Mapping[str, float]) -> dict[str, float | None]:
    """Return scores in which NaN is None: JSON has no NaN.

    >>> _without_nan({"corr_mean": 0.02, "corr_sharpe": math.nan})
    {'corr_mean': 0.02, 'corr_sharpe': None}
    """
    return {name: None if value != value else value for name, value in scores.items()}
