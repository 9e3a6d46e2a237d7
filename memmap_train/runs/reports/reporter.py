"""The events of a training, and the class that receives them. Imports no TensorFlow.

A `Reporter` gets the events; it may show a progress bar, write a log, or ignore them.
"""

import logging
from collections.abc import Mapping

from ..folds.fold import Fold
from .plan import TrainPlan
from .report import FoldsReport, TrainReport

_LOG = logging.getLogger("memmap_train")


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
