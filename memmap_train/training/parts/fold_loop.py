"""`train_folds`: several folds trained one after another, and the scores of all of them together.

Takes a dataset and a configuration; writes the folder of a run of folds, in which each fold is
an ordinary run, and a `FoldsReport`. All folds read the one dataset; nothing of it is copied.

The eras that a fold predicts have no part in making its model: every fold trains for all epochs and
keeps the last one's model. Kept by the best score, or stopped by it, the model would have been
chosen by the very eras that it is scored on.
"""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from ...dataset.dataset import Dataset
from ...runs.configuration.config import TrainConfig
from ...runs.folds.selection import DatasetOrPath
from ...runs.found_run import found_run
from ...runs.lock import check_free
from ...runs.reports.chart import draw_run
from ...runs.reports.plan import TrainPlan
from ...runs.reports.recorded_report import recorded_folds_report, recorded_summaries
from ...runs.reports.report import FoldsReport, TrainReport
from ...runs.reports.reporter import Reporter
from ...runs.resume import acquire_run, begun_record, finished_result
from ...runs.run import Run, read_run
from ...runs.run_folder import find_run
from ...system.paths import user_path
from ..resolve import Setup, best_possible_score, prepare
from ..ridge.plans import timed_plans
from ..startup import require_tensorflow
from ..train import train_run
from .part_plans import Preparation, plans_of_parts
from .parts import datasets_of_parts, draw_all_missing, kept_initial, writing_results
from .resolve_folds import ResolvedFolds, resolve_folds


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
    return train_resolved(resolved, user_path(run_dir), report)


def train_resolved(resolved: ResolvedFolds, run_dir: Path, report: Reporter) -> FoldsReport:
    """Train folds that are decided, or what is left to do of them."""
    run, record = resolved.run, resolved.record
    if run and finished_result(run, record) is not None:
        draw_all_missing(run, report)
        return recorded_folds_report(run)
    is_resumed, n_folds = run is not None, len(resolved.folds)
    if run is None or run.is_untrained():
        record = begun_record(record, resolved.dataset, resolved.folds)
    with acquire_run(run_dir, record, resume=is_resumed) as run:
        initial = kept_initial(run, resolved.initial)
        reports = []
        for i, present in enumerate(datasets_of_parts(run, resolved.dataset, report)):
            fold = resolved.folds[i]
            report.fold(i + 1, n_folds, fold)
            # A finished fold returns its report; one that never began begins.
            done = train_run(
                present,
                run.part_paths[i],
                resolved.configs[i],
                resume=is_resumed,
                report=report,
                shared=resolved.shared(fold, initial),
            )
            report.fold_done(i + 1, n_folds, done)
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
    measures_cost: bool = True,
) -> tuple[list[TrainPlan], bool]:
    """Check what `train_folds` checks before its first step, measure the cost, and write nothing.

    `measures_cost` may leave the cost out. All other arguments are those of that function.

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
    plans = plans_of_parts(preparations_of(resolved), measures_cost=measures_cost)
    if measures_cost:
        plans = timed_plans(plans, Run(user_path(run_dir), resolved.record))
    return plans, is_finished


def preparations_of(resolved: ResolvedFolds) -> list[Preparation]:
    """Return what prepares each fold of those that are decided."""
    run = resolved.run

    def prepared(i: int) -> tuple[Run | None, Setup]:
        of_fold = find_run(run.part_paths[i], resume=True) if run else None
        shared = resolved.shared(resolved.folds[i], resolved.initial)
        return of_fold, prepare(resolved.dataset, of_fold, resolved.configs[i], shared)

    return [partial(prepared, i) for i in range(len(resolved.folds))]


def _set_up(
    dataset: DatasetOrPath,
    run_dir: str | os.PathLike[str],
    config: TrainConfig | None,
    folds: int | Literal["numerai"],
    rolling_eras: int | None,
    *,
    resume: bool,
) -> ResolvedFolds:
    """Find the run to resume, if there is one, and resolve all folds."""
    require_tensorflow()
    run, found, _ = found_run(dataset, run_dir, resume=resume, folds=True)
    if config is None and run:
        config = run.train_config()
    return resolve_folds(found, run, config or TrainConfig(), folds, rolling_eras)


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
    with writing_results(run):
        run.write_era_scores(
            row for path in run.part_paths for row in read_run(path).read_era_scores()
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
    return result
