"""The training loop: epochs of compiled steps, each followed by validation and a checkpoint.

Takes a run's folder and all that was resolved for it; writes the run's files and returns a
`TrainReport`. Events are reported to a `Reporter`; nothing is printed here.

The arrays of the step and the progress (see `state`) are whole at any moment, so a checkpoint can
be taken wherever the program is stopped.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import tensorflow as tf

from ..arrays import Float32
from ..errors import ConfigError, ShardError, listed
from ..loading.stream import Stream
from ..runs.checkpoints.state import Best, Clock, Row, State, TrainingProgress
from ..runs.checkpoints.state_store import StateStore
from ..runs.configuration.batch_keys import weighs_rows
from ..runs.configuration.schedule import scheduled_rate
from ..runs.reports.pace import Pace
from ..runs.reports.report import TrainReport
from ..runs.reports.reporter import Reporter
from ..runs.reports.run_warnings import RunWarnings
from ..runs.run import Run
from ..runs.scores.monitor import is_better, learning_rate_after
from .callback_state import Memory
from .callbacks import Callbacks
from .failures import check_convergence, check_counted, divergence, failure_of_model
from .plan import plan_of
from .prediction.predictor import Predictor
from .resolve import Setup
from .results import Results
from .step import TrainStep
from .tensorboard_log import TensorBoardLog
from .validation.scoring import Scoring


class TrainingLoop:
    """A training under way: the step, the progress, and the files that follow from them."""

    def __init__(
        self,
        run: Run,
        setup: Setup,
        step: TrainStep,
        predictor: Predictor,
        callbacks: Sequence[Any],
        report: Reporter,
    ) -> None:
        config = setup.config
        self._run, self._setup, self._config, self._step = run, setup, config, step
        self._batches, self._report = setup.batches, report
        self._n_steps = config.epochs * len(setup.batches)
        self._weighs_rows = weighs_rows(config)
        self._pace = Pace(report.seconds_between_reports)
        self._warnings = RunWarnings(run.path, report)
        # First of all: an update of the dataset may replace files of targets at any time.
        self._scoring = Scoring(setup, step, predictor, report, self._warnings, self._pace)
        self._batches.reader.map_targets()
        self._callbacks = Callbacks(
            dict(zip(config.callbacks, callbacks, strict=True)),
            step.model,
            step.optimizer,
            # Not verbose: this package says how far it is, and stdout is for results.
            {"epochs": config.epochs, "steps": len(self._batches), "verbose": 0},
            # Scores of eras that are to be predicted may have no part in making their model.
            shows_scores=not setup.keeps_last_epoch,
            log=TensorBoardLog(run.tensorboard_dir, report.warning) if config.tensorboard else None,
        )
        self._results = Results(run, setup, step, report)
        self._store = StateStore(run, config, self._warnings)
        self._progress, self._clock = TrainingProgress(), Clock()
        self._memory: Memory | None = []  # of callbacks; None once they have it
        self._is_whole = True  # the state: a step that failed may have changed a part of it
        self._resumed = self._store.newest()  # until callbacks know
        if self._resumed is not None:
            self._resume_from(self._resumed)

    def finish(self) -> TrainReport:
        """Train until the last epoch or until patience ends; write the results."""
        first_step, end = self._step.count, self._n_steps
        self._report.started(
            plan_of(self._setup, self._step.trained.graph, first_step, self._progress.epochs_done)
        )
        try:
            # One stream for all epochs: the next one's first rows are read during validation.
            with self._batches.stream(first_step, max(end, first_step)) as stream:
                self._begin(first_step)
                with self._saving_on_failure():
                    while not self._is_over():
                        self._train_epoch(stream)
                        self._end_epoch()
                self._callbacks.train_end(self._progress.history[-1])
        except KeyboardInterrupt:
            self._save()
            raise
        return self._results.conclude(self._progress)

    def _begin(self, first_step: int) -> None:
        """Let callbacks know that training begins or is resumed."""
        with self._callbacks.uninterrupted():
            self._callbacks.train_begin(self._memory or [])
            if self._resumed is not None:
                self._resume_from(self._resumed)
            self._memory = self._resumed = None
        if self._step.count != first_step:
            raise ConfigError(
                f"callbacks: one of {listed(self._config.callbacks)} has moved the step from "
                f"{first_step:,} to {self._step.count:,} when training began, which a run can't: "
                "begin a new one without it"
            )
        self._warnings.unsaved_state(
            self._config.model, self._step.unsaved, self._callbacks.forgotten()
        )

    @contextmanager
    def _saving_on_failure(self) -> Iterator[None]:
        """Save the steps that are done when a callback, the dataset or the model fails."""
        try:
            yield
        except Exception as error:
            n_steps = self._step.count
            if self._is_whole and n_steps and not divergence(self._step, self._progress):
                self._save()
                if isinstance(error, ShardError):
                    raise ShardError(
                        f"{error}; {n_steps:,} steps are done and saved: --resume continues from "
                        "there where the dataset has the run's eras as they were"
                    ) from error
            if isinstance(error, tf.errors.OpError):
                failure = failure_of_model(error, self._config, self._run.checkpoint_dir)
                raise failure from error
            raise

    def _is_over(self) -> bool:
        progress, config = self._progress, self._config
        if progress.epochs_done >= config.epochs:
            return True
        return progress.stopped or progress.is_out_of_patience(config.patience)

    def _train_epoch(self, stream: Stream) -> None:
        """Train the remaining steps of the running epoch."""
        clock, n_steps = self._clock, len(self._batches)
        clock.steps = self._step.count - self._progress.epochs_done * n_steps
        self._begin_epoch()
        while True:
            # Before the step, not after the last one: it may be what an interruption left undone.
            if self._scoring.is_due(self._progress):
                self._score_step()
            if clock.steps == n_steps:
                break
            self._train_step(stream)
            if self._pace.is_due():
                self._report_step()
            if self._store.is_due(self._progress.epochs_done * n_steps + clock.steps):
                self._save()

    def _begin_epoch(self) -> None:
        """Set the learning rate and let callbacks know, unless an earlier process did."""
        config = self._config
        if not self._clock.begun:
            with self._callbacks.uninterrupted():
                if config.plateau_patience:
                    self._step.learning_rate = self._highest_rate()
                self._callbacks.epoch_begin(self._progress.epochs_done)
                self._clock.begun = True
        if not self._step.trains_all_it_should:
            raise ConfigError(
                f"callbacks: one of {listed(config.callbacks)} has changed which layers are "
                "trained, which a run can't: train them in a second run, from this one's model "
                f"(--set model={self._run.model_path}) or a function that builds it"
            )

    def _highest_rate(self) -> float:
        """Return the learning rate of the running epoch, apart from warm-up and schedule."""
        scores = [row[self._config.monitor] for row in self._progress.history]
        return learning_rate_after(scores, self._config)

    def _train_step(self, stream: Stream) -> None:
        clock = self._clock
        began, waited = time.perf_counter(), stream.wait_seconds
        batch: tuple[Float32, ...] = next(stream)
        step = self._progress.epochs_done * len(self._batches) + clock.steps
        if self._weighs_rows:
            batch = (*batch, self._batches.row_weights(step))
        rate = scheduled_rate(step, self._n_steps, self._highest_rate(), self._config)
        if rate is not None:
            self._step.learning_rate = rate
        with self._callbacks.uninterrupted():
            self._callbacks.batch_begin(clock.steps)
            self._is_whole = False
            self._step(*batch)
            self._is_whole = True
            del batch  # its buffer is needed again
            clock.seconds += time.perf_counter() - began
            clock.waited += stream.wait_seconds - waited
            clock.steps += 1
            self._callbacks.batch_end(clock.steps - 1, self._epoch_loss)

    def _report_step(self) -> None:
        if not math.isfinite(self._step.sums[0]):
            self._check_convergence()
        batch_size = self._batches.batch_size
        self._report.step(
            self._clock.steps,
            self._clock.steps * batch_size,
            self._epoch_loss(),
            self._clock.rows_per_second(batch_size),
            self._clock.data_wait,
        )

    def _epoch_loss(self) -> float:
        return self._progress.epoch_loss(self._step.sums)

    def _check_convergence(self) -> None:
        check_convergence(self._run, self._config, self._step, self._progress)

    def _score_step(self) -> None:
        """Score the model inside an epoch, and record that."""
        began = time.perf_counter()
        self._check_convergence()
        _, row = self._scoring.score(self._progress)
        step_scores = (*self._progress.step_scores, self._scoring.row_at_step(row))
        self._progress = replace(self._progress, step_scores=step_scores)
        self._clock.scored += time.perf_counter() - began
        with self._warnings.tolerating_a_full_disk("the scores of a step"):
            self._run.write_step_scores(self._progress.step_scores)
        self._report.scored(row)

    def _end_epoch(self) -> None:
        """Score the model, and record the epoch."""
        began = time.perf_counter()
        config, clock, before = self._config, self._clock, self._progress
        self._check_convergence()
        check_counted(self._run, config, self._step, before)
        scores, row = self._scoring.score(before)
        step_scores = before.step_scores
        if config.validation_steps:
            step_scores = (*step_scores, self._scoring.row_at_step(row))
        row |= {
            "seconds": clock.seconds + clock.scored + time.perf_counter() - began,
            "rows_per_second": clock.rows_per_second(self._batches.batch_size),
            "data_wait": clock.data_wait,
        }
        best = before.best
        if best is None or self._is_better(row, before.history[best.epoch - 1]):
            best = Best(before.epochs_done + 1, self._step.count, scores, self._step.weights())
        with self._callbacks.uninterrupted():
            self._callbacks.epoch_end(before.epochs_done, row)
            stopped = self._callbacks.stop_requested
            history = (*before.history, row)
            self._clock = Clock()  # first: an epoch that ends again does no harm
            self._progress = TrainingProgress(history, step_scores, best, *self._step.sums, stopped)
        with self._warnings.tolerating_a_full_disk("the epoch's results"):
            self._results.write_scores(self._progress)
            if best is not before.best:
                self._results.write_best(best)
        self._save()
        self._report.epoch(row)

    def _is_better(self, row: Row, than: Row) -> bool:
        """Return True if an epoch's model replaces the one that is kept so far."""
        monitor = self._config.monitor
        return self._setup.keeps_last_epoch or is_better(monitor, row[monitor], than[monitor])

    def _save(self) -> None:
        """Save a checkpoint; on a full disk continue without it."""
        self._check_convergence()  # it would push out one that is of use
        state = State(
            self._step.arrays(),
            self._progress,
            self._clock,
            self._callbacks.stop_requested,
            self._callbacks.memory() if self._memory is None else self._memory,
        )
        self._store.save(self._step.count, state)

    def _resume_from(self, state: State) -> None:
        """Restore a state and continue from it."""
        self._step.restore(state.arrays)
        self._progress, self._clock, self._memory = state.progress, state.clock, state.callbacks
        if best := self._progress.best:
            typed = replace(best, weights=self._step.typed(best.weights))
            self._progress = replace(self._progress, best=typed)
        self._callbacks.stop_requested = state.stop_requested
