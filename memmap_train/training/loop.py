"""`train`: one loop of our own around a compiled step, and the folder of the run.

In come a dataset and a configuration; out come the run's files and a `TrainReport`. What happens on
the way is told to a `Reporter`; nothing is printed here.

The arrays of the step and the progress (see `state`) are whole at any moment, so a checkpoint can
be taken wherever the program is stopped.
"""

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ..errors import ConfigError, RunError, ShardError, listed
from ..loading.placement import is_past_cache
from ..loading.stream import Stream
from ..runs.chart import draw_run
from ..runs.checkpoints import load_newest, newest_step, save_checkpoint
from ..runs.config import TrainConfig
from ..runs.files import replacing
from ..runs.folds import Fold
from ..runs.lock import check_free
from ..runs.metrics import EraScores
from ..runs.monitor import is_better, learning_rate_after
from ..runs.object_reference import blaming, described
from ..runs.record import RunRecord
from ..runs.report import Reporter, TrainPlan, TrainReport
from ..runs.resume import (
    begun_record,
    check_outside,
    check_same_dataset,
    finished_result,
    identity_of,
    taking_up,
)
from ..runs.run import STEP_SCORE_COLUMNS, Run, find_run
from ..runs.selection import DatasetOrPath, opened_for
from ..runs.state import Best, Clock, Progress, State, from_checkpoint, to_checkpoint
from ..system.paths import user_path
from .callbacks import Callbacks, Memory, TensorBoardLog, make_callbacks
from .model import brings_model, require_tensorflow
from .predictor import Predictor
from .resolve import Setup, Start, make_model, plan_of, prepare
from .step import TrainStep
from .validation import Labels, score_eras

_SECONDS_BETWEEN_REPORTS = 0.1
_SCORES = (
    "corr_mean",
    "corr_std",
    "corr_sharpe",
    "max_drawdown",
    "corr_positive",
    "pearson_mean",
)


@dataclass(slots=True)
class _Pace:
    """Says yes at most ten times a second."""

    last: float = -math.inf

    def is_due(self) -> bool:
        now = time.monotonic()
        if now - self.last < _SECONDS_BETWEEN_REPORTS:
            return False
        self.last = now
        return True


def train(
    dataset: DatasetOrPath,
    run_dir: str | os.PathLike[str],
    config: TrainConfig | None = None,
    *,
    resume: bool = False,
    report: Reporter | None = None,
    fold: Fold | None = None,
    start: Start | None = None,
) -> TrainReport:
    """Train a model on a dataset and write the run's folder.

    Parameters
    ----------
    dataset : Dataset or path
        A selection of eras, such as ``dataset.select(eras)``, restricts training and scores to
        these eras; a run of one is resumed with the same eras, or with the path.
    run_dir : path
        A new or an empty folder; with `resume` also that of a run.
    config : TrainConfig, optional
        By default that of the run which is resumed, or else the defaults.
    resume : bool
        Carry on a run that is there: from its newest checkpoint, or from the beginning where it
        has none. `epochs` may be raised, and `memory`, `checkpoint_*` and `tensorboard` changed;
        all else must be as it was. A run that is finished stays as it is.
    report : Reporter, optional
    fold : Fold, optional
        One of several (see `walk_forward`); by default what the configuration asks for.
    start : Start, optional
        The saved model that it begins with, where the run of folds keeps that.

    Returns
    -------
    TrainReport

    Raises
    ------
    RunError
        The folder is taken, the dataset or the configuration has changed, or the run can't be
        written.
    ConfigError, DatasetError, FoldError, BatchError
        The configuration doesn't suit the dataset, or the loss is no number any more.
    KeyboardInterrupt
        After a checkpoint was saved: resuming goes on with the step that would have been next.

    Notes
    -----
    With a deterministic configuration (the default on a CPU) equal runs on one machine end in equal
    bits, interrupted or not. For this, Keras's global seed is set, and TensorFlow's op determinism
    is switched on for the process.
    """
    report = report or Reporter()
    run, setup, warning = _set_up(dataset, run_dir, config, fold, start, resume=resume)
    if run:
        _tell_versions(run, setup.record, report)
        result = finished_result(run, setup.record)
        if result is not None:
            draw_missing(run, result, report)
            return report_again(run, result)
    # Before a new run has a folder: what the user brings may be refused.
    compiled, callbacks = make_step(setup), make_callbacks(setup.config.callbacks)
    record = setup.record
    if run is None or run.is_untrained():
        record = begun_record(record, setup.dataset, [setup.fold])
    with taking_up(user_path(run_dir), record, resume=run is not None) as run:
        if warning:
            report.warning(warning)
        if setup.start is not None:
            setup.start.keep(run)
        return _Training(run, setup, *compiled, callbacks, report).finish()


def rehearse(
    dataset: DatasetOrPath,
    run_dir: str | os.PathLike[str],
    config: TrainConfig | None = None,
    *,
    resume: bool = False,
) -> TrainPlan:
    """Check what `train` checks before it compiles the first step; write nothing.

    Parameters
    ----------
    dataset, run_dir, config, resume
        As for `train`.

    Returns
    -------
    TrainPlan
        Of a run to resume, `first_step` is that of its newest checkpoint, which isn't read.

    Raises
    ------
    RunError, ConfigError, DatasetError, FoldError, BatchError
        As for `train`.
    """
    run, setup, _ = _set_up(dataset, run_dir, config, None, None, resume=resume)
    plan = rehearsed(run, setup, make_step(setup)[0].model)
    if not plan.already_finished:
        check_free(user_path(run_dir))
    return plan


def rehearsed(run: Run | None, setup: Setup, model: Any) -> TrainPlan:
    """Return the plan of a run that begins or goes on, after checking what is left to check."""
    is_finished = run is not None and finished_result(run, setup.record) is not None
    make_callbacks(setup.config.callbacks)
    first_step = newest_step(run.checkpoint_dir) if run else 0
    plan = plan_of(setup, model, first_step, first_step // len(setup.batches))
    return replace(plan, already_finished=is_finished)


def _set_up(
    dataset: DatasetOrPath,
    run_dir: str | os.PathLike[str],
    config: TrainConfig | None,
    fold: Fold | None,
    start: Start | None,
    *,
    resume: bool,
) -> tuple[Run | None, Setup, str | None]:
    """Return the run to resume, if there is one, what is to be trained, and a warning."""
    require_tensorflow()
    check_outside(user_path(run_dir))
    run = find_run(user_path(run_dir), resume=resume)
    if run and run.folds:
        raise RunError(
            f"{run.path}: it is a run of {len(run.folds)} folds: resume it with --folds "
            f"{run.record.asked_folds} --resume, or choose another --run"
        )
    found, warning = opened_for(run, dataset), None
    if run and not run.is_untrained():
        warning = check_same_dataset(run, found)
    return run, prepare(found, run, config, fold, start), warning


def make_step(setup: Setup) -> tuple[TrainStep, Predictor]:
    """Make the model, and the compiled functions that train it and predict with it.

    Raises
    ------
    ConfigError
        The user's model can't be made, or fails on rows of this dataset's shapes.
    """
    config, model = setup.config, make_model(setup)
    n_features, n_targets = len(setup.batches.feature_names), len(config.targets)
    if not brings_model(config):
        return (
            TrainStep(model, n_features, n_targets, config),
            Predictor(model, config.fill_missing),
        )
    with blaming(f"model: {config.model} fails in training"):
        step = TrainStep(model, n_features, n_targets, config)
    with blaming(f"model: {config.model} fails in prediction"):
        return step, Predictor(model, config.fill_missing)


def draw_missing(run: Run, result: Mapping[str, Any], report: Reporter) -> None:
    """Draw the picture of a finished run where it couldn't be drawn before."""
    if not run.chart_path.exists():
        draw_run(
            run,
            best_epoch=result.get("best_epoch"),
            best_possible=result.get("best_possible"),
            warn=report.warning,
        )


def report_again(run: Run, result: Mapping[str, Any]) -> TrainReport:
    """Return the report that a finished run recorded."""
    try:
        return TrainReport(**{**recorded_scores(run, result), "already_finished": True})
    except (KeyError, TypeError) as error:
        raise RunError(f"{run.path}: its state.json is damaged: {error}; remove it") from None


def recorded_scores(run: Run, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result as it was before it was recorded, with the run's present place."""
    undefined = {name: math.nan for name in _SCORES if result[name] is None}
    chart_path = str(run.chart_path) if run.chart_path.exists() else None
    return {**result, **undefined, "run_dir": str(run.path), "chart_path": chart_path}


def _tell_versions(run: Run, record: RunRecord, report: Reporter) -> None:
    """Warn where a run is resumed by other software, or on other cores, than it began with."""
    changed = [
        f"{key.removesuffix('_version').replace('_', ' ')} {old} → {record.versions[key]}"
        for key, old in run.record.versions.items()  # some keys came later
        if old != record.versions[key]
    ]
    if changed:
        report.warning(
            f"{run.path}: resumed with other versions or threads than it began with: "
            f"{', '.join(changed)}; the results may differ from those of an uninterrupted run"
        )


def _is_float(array: npt.NDArray[Any]) -> bool:
    """Tell whether there are NaNs of this dtype; to numpy, bfloat16 is a kind of its own."""
    return array.dtype.kind in "fV"


class _Training:
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
        self._run, self._setup, self._report = run, setup, report
        self._config, self._batches = setup.config, setup.batches
        self._step, self._predictor, self._model = step, predictor, step.model
        config = self._config
        # First of all: an update of the dataset may exchange files of targets at any time.
        self._validation = setup.dataset.select(setup.fold.validation)
        self._labels = Labels(self._validation, config.targets)
        self._batches.reader.map_targets()
        self._callbacks = Callbacks(
            dict(zip(config.callbacks, callbacks, strict=True)),
            self._model,
            self._step.optimizer,
            # Not verbose: this package says how far it is, and stdout is for results.
            {"epochs": config.epochs, "steps": len(self._batches), "verbose": 0},
            # Scores of eras that are to be predicted may have no part in making their model.
            shows_scores=not setup.keeps_last_epoch,
            log=TensorBoardLog(run.tensorboard_dir, report.warning) if config.tensorboard else None,
        )
        # What doesn't fit beside the training eras would push them out, epoch after epoch.
        together = setup.dataset.select([*setup.fold.train, *setup.fold.validation])
        self._past_cache = is_past_cache(together)
        self._progress, self._clock = Progress(), Clock()
        self._memory: Memory | None = []  # of callbacks; None once they have it
        self._resumed: State | None = None  # what a checkpoint held, until callbacks know
        self._pace = _Pace()
        self._is_whole = True  # the state: a step that failed may have changed a part of it
        self._said: set[str] = set()  # of warnings that would come again and again
        self._saved_at = time.monotonic()
        self._restore()

    def finish(self) -> TrainReport:
        """Train until the last epoch or until patience ends; write the results."""
        plan = plan_of(self._setup, self._model, self._step.count, self._progress.epochs_done)
        self._report.started(plan)
        try:
            # One stream for all epochs: the next one's first rows are read during validation.
            first_step, end = self._step.count, self._config.epochs * len(self._batches)
            with self._batches.stream(first_step, max(end, first_step)) as stream:
                with self._callbacks.whole():
                    self._callbacks.train_begin(self._memory or [])
                    if self._resumed is not None:
                        self._take_up(self._resumed)
                    self._memory = self._resumed = None
                if self._step.count != first_step:
                    raise ConfigError(
                        f"callbacks: one of {listed(self._config.callbacks)} has moved the step "
                        f"from {first_step:,} to {self._step.count:,} when training began, which "
                        "a run can't: begin a new one without it"
                    )
                self._tell_unsaved()
                try:
                    while not self._is_over():
                        self._train_epoch(stream)
                        self._end_epoch()
                except Exception as error:  # a callback, a dataset that is gone, a model
                    if self._is_whole and self._step.count and not self._divergence():
                        self._save()  # the steps stay done
                        if isinstance(error, ShardError):
                            raise ShardError(
                                f"{error}; {self._step.count:,} steps are done and saved: --resume "
                                "goes on from there where the dataset has the run's eras as they "
                                "were"
                            ) from error
                    if isinstance(error, tf.errors.OpError):
                        raise self._failure(error) from error
                    raise
                self._callbacks.train_end(self._progress.history[-1])
        except KeyboardInterrupt:
            self._save()
            raise
        return self._conclude()

    def _failure(self, error: "tf.errors.OpError") -> Exception:
        """Return the error of one line for a model that fails while it computes."""
        config, is_short = self._config, isinstance(error, tf.errors.ResourceExhaustedError)
        if not (is_short or brings_model(config)):
            found: Exception = error  # of our own models, which is a bug
            return found
        kept = newest_step(self._run.checkpoint_dir)
        advice = f"lower batch_size (now {config.batch_size:,}), or " if is_short else ""
        advice += "change the model"
        if kept:
            advice += f"; --resume goes on after step {kept:,}, the last that was saved"
        return ConfigError(f"model: {config.model} fails: {described(error)}; {advice}")

    def _tell_unsaved(self) -> None:
        """Warn of what a checkpoint can't hold."""
        beyond = "a resumed run won't end in the bits of an uninterrupted one"
        if self._step.unsaved:
            self._report.warning(
                f"{self._config.model}: the model draws by {listed(self._step.unsaved)}, whose "
                f"state no checkpoint can hold: {beyond}; draw by keras.random with a "
                "keras.random.SeedGenerator"
            )
        if forgotten := self._callbacks.forgotten():
            self._report.warning(
                f"callbacks: {listed(forgotten)}: no plain attribute (a number, text, an array, or "
                f"lists of such), so no checkpoint holds it: where it matters, {beyond}"
            )

    def _is_over(self) -> bool:
        progress, config = self._progress, self._config
        if progress.epochs_done >= config.epochs:
            return True
        return progress.stopped or progress.is_out_of_patience(config.patience)

    def _train_epoch(self, stream: Stream) -> None:
        """Do what is left of the running epoch's steps."""
        config, clock, n_steps = self._config, self._clock, len(self._batches)
        clock.steps = self._step.count - self._progress.epochs_done * n_steps
        if not clock.begun:
            with self._callbacks.whole():
                if config.plateau_patience:
                    scores = [row[config.monitor] for row in self._progress.history]
                    self._step.learning_rate = learning_rate_after(scores, config)
                self._callbacks.epoch_begin(self._progress.epochs_done)
                clock.begun = True
        if not self._step.trains_all_it_should:
            raise ConfigError(
                f"callbacks: one of {listed(config.callbacks)} has changed which layers are "
                "trained, which a run can't: train them in a second run, from this one's model "
                f"(--set model={self._run.model_path}) or a function that builds it"
            )
        while True:
            # Before the step, not after the last one: it may be what an interruption left undone.
            if self._is_scoring_due():
                self._score_step()
            if clock.steps == n_steps:
                break
            began, waited = time.perf_counter(), stream.wait_seconds
            batch = next(stream)
            with self._callbacks.whole():
                self._callbacks.batch_begin(clock.steps)
                self._is_whole = False
                self._step(*batch)
                self._is_whole = True
                del batch  # its buffer is needed again
                clock.seconds += time.perf_counter() - began
                clock.waited += stream.wait_seconds - waited
                clock.steps += 1
                self._callbacks.batch_end(clock.steps - 1, self._epoch_loss)
            if self._pace.is_due():
                if not math.isfinite(self._step.sums[0]):
                    self._check_convergence()
                self._report.step(
                    clock.steps,
                    clock.steps * config.batch_size,
                    self._epoch_loss(),
                    clock.rows_per_second(config.batch_size),
                    clock.data_wait,
                )
            if self._is_checkpoint_due():
                self._save()

    def _epoch_loss(self) -> float:
        loss_sum, labels = self._step.sums
        labels -= self._progress.labels
        return (loss_sum - self._progress.loss_sum) / labels if labels else math.nan

    def _divergence(self) -> str | None:
        """Return what is no number any more, and never will be again; None if all is well."""
        loss_sum, _ = self._step.sums
        if not math.isfinite(loss_sum):
            return f"the loss is {loss_sum - self._progress.loss_sum}"
        if any(np.isnan(weight).any() for weight in self._step.weights() if _is_float(weight)):
            return "there are weights that are no numbers"
        return None

    def _check_convergence(self) -> None:
        """Refuse to go on where training has diverged: nothing that follows is worth keeping."""
        found = self._divergence()
        if found is None:
            return
        config, step = self._config, self._step.count
        decay = f" or weight_decay (now {config.weight_decay})" if config.weight_decay else ""
        raise ConfigError(
            f"{self._run.path}: {found} after {step:,} steps, in epoch "
            f"{self._progress.epochs_done + 1}: lower learning_rate (now "
            f"{config.learning_rate}){decay}, and begin a new run; what was saved before is kept"
        )

    def _is_scoring_due(self) -> bool:
        every, done = self._config.validation_steps, self._step.count
        if not every or done % every or done % len(self._batches) == 0:
            return False
        known = self._progress.step_scores
        return not known or known[-1]["step"] != done

    def _score_step(self) -> None:
        """Score the model inside an epoch, and record that."""
        began = time.perf_counter()
        _, row = self._score()
        self._progress = replace(
            self._progress, step_scores=(*self._progress.step_scores, self._at_step(row))
        )
        self._clock.scored += time.perf_counter() - began
        with self._surviving_a_full_disk("the scores of a step"):
            self._run.write_step_scores(self._progress.step_scores)
        self._report.scored(row)

    def _at_step(self, row: Mapping[str, float]) -> Mapping[str, float]:
        """Return a row of scores with the step that it belongs to."""
        known = {"step": self._step.count, **row}
        return {name: known[name] for name in STEP_SCORE_COLUMNS}

    def _score(self) -> tuple[EraScores, dict[str, float]]:
        """Score the model as it is: every era, and what that comes to with the loss so far."""
        self._check_convergence()
        loss, epoch = self._epoch_loss(), self._progress.epochs_done + 1
        scores = score_eras(
            self._predictor,
            self._validation,
            self._batches.feature_names,
            self._labels,
            past_cache=self._past_cache,
            progress=self._tell_validation,
        )
        self._tell_undefined(scores)
        corr, plain = scores.corr_summary(), scores.pearson_summary()
        return scores, {
            "epoch": epoch,
            "loss": loss,
            "val_corr_mean": corr.mean,
            "val_corr_std": corr.std,
            "val_corr_sharpe": corr.sharpe,
            "val_max_drawdown": corr.max_drawdown,
            "val_corr_positive": corr.positive,
            "val_pearson_mean": plain.mean,
            "val_pearson_std": plain.std,
            "val_pearson_sharpe": plain.sharpe,
            "val_pearson_max_drawdown": plain.max_drawdown,
            "val_pearson_positive": plain.positive,
            "learning_rate": self._step.learning_rate,
        }

    def _tell_undefined(self, scores: EraScores) -> None:
        """Warn, once for each reason, of eras that have no score."""
        n_eras = len(self._validation.eras)
        for reason, n_undefined in scores.undefined.items():
            if reason not in self._said:
                of_model = reason.startswith("predictions")
                self._report.warning(
                    f"{self._run.path}: {n_undefined} of {n_eras} validation eras have no score: "
                    f"{reason}; "
                    + ("try another learning_rate" if of_model else "choose other validation_eras")
                )
            self._said.add(reason)

    def _end_epoch(self) -> None:
        """Score the model, and record the epoch."""
        began = time.perf_counter()
        config, clock, before = self._config, self._clock, self._progress
        scores, row = self._score()
        step_scores = before.step_scores
        if config.validation_steps:
            step_scores = (*step_scores, self._at_step(row))
        row |= {
            "seconds": clock.seconds + clock.scored + time.perf_counter() - began,
            "rows_per_second": clock.rows_per_second(config.batch_size),
            "data_wait": clock.data_wait,
        }
        best = before.best
        if (
            best is None
            or self._setup.keeps_last_epoch
            or is_better(
                config.monitor, row[config.monitor], before.history[best.epoch - 1][config.monitor]
            )
        ):
            best = Best(before.epochs_done + 1, self._step.count, scores, self._step.weights())
        is_best = best is not before.best
        with self._callbacks.whole():
            self._callbacks.epoch_end(before.epochs_done, row)
            stopped = self._callbacks.stop_requested
            history = (*before.history, row)
            self._clock = Clock()  # first: an epoch that ends again does no harm
            self._progress = Progress(history, step_scores, best, *self._step.sums, stopped)
        with self._surviving_a_full_disk("the epoch's results"):
            self._write_scores()
            if is_best:
                self._write_best(best)
        self._save()
        self._report.epoch(row)

    def _conclude(self) -> TrainReport:
        """Write the results for good: files that couldn't be written before may be now."""
        run, progress, best = self._run, self._progress, self._progress.best
        assert best is not None  # an epoch at least is done
        best_possible = self._setup.best_possible
        corr, plain = best.scores.corr_summary(), best.scores.pearson_summary()
        try:
            self._write_scores()
            self._write_best(best)
            chart_path = draw_run(
                run,
                best_epoch=best.epoch,
                best_possible=best_possible,
                warn=self._report.warning,
            )
            result = TrainReport(
                run_dir=str(run.path),
                n_epochs=progress.epochs_done,
                n_steps=self._step.count,
                stopped_early=progress.stopped
                or progress.is_out_of_patience(self._config.patience),
                best_epoch=best.epoch,
                corr_mean=corr.mean,
                corr_std=corr.std,
                corr_sharpe=corr.sharpe,
                max_drawdown=corr.max_drawdown,
                corr_positive=corr.positive,
                pearson_mean=plain.mean,
                best_possible=best_possible,
                chart_path=None if chart_path is None else str(chart_path),
            )
            run.finish(asdict(result))
        except OSError as error:
            kept = newest_step(run.checkpoint_dir)
            done = "training itself is done"
            if kept != self._step.count:
                done = f"the newest checkpoint is of step {kept:,} of {self._step.count:,}"
            raise RunError(
                f"{run.path}: the results can't be written: {error.strerror}; {done}: free "
                "some disk space, and add --resume to go on from there"
            ) from error
        return result

    def _write_scores(self) -> None:
        """Write the scores of all epochs, and those inside of them."""
        self._run.write_history(self._progress.history)
        if self._config.validation_steps:
            self._run.write_step_scores(self._progress.step_scores)

    def _write_best(self, best: Best) -> None:
        """Write the best epoch's scores and model."""
        targets = self._config.targets
        self._run.write_era_scores(
            (era, target, float(corr), float(plain))
            for era, corrs, plains in zip(
                self._validation.eras, best.scores.corr, best.scores.pearson, strict=True
            )
            for target, corr, plain in zip(targets, corrs, plains, strict=True)
        )
        # They are the same at an epoch's end, unless a callback has changed them since. (A clone
        # would do as well, but not every user's model can be cloned.)
        kept = self._step.weights()
        self._model.set_weights(best.weights)
        try:
            with replacing(self._run.model_path) as temporary:
                self._model.save(temporary)
        finally:
            self._model.set_weights(kept)

    def _tell_validation(self, rows_done: int, n_rows: int) -> None:
        if self._pace.is_due():
            self._report.validation(rows_done, n_rows)

    def _is_checkpoint_due(self) -> bool:
        config = self._config
        step = self._progress.epochs_done * len(self._batches) + self._clock.steps
        if config.checkpoint_steps and step % config.checkpoint_steps == 0:
            return True
        minutes = (time.monotonic() - self._saved_at) / 60
        return 0 < config.checkpoint_minutes <= minutes

    def _save(self) -> None:
        """Save a checkpoint; on a full disk go on without it."""
        self._check_convergence()  # it would push out one that is of use
        best = self._progress.best
        state = State(
            self._step.arrays(),
            self._progress,
            self._clock,
            self._callbacks.stop_requested,
            self._callbacks.memory() if self._memory is None else self._memory,
        )
        checkpoint = to_checkpoint(self._step.count, state, identity_of(self._run))
        with self._surviving_a_full_disk("a checkpoint"):
            best_step = best.step if best else None
            save_checkpoint(self._run.checkpoint_dir, checkpoint, best_step=best_step)
        self._saved_at = time.monotonic()

    def _restore(self) -> None:
        """Take up the newest checkpoint, if there is one."""
        checkpoint = load_newest(
            self._run.checkpoint_dir, identity_of(self._run), self._report.warning
        )
        if checkpoint is None:
            return
        self._resumed = from_checkpoint(checkpoint)
        self._take_up(self._resumed)

    def _take_up(self, state: State) -> None:
        """Go on from a state."""
        self._step.restore(state.arrays)
        self._progress, self._clock, self._memory = state.progress, state.clock, state.callbacks
        if best := self._progress.best:
            typed = replace(best, weights=self._step.typed(best.weights))
            self._progress = replace(self._progress, best=typed)
        self._callbacks.stop_requested = state.stop_requested

    @contextmanager
    def _surviving_a_full_disk(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            text = (
                f"{self._run.path}: {what} couldn't be written ({error.strerror}); training goes "
                "on, and what was written before is kept"
            )
            if text not in self._said:
                self._report.warning(text)
            self._said.add(text)
