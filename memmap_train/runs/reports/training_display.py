"""Shows a training while it runs: what will be trained, bars, and a line for each epoch.

`reporter` chooses the `Reporter` of a training by what a caller passes as ``progress``. No
TensorFlow here.
"""

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Self, TextIO

from ...progress import (
    SECONDS_BETWEEN_LINES,
    Progress,
    ProgressBars,
    above_bars,
    in_notebook,
    is_shown,
)
from ...text import counted, in_time
from ..folds.fold import Fold
from ..scores.monitor import FURTHER_SCORES
from .plan import TrainPlan, plan_text
from .report import FoldsReport, TrainReport
from .reporter import Reporter


def reporter(option: bool | Progress | Reporter | None) -> AbstractContextManager[Reporter]:
    """Return a context manager of the reporter of a training.

    Parameters
    ----------
    option : bool, callable, Reporter or None
        The same as for `progress.reporting`; a `Reporter` gets all events.
    """
    if isinstance(option, Reporter):
        return nullcontext(option)
    if callable(option):
        return nullcontext(_CountingReporter(option))
    if not is_shown(option):
        return nullcontext(Reporter())
    # A notebook shows stderr in red. Bars of many epochs would fill the page.
    return TrainingDisplay(sys.stdout) if in_notebook() else TrainingDisplay(sys.stderr)


class _CountingReporter(Reporter):
    """Reports the rows of each epoch and of each validation to a `Progress`."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._plan: TrainPlan | None = None
        self._n_epochs_done = 0

    def transforming(self, rows_done: int, n_rows: int) -> None:
        self._progress("targets", rows_done, n_rows)

    def summing(self, rows_done: int, n_rows: int) -> None:
        self._progress("sums", rows_done, n_rows)

    def started(self, plan: TrainPlan) -> None:
        self._plan, self._n_epochs_done = plan, plan.epochs_done

    def step(
        self,
        step_in_epoch: int,
        rows: int,
        loss: float,
        rows_per_second: float,
        data_wait: float,
    ) -> None:
        assert self._plan is not None
        total = self._plan.steps_per_epoch * self._plan.batch_size
        self._progress(f"epoch {self._n_epochs_done + 1}", rows, total)

    def validation(self, rows_done: int, n_rows: int) -> None:
        self._progress("validation", rows_done, n_rows)

    def epoch(self, row: Mapping[str, float]) -> None:
        self._n_epochs_done += 1


class TrainingDisplay(Reporter):
    """Shows a training: what it will be, a bar for each epoch, and a line when it is done.

    Parameters
    ----------
    file : text stream
    seconds_between_lines : float
        The seconds between two lines, where bars can't be drawn.
    """

    def __init__(
        self, file: TextIO, *, seconds_between_lines: float = SECONDS_BETWEEN_LINES
    ) -> None:
        self._file = file
        is_widget = in_notebook() and file is sys.stdout
        self._bars = ProgressBars(
            file=None if is_widget else file,
            stays=not is_widget,
            seconds_between_lines=seconds_between_lines,
        )
        self._plan: TrainPlan | None = None
        self._n_epochs_done = 0
        self._scoring_seconds = 0.0  # of an epoch; known after the first one

    def fold(self, number: int, n_folds: int, fold: Fold) -> None:
        """Show which fold is trained."""
        if number == 1:
            self._print(
                f"{counted(n_folds, 'fold')}, each trained for all its epochs: the last epoch's "
                "model predicts, so that the predicted eras have no part in choosing it"
            )
        self._print(
            f"\nfold {number} of {n_folds}: trains on {counted(len(fold.train), 'era')} "
            f"({fold.train[0]} to {fold.train[-1]}), predicts {len(fold.validation):,} "
            f"({fold.validation[0]} to {fold.validation[-1]})"
        )

    def fold_done(self, number: int, n_folds: int, report: TrainReport) -> None:
        """Show that a fold was trained before."""
        if report.already_finished:
            self._print(f"fold {number} of {n_folds}: already finished")

    def seed(self, number: int, n_seeds: int, seed: int) -> None:
        """Show which seed is trained."""
        self._print(f"\nseed {number} of {n_seeds}: seed = {seed}")

    def seed_done(self, number: int, n_seeds: int, report: TrainReport | FoldsReport) -> None:
        """Show that a seed was trained before."""
        if report.already_finished:
            self._print(f"seed {number} of {n_seeds}: already finished")

    def trial(self, number: int, n_trials: int, name: str) -> None:
        """Show which trial of a sweep is trained."""
        self._print(f"\ntrial {number:,} of {n_trials:,}: {name}")

    def trial_done(self, number: int, n_trials: int, name: str, outcome: str) -> None:
        """Show what has become of a trial."""
        self._print(f"trial {number:,} of {n_trials:,}: {name}: {outcome}")

    def transforming(self, rows_done: int, n_rows: int) -> None:
        """Move the bar of the transform of targets."""
        self._bars("targets", rows_done, n_rows)

    def summing(self, rows_done: int, n_rows: int) -> None:
        """Move the bar of the sums of a ridge regression."""
        self._bars("sums", rows_done, n_rows)

    def started(self, plan: TrainPlan) -> None:
        """Show what is about to be trained."""
        self._plan = plan
        self._n_epochs_done = plan.epochs_done
        self._print(plan_text(plan))

    def step(
        self,
        step_in_epoch: int,
        rows: int,
        loss: float,
        rows_per_second: float,
        data_wait: float,
    ) -> None:
        """Move the epoch's bar."""
        plan = self._plan
        assert plan is not None
        total = plan.steps_per_epoch * plan.batch_size
        n_epochs_left = plan.epochs - self._n_epochs_done
        seconds_left = self._scoring_seconds * n_epochs_left
        seconds_left += (total * n_epochs_left - rows) / max(rows_per_second, 1e-9)
        note = (
            f"loss {loss:.5f}, waits for data {data_wait:.0%}, "
            f"{in_time(seconds_left)} left for all {counted(plan.epochs, 'epoch')}"
        )
        done_before = (plan.first_step - self._n_epochs_done * plan.steps_per_epoch) * (
            plan.batch_size
        )
        name = f"epoch {self._n_epochs_done + 1}"
        self._bars(name, rows, total, note, initial=max(0, done_before))

    def validation(self, rows_done: int, n_rows: int) -> None:
        """Move the validation's bar."""
        self._bars("validation", rows_done, n_rows)

    def scored(self, row: Mapping[str, float]) -> None:
        """Show the scores inside an epoch."""
        self._print(f"  meanwhile loss {row['loss']:.5f}, validation {_scores(row)}")

    def epoch(self, row: Mapping[str, float]) -> None:
        """Show the scores at an epoch's end."""
        assert self._plan is not None
        n_rows = self._plan.steps_per_epoch * self._plan.batch_size
        trained = n_rows / max(row["rows_per_second"], 1e-9)
        self._scoring_seconds = max(0.0, row["seconds"] - trained)
        self._n_epochs_done += 1
        self._print(
            f"epoch {self._n_epochs_done:<5} loss {row['loss']:.5f}, validation {_scores(row)}; "
            f"{row['rows_per_second']:,.0f} rows/s, waits for data {row['data_wait']:.0%}"
        )

    def making_report(self, text: str) -> None:
        """Show how far the page of scores is."""
        self._print(text)

    def fitting_baseline(self, text: str) -> None:
        """Show that the baseline is fitted."""
        self._print(text)

    def warning(self, text: str) -> None:
        """Log a warning above the bars."""
        with above_bars(self._file):
            super().warning(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.close()

    def _print(self, text: str) -> None:
        self._bars.finish()
        print(text, file=self._file, flush=True)


def _scores(row: Mapping[str, float]) -> str:
    """Return the scores of an epoch in words.

    >>> row = {"val_corr_mean": 0.02, "val_corr_sharpe": 1.0}
    >>> _scores(row | {"val_bmc_mean": 0.005, "val_bmc_sharpe": 0.5})
    'numerai_corr 0.0200, Sharpe 1.00, BMC 0.0050, Sharpe 0.50'
    """
    names = {"corr": "numerai_corr", **{name: name.upper() for name in FURTHER_SCORES}}
    return ", ".join(
        f"{text} {row[f'val_{name}_mean']:.4f}, Sharpe {row[f'val_{name}_sharpe']:.2f}"
        for name, text in names.items()
        if f"val_{name}_mean" in row
    )
