"""Progress on stderr: a bar on a terminal, a line every ten seconds elsewhere.

stdout belongs to results. What is counted is given as a whole number of units, so that both forms
can show a rate and the time left.
"""

import logging
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self, TextIO

from tqdm import tqdm

from ..runs.folds import Fold
from ..runs.report import Reporter, TrainPlan, TrainReport, plan_text
from ..text import in_time

_LINE_SECONDS = 10.0


class Progress:
    """One counted piece of work.

    Parameters
    ----------
    what : str
        Shown in front.
    total : int
    unit : str
        "rows", "B" …; bytes are shown with decimal prefixes.
    initial : int
        How much was done before, which says nothing about the speed.
    """

    def __init__(self, what: str, total: int, unit: str = "rows", initial: int = 0) -> None:
        self._what, self._total, self._unit, self._initial = what, total, unit, initial
        self._started = self._shown = time.monotonic()
        self._done = 0
        self._note = ""
        self._bar = (
            tqdm(
                total=total,
                initial=initial,
                desc=what,
                unit=f" {unit}" if unit != "B" else unit,
                unit_scale=True,
                dynamic_ncols=True,
                smoothing=0.1,
                file=sys.stderr,
            )
            if sys.stderr.isatty()
            else None
        )

    def update(self, done: int, note: str = "") -> None:
        """Say how much is done, and what else is worth a few words."""
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(done - self._bar.n)
            return
        self._done, self._note = done, note
        now = time.monotonic()
        if now - self._shown >= _LINE_SECONDS:
            self._shown = now
            rate = (done - self._initial) / max(now - self._started, 1e-9)
            left = (self._total - done) / max(rate, 1e-9)
            print(
                f"{self._what}: {done:,} of {self._total:,} {self._unit} "
                f"({done / max(self._total, 1):.0%}), {rate:,.0f} {self._unit}/s, "
                f"{left:,.0f} s left{', ' + note if note else ''}",
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        """End the bar; what it showed last stays."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class LogHandler(logging.StreamHandler[TextIO]):
    """Shows what the package warns of on stderr, a line each, above a bar that is there."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(logging.Formatter("warning: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a warning."""
        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)


class Stages:
    """Progress of work in named stages, one bar after another: `stages(what, done, total)`."""

    def __init__(self, unit: str = "rows") -> None:
        self._unit = unit
        self._what = ""
        self._progress: Progress | None = None

    def __call__(
        self, what: str, done: int, total: int, note: str = "", *, initial: int = 0
    ) -> None:
        """Say how much of a stage is done; a new name begins a new stage.

        `initial` is how much of it was done by an earlier process.
        """
        if what != self._what or self._progress is None:
            self.close()
            self._what, self._progress = what, Progress(what, total, self._unit, initial)
        self._progress.update(done, note)

    def close(self) -> None:
        """End the last bar."""
        if self._progress is not None:
            self._progress.close()
            self._progress = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class TrainProgress(Reporter):
    """Shows a training: what it will be, a bar for each epoch, and a line when it is done."""

    def __init__(self) -> None:
        self._stages = Stages()
        self._plan: TrainPlan | None = None
        self._n_epochs_done = 0
        self._scoring_seconds = 0.0  # of an epoch; known after the first one

    def fold(self, number: int, n_folds: int, fold: Fold) -> None:
        """Say which fold is trained."""
        if number == 1:
            self._say(
                f"{n_folds} folds, each trained for all its epochs: the last epoch's model "
                "predicts, so that the predicted eras have no part in choosing it"
            )
        self._say(
            f"\nfold {number} of {n_folds}: trains on {len(fold.train):,} eras ({fold.train[0]} to "
            f"{fold.train[-1]}), predicts {len(fold.validation):,} ({fold.validation[0]} to "
            f"{fold.validation[-1]})"
        )

    def fold_done(self, number: int, n_folds: int, report: TrainReport) -> None:
        """Say that a fold was trained before."""
        if report.already_finished:
            self._say(f"fold {number} of {n_folds}: already finished")

    def started(self, plan: TrainPlan) -> None:
        """Say what is about to be trained."""
        self._plan = plan
        self._n_epochs_done = plan.epochs_done
        self._say(plan_text(plan))

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
            f"{in_time(seconds_left)} left for all {plan.epochs:,} epochs"
        )
        done_before = (plan.first_step - self._n_epochs_done * plan.steps_per_epoch) * (
            plan.batch_size
        )
        name = f"epoch {self._n_epochs_done + 1}"
        self._stages(name, rows, total, note, initial=max(0, done_before))

    def validation(self, rows_done: int, n_rows: int) -> None:
        """Move the validation's bar."""
        self._stages("validation", rows_done, n_rows)

    def scored(self, row: Mapping[str, float]) -> None:
        """Say how it goes inside an epoch."""
        self._say(
            f"  meanwhile loss {row['loss']:.5f}, validation numerai_corr "
            f"{row['val_corr_mean']:.4f}, Sharpe {row['val_corr_sharpe']:.2f}"
        )

    def epoch(self, row: Mapping[str, float]) -> None:
        """Say how an epoch went."""
        assert self._plan is not None
        n_rows = self._plan.steps_per_epoch * self._plan.batch_size
        trained = n_rows / max(row["rows_per_second"], 1e-9)
        self._scoring_seconds = max(0.0, row["seconds"] - trained)
        self._n_epochs_done += 1
        self._say(
            f"epoch {self._n_epochs_done:<5} loss {row['loss']:.5f}, validation numerai_corr "
            f"{row['val_corr_mean']:.4f}, Sharpe {row['val_corr_sharpe']:.2f}; "
            f"{row['rows_per_second']:,.0f} rows/s, waits for data {row['data_wait']:.0%}"
        )

    def warning(self, text: str) -> None:
        """Say what went wrong."""
        self._say(f"warning: {text}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stages.close()

    def _say(self, text: str) -> None:
        self._stages.close()
        print(text, file=sys.stderr, flush=True)


class WarningsOnly(Reporter):
    """Shows of a training what went wrong, and nothing else: for batch jobs."""

    def warning(self, text: str) -> None:
        """Say what went wrong."""
        print(f"warning: {text}", file=sys.stderr, flush=True)
