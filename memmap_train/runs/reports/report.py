"""The plan, the report and the events of a training, as records and as text.

A `Reporter` gets the events; it may show a progress bar, write a log, or ignore them. Imports no
TensorFlow.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...text import counted, in_bytes
from ..folds.folds import Fold
from ..scores.summary import Summary, result_scores
from .cost import TrainCost

_LOG = logging.getLogger("memmap_train")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainPlan:
    """The plan of a training.

    Attributes
    ----------
    n_train_eras, n_train_rows, n_validation_eras, n_validation_rows, n_embargo_eras : int
    train_range, validation_range : str
        The first and the last era of each side: "0001 to 0232".
    embargo : str or None
        Assumptions of the automatic embargo, if they aren't obvious.
    transform : str or None
        How targets are transformed, and how many rows have no benchmark for it, if they are.
    monitored : str or None
        The monitored score and what it refers to, if that is something beside the targets.
    baseline : str or None
        What is trained afterwards to compare with, if anything is.
    n_features, n_targets, n_parameters : int
    model : str
        The model as the configuration names it.
    precision : str or None
        What hidden layers compute in, and whether that is slow here, if it isn't float32.
    buffer_bytes : int
        Bytes of data that training and validation hold at once.
    state_bytes : int
        Weights and the optimizer's state. They are copied to save a checkpoint.
    best_bytes : int
        Weights of the best epoch, which are held and saved as well.
    main_target, named_target : str
        The target that is scored, and the one that it is an alias of (or itself).
    batch_size, steps_per_epoch, epochs : int
    shuffling, reading : str
        How rows are shuffled and at what cost, and where they come from: a sentence each.
    first_step, epochs_done : int
        Steps and whole epochs (with their validation) that were done before; 0 for a new run.
    deterministic : bool
    in_closed_form : bool
        Whether the model is a ridge regression, made of sums without steps.
    already_finished : bool
        Whether the run is finished, and nothing is to be done.
    cost : TrainCost or None
        What the training costs, in the plan of a dry run.
    """

    n_train_eras: int
    n_train_rows: int
    n_validation_eras: int
    n_validation_rows: int
    n_embargo_eras: int
    train_range: str
    validation_range: str
    embargo: str | None = None
    transform: str | None = None
    monitored: str | None = None
    baseline: str | None = None
    n_features: int
    n_targets: int
    n_parameters: int
    model: str
    precision: str | None = None
    buffer_bytes: int
    state_bytes: int
    best_bytes: int
    main_target: str
    named_target: str
    batch_size: int
    steps_per_epoch: int
    epochs: int
    shuffling: str
    reading: str
    first_step: int
    epochs_done: int
    deterministic: bool
    in_closed_form: bool = False
    already_finished: bool = False
    cost: TrainCost | None = None


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


def plan_text(plan: TrainPlan) -> str:
    """Return the plan of a training as lines of text."""
    equals = "" if plan.named_target == plan.main_target else f" (equals {plan.named_target})"
    embargo = "" if plan.embargo is None else f"embargo     {plan.embargo}\n"
    transform = "" if plan.transform is None else f"transform   {plan.transform}\n"
    precision = "" if plan.precision is None else f"precision   {plan.precision}\n"
    monitor = "" if plan.monitored is None else f"monitor     {plan.monitored}\n"
    baseline = "" if plan.baseline is None else f"baseline    {plan.baseline}\n"
    state = "weights, the optimizer's state and the best epoch's weights"
    if plan.in_closed_form:
        state = "sums and weights"
    more = f"{in_bytes(plan.state_bytes)} more "
    more += "to solve" if plan.in_closed_form else "while a checkpoint is saved"
    return (
        f"train       {counted(plan.n_train_rows, 'row')}, {counted(plan.n_train_eras, 'era')} "
        f"({plan.train_range}); {counted(plan.steps_per_epoch, 'step')} of "
        f"{counted(plan.batch_size, 'row')} in an epoch\n"
        f"validation  {counted(plan.n_validation_rows, 'row')}, "
        f"{counted(plan.n_validation_eras, 'era')} ({plan.validation_range}); "
        f"{counted(plan.n_embargo_eras, 'era')} between them left out\n"
        f"{embargo}{transform}{monitor}{baseline}"
        f"model       {plan.model}: {counted(plan.n_features, 'feature')}, {plan.n_parameters:,} "
        f"parameters; target: {plan.main_target}{equals}\n"
        f"{precision}"
        f"shuffling   {plan.shuffling}\n"
        f"reading     {plan.reading}\n"
        f"memory      {in_bytes(plan.buffer_bytes)} for buffers, "
        f"{in_bytes(plan.state_bytes + plan.best_bytes)} for {state}, {more}"
        + (f"\nresumed     after {counted(plan.first_step, 'step')}" if plan.first_step else "")
    )


class Reporter:
    """Receives the events of a training; override the methods whose events should be shown.

    This class shows nothing, and logs warnings to ``logging.getLogger("memmap_train")``.

    Attributes
    ----------
    seconds_between_reports : float
        The least time between two calls of `transforming`, `summing`, `step` or `validation`: the
        interval.
    """

    seconds_between_reports = 0.1

    def fold(self, number: int, n_folds: int, fold: Fold) -> None:
        """Receive the fold whose training begins or is resumed, and its number, from 1."""

    def fold_done(self, number: int, n_folds: int, report: TrainReport) -> None:
        """Receive the report of a fold that is trained, or was trained before."""

    def seed(self, number: int, n_seeds: int, seed: int) -> None:
        """Receive the seed whose training begins or is resumed, and its number, from 1."""

    def seed_done(self, number: int, n_seeds: int, report: TrainReport | FoldsReport) -> None:
        """Receive the report of a seed that is trained, or was trained before."""

    def trial(self, number: int, n_trials: int, name: str) -> None:
        """Receive the trial of a sweep that begins or is resumed, and its number, from 1."""

    def trial_done(self, number: int, n_trials: int, name: str, outcome: str) -> None:
        """Receive what has become of a trial, in words."""

    def transforming(self, rows_done: int, n_rows: int) -> None:
        """Receive the state of the transform of targets, at most once per interval."""

    def summing(self, rows_done: int, n_rows: int) -> None:
        """Receive the state of the sums of a ridge regression, at most once per interval."""

    def started(self, plan: TrainPlan) -> None:
        """Receive the plan of the training, once, before the first step."""

    def step(
        self,
        step_in_epoch: int,
        rows: int,
        loss: float,
        rows_per_second: float,
        data_wait: float,
    ) -> None:
        """Receive the state of the running epoch, at most once per interval.

        Parameters
        ----------
        step_in_epoch : int
            Steps done in this epoch, those before an interruption included.
        rows : int
            Rows of these steps.
        loss : float
            Mean over what has counted in the epoch so far: labels, or eras.
        rows_per_second : float
        data_wait : float
            Share of the epoch's time so far spent waiting for data, 0 to 1.
        """

    def validation(self, rows_done: int, n_rows: int) -> None:
        """Receive the state of a validation, at most once per interval."""

    def scored(self, row: Mapping[str, float]) -> None:
        """Receive the scores inside an epoch: the columns of `history.csv`, without times."""

    def epoch(self, row: Mapping[str, float]) -> None:
        """Receive the row of `history.csv` of a finished epoch, by column."""

    def making_report(self, text: str) -> None:
        """Receive a line when the page of scores is begun, and one when it is done."""

    def fitting_baseline(self, text: str) -> None:
        """Receive a line when the baseline is begun."""

    def warning(self, text: str) -> None:
        """Receive a warning, one line, about a problem that doesn't stop the training.

        It is logged as a warning of `memmap_train`, which Python shows on stderr by default.
        """
        _LOG.warning("%s", text)
