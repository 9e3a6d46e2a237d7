"""The results of trainings as records: those of a run, and those of the folds of a run.

They hold scores, counts and paths, as `state.json` has them. Imports no TensorFlow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..scores.summary import Summary, result_scores


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """The result of a training.

    Attributes
    ----------
    run_dir : str
    n_epochs, n_steps : int
        Done in all.
    stopped_early : bool
        Whether the validation score hadn't become better for `patience` epochs.
    best_epoch : int
        The epoch, counted from 1, whose model and scores are kept.
    corr, pearson : Summary
        Summaries of `numerai_corr` and of the plain correlation of the main target over the
        validation eras, in the best epoch.
    further : mapping of str to Summary
        By name ("bmc", "mmc", "fnc") the summary of the score that is computed because it is
        monitored; empty for other runs.
    best_possible : float or None
        The best `corr.mean` that a model can expect, if the dataset is a sample that knows it.
    chart_path : str or None
        The picture of the scores; None without matplotlib, or where drawing it failed.
    already_finished : bool
        Whether the run was finished before, and nothing was done.
    report_path : str or None
        The page of the official scores; None if there is none.
    strengths : mapping of str to float
        Of a ridge regression, the strength for each target; empty for other models.
    baseline : Summary or None
        The summary of `numerai_corr` of the ridge regression on the same eras, if there is one.
    """

    run_dir: str
    n_epochs: int
    n_steps: int
    stopped_early: bool
    best_epoch: int
    corr: Summary
    pearson: Summary
    best_possible: float | None
    chart_path: str | None
    already_finished: bool = False
    report_path: str | None = None
    further: Mapping[str, Summary] = field(default_factory=dict)
    strengths: Mapping[str, float] = field(default_factory=dict)
    baseline: Summary | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the report as `state.json` has it."""
        return {
            **({"strengths": dict(self.strengths)} if self.strengths else {}),
            "run_dir": self.run_dir,
            "n_epochs": self.n_epochs,
            "n_steps": self.n_steps,
            "stopped_early": self.stopped_early,
            "best_epoch": self.best_epoch,
            **result_scores(self.corr, self.pearson, self.further),
            "best_possible": self.best_possible,
            "chart_path": self.chart_path,
            "already_finished": self.already_finished,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldsReport:
    """The result of training the folds of a run.

    Attributes
    ----------
    run_dir : str
    n_eras : int
        Predicted in all, each by a model that wasn't trained on it.
    corr, pearson, further, best_possible, baseline
        The same as in `TrainReport`, over all predicted eras together.
    chart_path : str or None
        The picture of the scores; None without matplotlib, or where drawing it failed.
    folds : tuple of TrainReport
        The report of each fold, in order, with the scores of its last epoch.
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
    folds: tuple[TrainReport, ...]
    already_finished: bool = False
    report_path: str | None = None
    further: Mapping[str, Summary] = field(default_factory=dict)
    baseline: Summary | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the report as `state.json` has it; the folds have files of their own."""
        return {
            "run_dir": self.run_dir,
            "n_eras": self.n_eras,
            **result_scores(self.corr, self.pearson, self.further),
            "best_possible": self.best_possible,
            "chart_path": self.chart_path,
        }
