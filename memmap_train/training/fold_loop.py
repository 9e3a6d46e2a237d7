"""`train_folds`: several folds trained one after another, and the scores of all of them together.

Takes a dataset and a configuration; writes the folder of a run of folds, in which each fold is
an ordinary run, and a `FoldsReport`. All folds read the one dataset; nothing of it is copied.

The eras that a fold predicts have no part in making its model: every fold trains for all epochs and
keeps the last one's model. Kept by the best score, or stopped by it, the model would have been
chosen by the very eras that it is scored on.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..dataset.dataset import Dataset
from ..errors import ConfigError, MemmapTrainError, RunError
from ..runs.chart import draw_run
from ..runs.config import TrainConfig
from ..runs.folds import Fold, walk_forward
from ..runs.lock import check_free
from ..runs.record import RunRecord, fold_record
from ..runs.recorded_report import recorded_folds_report, recorded_summaries
from ..runs.report import FoldsReport, Reporter, TrainPlan, TrainReport
from ..runs.resume import (
    acquire_run,
    begun_record,
    check_outside,
    check_same_dataset,
    dataset_record,
    finished_result,
)
from ..runs.ridge_keys import RIDGE
from ..runs.run import Run, find_run, read_run
from ..runs.score_references import check_reference
from ..runs.selection import DatasetOrPath, opened_for, reopened
from ..system.paths import user_path
from .callbacks import make_callbacks
from .compiled import compile_model, make_model
from .initial_model import InitialModel
from .plan import with_costs
from .probe import probed
from .resolve import Setup, best_possible_score, prepare
from .results import draw_missing
from .startup import require_tensorflow
from .train import checked_plan, train_run

# Of a fold's own record; a run of folds has those of all its folds.
_OF_ONE_FOLD = (
    "train_eras",
    "embargoed_eras",
    "eras_without_benchmark",
    "asked_validation_eras",
)


def train_folds(
    dataset: DatasetOrPath,
    run_dir: str | os.PathLike[str],
    config: TrainConfig | None = None,
    *,
    folds: int | Literal["numerai"],
    rolling_eras: int | None = None,
    resume: bool = False,
    report: Reporter | None = None,
) -> FoldsReport:
    """Train the folds of a dataset that walk forward in time, and score them together.

    Parameters
    ----------
    dataset : Dataset or path
        A selection of eras, such as ``dataset.select(eras)``, restricts training and scores to
        these eras; a run of one is resumed with the same eras, or with the path.
    run_dir : path
        A new or an empty folder; with `resume` also that of a run of folds.
    config : TrainConfig, optional
        The default is the configuration of the run that is resumed, or else ``TrainConfig()``.
        `validation_eras` must not be set, and `patience` is ignored.
    folds : int or "numerai"
        Number of folds; see `folds.walk_forward`.
    rolling_eras : int, optional
        Number of training eras of each fold; see `folds.walk_forward`.
    resume : bool
        Resume an existing run of folds: finished folds stay as they are, the unfinished one
        resumes, and the others begin.
    report : Reporter, optional

    Returns
    -------
    FoldsReport

    Raises
    ------
    RunError, ConfigError, DatasetError, FoldError, BatchError, KeyboardInterrupt
        The same errors as `train`.
    """
    report = report or Reporter()
    resolved = _set_up(dataset, run_dir, config, folds, rolling_eras, resume=resume)
    run, record = resolved.run, resolved.record
    result = finished_result(run, record) if run else None
    if run and result is not None:
        return _report_again(run, result, report)
    is_resumed = run is not None
    if run is None or run.is_untrained():
        record = begun_record(record, resolved.dataset, resolved.folds)
    with acquire_run(user_path(run_dir), record, resume=is_resumed) as run:
        initial = resolved.initial
        if initial is not None:
            initial.keep(run)  # all folds begin with the same file
            initial = replace(initial, file=run.initial_path)
        warned: set[str] = set()
        reports = []
        for number, of_fold in enumerate(resolved.configs, start=1):
            # An update may have come while the fold before was trained.
            present = reopened(resolved.dataset)
            warning = check_same_dataset(run, present)
            if warning and warning not in warned:
                report.warning(warning)
                warned.add(warning)
            report.fold(number, len(resolved.folds), resolved.folds[number - 1])
            # A finished fold returns its report; one that never began begins.
            done = train_run(
                present,
                run.fold_path(number),
                of_fold,
                resume=is_resumed,
                report=report,
                fold=resolved.folds[number - 1],
                initial=initial,
                reference=record.monitored_against,
            )
            report.fold_done(number, len(resolved.folds), done)
            reports.append(done)
        return conclude_folds(run, resolved.dataset, reports, report)


def dry_run_folds(
    dataset: DatasetOrPath,
    run_dir: str | os.PathLike[str],
    config: TrainConfig | None = None,
    *,
    folds: int | Literal["numerai"],
    rolling_eras: int | None = None,
    resume: bool = False,
) -> tuple[list[TrainPlan], bool]:
    """Check what `train_folds` checks before its first step, measure the cost, and write nothing.

    Returns
    -------
    tuple of list of TrainPlan and bool
        A plan for each fold, with its cost if there is something left to do; and whether all is
        finished, and nothing is to be done.
    """
    resolved = _set_up(dataset, run_dir, config, folds, rolling_eras, resume=resume)
    run = resolved.run
    is_finished = run is not None and finished_result(run, resolved.record) is not None
    if not is_finished:
        check_free(user_path(run_dir))

    def resolved_fold(number: int) -> tuple[Run | None, Setup]:
        of_fold = find_run(run.fold_path(number), resume=True) if run else None
        fold, config = resolved.folds[number - 1], resolved.configs[number - 1]
        reference = resolved.record.monitored_against
        return of_fold, prepare(
            resolved.dataset, of_fold, config, fold, resolved.initial, reference
        )

    plans = []
    for number in range(1, len(resolved.folds) + 1):
        of_fold, setup = resolved_fold(number)
        plans.append(checked_plan(of_fold, setup, make_model(setup)))
    left = [number for number, plan in enumerate(plans, start=1) if not plan.already_finished]
    if left and resolved.record.model != RIDGE:
        # Of the last fold, the largest: a step of the others takes as long.
        _, setup = resolved_fold(left[-1])
        plans = with_costs(plans, probed(setup, plans[left[-1] - 1]))
    return plans, is_finished


@dataclass(frozen=True, slots=True)
class _Resolved:
    """Folds that are decided, and the run of them to resume, if there is one.

    Attributes
    ----------
    dataset : Dataset
    run : Run or None
    folds : tuple of Fold
    configs : tuple of TrainConfig
        The configuration of each fold, in order.
    record : RunRecord
        The record of all of them.
    initial : InitialModel or None
        The saved model that all folds begin with, if they do with one.
    """

    dataset: Dataset
    run: Run | None
    folds: tuple[Fold, ...]
    configs: tuple[TrainConfig, ...]
    record: RunRecord
    initial: InitialModel | None


def _set_up(
    dataset: DatasetOrPath,
    run_dir: str | os.PathLike[str],
    config: TrainConfig | None,
    folds: int | Literal["numerai"],
    rolling_eras: int | None,
    *,
    resume: bool,
) -> _Resolved:
    """Resolve all folds, and check what the user brings."""
    require_tensorflow()
    check_outside(user_path(run_dir))
    run = find_run(user_path(run_dir), resume=resume)
    if run and not run.folds:
        raise RunError(
            f"{run.path}: it is a run without folds: resume it without --folds, or choose another "
            "--run"
        )
    found = opened_for(run, dataset)
    if run:
        if not run.is_untrained():
            check_same_dataset(run, found)
        if config is None:
            config = run.train_config()
    config = replace(config or TrainConfig(), patience=0)
    if config.validation_eras is not None:
        raise ConfigError(
            "validation_eras: with folds it follows from them; leave it out, or train without "
            "--folds"
        )
    if config.plateau_patience and config.monitor != "loss":
        raise ConfigError(
            f"plateau_patience: the learning rate would follow {config.monitor} of the eras that "
            'are to be predicted; with folds, set monitor = "loss", or leave plateau_patience out'
        )
    asked = {
        "asked_folds": folds,
        "asked_rolling_eras": rolling_eras,
        "asked_embargo_eras": config.embargo_eras,
    }
    chosen = _choose_folds(found, run, config, asked)
    # The last fold has the most rows: what is chosen for it suits the others.
    common, initial, reference = _common(prepare(found, run, config, chosen[-1]))
    predicted = [era for fold in chosen for era in fold.validation]
    check_reference(found, common.monitor, reference, predicted)
    configs = tuple(replace(common, validation_eras=fold.validation) for fold in chosen)
    for number, (of_fold, fold) in enumerate(zip(configs, chosen, strict=True), start=1):
        try:
            # Its batches go: a fold is trained at a time.
            prepare(found, None, of_fold, fold, initial, reference)
        except MemmapTrainError as error:
            raise type(error)(f"fold {number} of {len(chosen)}: {error}") from error
    last = prepare(found, None, configs[-1], chosen[-1], initial, reference)
    # Before a new run has a folder: what the user brings may be refused.
    compile_model(last)
    make_callbacks(last.config.callbacks)
    record = _record(last, chosen, asked)
    return _Resolved(found, run, chosen, configs, record, initial)


def _common(setup: Setup) -> tuple[TrainConfig, InitialModel | None, str | None]:
    """Return the settings that all folds share, so that the setup's batches can be freed."""
    return setup.config, setup.initial, setup.record.monitored_against


def _choose_folds(
    dataset: Dataset, run: Run | None, config: TrainConfig, asked: Mapping[str, Any]
) -> tuple[Fold, ...]:
    """Return the run's folds if the same ones are requested: new eras don't move them."""
    if run and not run.is_untrained():
        differing = [
            f"{flag} {recorded} in the run, {asked[key]} now"
            for flag, key, recorded in (
                ("--folds", "asked_folds", run.record.asked_folds),
                ("--rolling", "asked_rolling_eras", run.record.asked_rolling_eras),
            )
            if recorded != asked[key]
        ]
        if differing:
            raise RunError(
                f"{run.path}: other folds than the run's: {'; '.join(differing)}; resume without "
                "these changes, or begin a new run with another --run"
            )
        if config.embargo_eras in (run.record.asked_embargo_eras, run.record.embargo_eras):
            return run.folds
    main = config.targets[0]
    return walk_forward(
        dataset.eras,
        dataset.labelled_eras(main),
        folds=asked["asked_folds"],
        rolling_eras=asked["asked_rolling_eras"],
        embargo_eras=config.embargo_eras,
        targets=config.targets,
        aliases=dataset.manifest.aliases,
        allow_overlap=config.allow_overlap,
    )


def _record(last: Setup, folds: Sequence[Fold], asked: Mapping[str, Any]) -> RunRecord:
    """Return the record of a run of folds, by that of the last of them."""
    common = {k: value for k, value in last.record.to_json().items() if k not in _OF_ONE_FOLD}
    values = {
        **common,
        **asked,
        **dataset_record(last.dataset, folds),
        "validation_eras": [era for fold in folds for era in fold.validation],
        "folds": [fold_record(fold) for fold in folds],
    }
    return RunRecord.from_json(values)


def _report_again(run: Run, result: Mapping[str, Any], report: Reporter) -> FoldsReport:
    """Return the report that a finished run of folds recorded, with all its pictures."""
    for number in range(1, len(run.folds) + 1):
        of_fold = read_run(run.fold_path(number))
        draw_missing(of_fold, of_fold.read_result() or {}, report)
    draw_missing(run, result, report)
    return recorded_folds_report(run)


def conclude_folds(
    run: Run,
    dataset: Dataset,
    reports: Sequence[TrainReport],
    report: Reporter,
    *,
    draws: bool = True,
) -> FoldsReport:
    """Put the scores of all folds together, and write them.

    Parameters
    ----------
    run : Run
        A run of folds, all of which are finished.
    dataset : Dataset
    reports : sequence of TrainReport
        Those of the folds, in order.
    report : Reporter
    draws : bool
        Whether to draw the picture of the scores.

    Raises
    ------
    RunError
        They can't be written, which `resume` does again.
    """
    best_possible = best_possible_score(dataset, run.record.main_target)
    try:
        run.write_era_scores(
            row
            for number in range(1, len(run.folds) + 1)
            for row in read_run(run.fold_path(number)).read_era_scores()
        )
        corr, pearson, further = recorded_summaries(run)
        chart_path = None
        if draws:
            chart_path = draw_run(
                run, best_epoch=None, best_possible=best_possible, warn=report.warning
            )
        result = FoldsReport(
            run_dir=str(run.path),
            n_eras=sum(len(fold.validation) for fold in run.folds),
            corr=corr,
            pearson=pearson,
            further=further,
            best_possible=best_possible,
            chart_path=None if chart_path is None else str(chart_path),
            folds=tuple(reports),
        )
        run.finish(result.to_json())
    except OSError as error:
        if isinstance(error, RunError):
            raise
        raise RunError(
            f"{run.path}: the results can't be written: {error.strerror}; training itself is done: "
            "free some disk space, and add --resume"
        ) from error
    return result
