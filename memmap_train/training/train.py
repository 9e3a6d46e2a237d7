"""`train`: a model trained on a dataset, in the folder of a run; and the dry run of it.

Takes a dataset and a configuration; writes the run's files; returns a `TrainReport` or the
`TrainPlan` of what would be trained.
"""

import os
import time
from dataclasses import replace
from typing import Any

from ..runs.checkpoints.checkpoints import newest_step
from ..runs.configuration.config import TrainConfig
from ..runs.configuration.ridge_keys import RIDGE
from ..runs.folds.selection import DatasetOrPath
from ..runs.found_run import found_run
from ..runs.lock import check_free
from ..runs.reports.plan import TrainPlan
from ..runs.reports.recorded_report import recorded_report
from ..runs.reports.report import TrainReport
from ..runs.reports.reporter import Reporter
from ..runs.reports.run_warnings import warn_about_versions
from ..runs.resume import acquire_run, begun_record, finished_result
from ..runs.run import Run
from ..system.paths import user_path
from .callbacks import make_callbacks
from .compiled import compile_model, make_model
from .loop import TrainingLoop
from .plan import plan_of
from .probe import probe
from .resolve import Setup, Shared, prepare
from .results import report_again
from .ridge.fit import fit_ridge
from .ridge.plans import timed_plans
from .startup import require_tensorflow
from .transformed_targets import hold_transformed_targets


def train_run(
    dataset: DatasetOrPath,
    run_dir: str | os.PathLike[str],
    config: TrainConfig | None = None,
    *,
    resume: bool = False,
    report: Reporter | None = None,
    shared: Shared | None = None,
    draws: bool = True,
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
        The default is the configuration of the run that is resumed, or else ``TrainConfig()``.
    resume : bool
        Carry on a run that is there: from its newest checkpoint, or from the beginning where it
        has none. `epochs` may be raised, and `memory`, `checkpoint_*`, `tensorboard` and
        `baseline` changed; all else must be as it was. A run that is finished stays as it is.
    report : Reporter, optional
    shared : Shared, optional
        What the run of folds or seeds has decided, if this run is a part of one.
    draws : bool
        Whether to draw the picture of a ridge regression's scores.

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
        Raised after a checkpoint was saved: resuming continues with the next step.

    Notes
    -----
    With a deterministic configuration (the default on a CPU) equal runs on one machine end in equal
    bits, interrupted or not. For this, Keras's global seed is set, and TensorFlow's op determinism
    is switched on for the process.
    """
    report = report or Reporter()
    run, setup, warning = set_up_run(dataset, run_dir, config, shared, resume=resume)
    if run:
        warn_about_versions(run, setup.record, report)
        result = finished_result(run, setup.record)
        if result is not None:
            return report_again(run, result, report) if draws else recorded_report(run)
    check_free(user_path(run_dir))
    # Before a new run has a folder: what the user brings may be refused.
    compiled = None
    if setup.config.model == RIDGE:
        plan = plan_of(setup, make_model(setup), 0, 0)
    else:
        compiled, callbacks = compile_model(setup), make_callbacks(setup.config.callbacks)
    transformed = hold_transformed_targets(setup, user_path(run_dir), report)
    record = setup.record
    if run is None or run.is_untrained():
        record = begun_record(record, setup.dataset, [setup.fold])
    with acquire_run(user_path(run_dir), record, resume=run is not None) as run:
        if warning:
            report.warning(warning)
        if setup.initial is not None:
            setup.initial.keep(run)
        if compiled is None:
            report.started(plan)
            return fit_ridge(run, setup, transformed, report, draws=draws)
        return TrainingLoop(run, setup, *compiled, callbacks, report).finish()


def dry_run(
    dataset: DatasetOrPath,
    run_dir: str | os.PathLike[str],
    config: TrainConfig | None = None,
    *,
    resume: bool = False,
) -> TrainPlan:
    """Check what `train` checks before the first step, and measure what it costs; write nothing.

    Parameters
    ----------
    dataset, run_dir, config, resume
        See `train_run`.

    Returns
    -------
    TrainPlan
        With its `cost`, unless the run is finished or the model a ridge regression, and with
        `ridge_seconds`, if one is fitted. If a run is resumed, `first_step` is that of its newest
        checkpoint, which isn't read.

    Raises
    ------
    RunError, ConfigError, DatasetError, FoldError, BatchError
        See `train_run`.
    """
    run, setup, _ = set_up_run(dataset, run_dir, config, None, resume=resume)
    present = Run(user_path(run_dir), setup.record)
    if run is None or finished_result(run, setup.record) is None:
        check_free(present.path)
    if setup.config.model == RIDGE:
        plan = checked_plan(run, setup, make_model(setup))
        return plan if plan.already_finished else timed_plans([plan], present)[0]
    began = time.perf_counter()
    step, predictor = compile_model(setup)
    compile_seconds = time.perf_counter() - began
    plan = checked_plan(run, setup, step.trained.graph)
    if not plan.already_finished:
        plan = replace(plan, cost=probe(setup, step, predictor, plan, compile_seconds))
    return timed_plans([plan], present)[0]


def checked_plan(run: Run | None, setup: Setup, model: Any) -> TrainPlan:
    """Return the plan of a run that begins or is resumed, after the remaining checks."""
    is_finished = run is not None and finished_result(run, setup.record) is not None
    make_callbacks(setup.config.callbacks)
    first_step = newest_step(run.checkpoint_dir) if run else 0
    plan = plan_of(setup, model, first_step, first_step // len(setup.batches))
    return replace(plan, already_finished=is_finished)


def set_up_run(
    dataset: DatasetOrPath,
    run_dir: str | os.PathLike[str],
    config: TrainConfig | None,
    shared: Shared | None,
    *,
    resume: bool,
) -> tuple[Run | None, Setup, str | None]:
    """Return the run to resume, if there is one, what is to be trained, and a warning.

    Raises
    ------
    RunError, ConfigError, DatasetError, FoldError, BatchError
        See `train_run`.
    """
    require_tensorflow()
    is_part = shared is not None
    run, found, warning = found_run(dataset, run_dir, resume=resume, is_part=is_part)
    return run, prepare(found, run, config, shared), warning
