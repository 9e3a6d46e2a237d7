"""`train_sweep`: the trials of a sweep, trained one after another, each in a folder of its own.

Takes a dataset, what is swept and a configuration; writes the folder of a sweep (see
`sweep_record`). All trials read the one dataset. They are decided and checked before the first one
begins; one that fails later is recorded with the reason, and the sweep goes on.
"""

import gc
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import tensorflow as tf

from ...errors import BatchError, ConfigError, FoldError, ModelError
from ...runs.baseline import wants_baseline
from ...runs.configuration.config import TrainConfig
from ...runs.configuration.object_reference import describe_error
from ...runs.folds.selection import DatasetOrPath, reopened
from ...runs.lock import holding
from ...runs.reports.reporter import Reporter
from ...runs.reports.result_text import AnyReport
from ...runs.run import read_run
from ...runs.sweeps.chart import draw_sweep
from ...runs.sweeps.record import SweepRecord, Trial, find_sweep, state_of_sweep, write_sweep
from ...system.paths import user_path
from ..any_run import train_any
from ..baseline import add_baseline
from .setup import dataset_for, resolve_sweep, stays_failed


def train_sweep(
    dataset: DatasetOrPath,
    sweep_dir: str | os.PathLike[str],
    swept: Mapping[str, Any] | None = None,
    config: TrainConfig | None = None,
    *,
    n_runs: int | None = None,
    folds: int | Literal["numerai"] | None = None,
    rolling_eras: int | None = None,
    seeds: int | None = None,
    resume: bool = False,
    report: Reporter | None = None,
) -> SweepRecord:
    """Train the trials of a sweep.

    Parameters
    ----------
    dataset : Dataset or path
        A selection of eras, such as ``dataset.select(eras)``, restricts training and scores to
        these eras.
    sweep_dir : path
        A new or an empty folder; with `resume` also that of a sweep.
    swept : mapping, optional
        What is swept; see `sweep_space`. By default what the sweep that is resumed has.
    config : TrainConfig, optional
        What all trials share. By default that of the sweep that is resumed, or ``TrainConfig()``.
    n_runs : int, optional
        The number of random draws, without which all combinations are trained.
    folds, rolling_eras
        See `train_folds`: each trial is a run of folds.
    seeds
        See `train_seeds`: each trial is a run of seeds.
    resume : bool
        Resume a sweep: finished and failed trials stay as they are, the unfinished one resumes, and
        the others begin. A failed one whose folder was removed begins again. Values may be added.
    report : Reporter, optional

    Returns
    -------
    SweepRecord
        With the reasons of the trials that have failed.

    Raises
    ------
    RunError
        The folder is taken, trials are no longer asked for, or something can't be written.
    ConfigError, DatasetError, FoldError, BatchError
        What is swept isn't sound, or a trial doesn't suit the dataset: it is named, and nothing
        was trained.
    KeyboardInterrupt
        Raised after a checkpoint of the running trial was saved.
    """
    report = report or Reporter()
    path = user_path(sweep_dir)
    asked = (dataset, path, swept, config, n_runs, folds, rolling_eras, seeds)
    before = state_of_sweep(path)
    resolved = resolve_sweep(*asked, resume=resume)
    with holding(path):
        find_sweep(path, resume=resume)  # another process may have begun one
        if state_of_sweep(path) != before:
            resolved = resolve_sweep(*asked, resume=resume, is_held=True)
        record, n_trials = resolved.record, len(resolved.record.trials)
        write_sweep(path, record)
        if (line := resolved.equal_line()) is not None:
            report.warning(f"{path}: {line}")
        for number, trial in enumerate(record.trials, start=1):
            if stays_failed(path, trial):
                report.trial_done(number, n_trials, trial.name, f"has failed: {trial.failure}")
                continue
            report.trial(number, n_trials, trial.name)
            # An update may have come while the trial before was trained.
            present = dataset_for(path, trial, reopened(resolved.dataset), record)
            failure = result = None
            try:
                result = _train_trial(path, trial, present, record, report)
            except (ConfigError, FoldError, BatchError, ModelError) as error:
                failure = str(error).removeprefix(f"{path / trial.name}: ")
            except (MemoryError, tf.errors.ResourceExhaustedError) as error:
                failure = f"it is too large for the memory: {describe_error(error)}"
            gc.collect()  # a model and its compiled step refer to each other
            if result is not None and wants_baseline(record.config_of(trial)):
                # Trials on the same eras and features have the same one, which is copied.
                result = add_baseline(read_run(path / trial.name), present, result, report)
            if result is not None and result.already_finished:
                report.trial_done(number, n_trials, trial.name, "already finished")
            if failure != trial.failure:
                record = record.with_failure(trial.name, failure)
                write_sweep(path, record)
            if failure is not None:
                report.trial_done(number, n_trials, trial.name, f"failed: {failure}")
        draw_sweep(path, warn=report.warning)
    return record


def _train_trial(
    path: Path, trial: Trial, dataset: DatasetOrPath, record: SweepRecord, report: Reporter
) -> AnyReport:
    """Train a trial, or resume it."""
    return train_any(
        dataset,
        path / trial.name,
        record.config_of(trial),
        seeds=record.seeds_of(trial),
        folds=record.folds,
        rolling_eras=record.rolling_eras,
        resume=True,
        report=report,
    )
