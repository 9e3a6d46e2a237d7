"""`train_seeds`: a model trained with several seeds, and the scores of all of them together.

Takes a dataset and a configuration; writes the folder of a run of seeds, in which each seed is an
ordinary run or a run of folds, and a `SeedsReport`. All seeds have the same eras, and everything
else in common but the seed: the initial weights, the order of the rows and the dropout differ. What
is left open is decided once, for all of them.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import Literal

import numpy as np

from ...runs.configuration.config import TrainConfig
from ...runs.folds.selection import DatasetOrPath, reopened
from ...runs.lock import check_free
from ...runs.reports.chart import draw_run
from ...runs.reports.plan import TrainPlan
from ...runs.reports.recorded_report import recorded_seeds_report, recorded_summaries
from ...runs.reports.report import FoldsReport, TrainReport
from ...runs.reports.reporter import Reporter
from ...runs.reports.seeds_report import SeedsReport
from ...runs.resume import acquire_run, begun_record, finished_result
from ...runs.run import Run
from ...runs.run_folder import find_run
from ...system.paths import user_path
from ..resolve import Setup, best_possible_score, prepare
from ..ridge.plans import timed_plans
from ..train import train_run
from .fold_loop import preparations_of, train_resolved
from .joint_scores import joint_scores
from .part_plans import Preparation, plans_of_parts
from .parts import datasets_of_parts, draw_all_missing, kept_initial, writing_results
from .resolve_seeds import ResolvedSeeds, folds_of_seed, resolve_seeds


def train_seeds(
    dataset: DatasetOrPath,
    run_dir: str | os.PathLike[str],
    config: TrainConfig | None = None,
    *,
    seeds: int,
    folds: int | Literal["numerai"] | None = None,
    rolling_eras: int | None = None,
    resume: bool = False,
    report: Reporter | None = None,
) -> SeedsReport:
    """Train a model with several seeds, and score the mean of their ranks.

    Parameters
    ----------
    dataset : Dataset or path
        A selection of eras, such as ``dataset.select(eras)``, restricts training and scores to
        these eras; a run of one is resumed with the same eras, or with the path.
    run_dir : path
        A new or an empty folder; with `resume` also that of a run of seeds.
    config : TrainConfig, optional
        The default is the configuration of the run that is resumed, or else ``TrainConfig()``.
        Its `seed` is the first one, and the others follow it.
    seeds : int
        The number of seeds, 2 or more. A run that is resumed may be given more of them.
    folds, rolling_eras
        The folds of each seed, by default none; see `fold_loop.train_folds`.
    resume : bool
        Resume an existing run of seeds: finished seeds stay as they are, the unfinished one
        resumes, and the others begin.
    report : Reporter, optional

    Returns
    -------
    SeedsReport

    Raises
    ------
    RunError, ConfigError, DatasetError, FoldError, BatchError, KeyboardInterrupt
        The same errors as `train`.
    """
    report = report or Reporter()
    resolved = resolve_seeds(dataset, run_dir, config, seeds, folds, rolling_eras, resume=resume)
    run, record = resolved.run, resolved.record
    if run and finished_result(run, record) is not None:
        draw_all_missing(run, report)
        return recorded_seeds_report(run)
    is_resumed = run is not None
    if run is None or run.is_untrained():
        record = begun_record(record, resolved.dataset, resolved.eras)
    with acquire_run(user_path(run_dir), record, resume=is_resumed) as run:
        initial = kept_initial(run, resolved.initial)
        reports: dict[int, TrainReport | FoldsReport] = {}
        for i, present in enumerate(datasets_of_parts(run, resolved.dataset, report)):
            seed, path = run.seeds[i], run.part_paths[i]
            report.seed(i + 1, len(run.seeds), seed)
            # A finished seed returns its report; one that never began begins.
            if resolved.folds is None:
                shared, own = resolved.shared(initial), replace(resolved.config, seed=seed)
                reports[seed] = train_run(
                    present, path, own, resume=is_resumed, report=report, shared=shared
                )
            else:
                begun = find_run(path, resume=is_resumed)
                of_seed = folds_of_seed(resolved.folds, seed, present, begun, initial)
                reports[seed] = train_resolved(of_seed, path, report)
            report.seed_done(i + 1, len(run.seeds), reports[seed])
        return _conclude(run, resolved, reports, report)


def dry_run_seeds(
    dataset: DatasetOrPath,
    run_dir: str | os.PathLike[str],
    config: TrainConfig | None = None,
    *,
    seeds: int,
    folds: int | Literal["numerai"] | None = None,
    rolling_eras: int | None = None,
    resume: bool = False,
    measures_cost: bool = True,
) -> tuple[dict[int, list[TrainPlan]], bool]:
    """Check what `train_seeds` checks before its first step, measure the cost, and write nothing.

    `measures_cost` may leave the cost out. All other arguments are those of that function.

    Returns
    -------
    tuple of dict of int to list of TrainPlan, and bool
        The plan of each seed, or those of its folds, with their costs; and whether all is finished,
        and nothing is to be done.
    """
    resolved = resolve_seeds(dataset, run_dir, config, seeds, folds, rolling_eras, resume=resume)
    run = resolved.run
    is_finished = run is not None and finished_result(run, resolved.record) is not None
    if not is_finished:
        check_free(user_path(run_dir))
    of_seeds = [_preparations_of(resolved, seed) for seed in resolved.record.seeds]
    parts = [one for of_seed in of_seeds for one in of_seed]
    plans = iter(plans_of_parts(parts, measures_cost=measures_cost))
    of_each = [list(islice(plans, len(of_seed))) for of_seed in of_seeds]
    if measures_cost:  # all seeds have one baseline
        of_each[0] = timed_plans(of_each[0], Run(user_path(run_dir), resolved.record))
    return dict(zip(resolved.record.seeds, of_each, strict=True)), is_finished


def _preparations_of(resolved: ResolvedSeeds, seed: int) -> list[Preparation]:
    """Return what prepares a seed, or each of its folds."""
    run = resolved.run
    begun = dict(zip(run.seeds, run.part_paths, strict=True)) if run else {}
    of_seed = find_run(begun[seed], resume=True) if seed in begun else None
    if resolved.folds is not None:
        folds, initial = resolved.folds, resolved.initial
        return preparations_of(folds_of_seed(folds, seed, resolved.dataset, of_seed, initial))

    def prepared() -> tuple[Run | None, Setup]:
        own, shared = replace(resolved.config, seed=seed), resolved.shared(resolved.initial)
        return of_seed, prepare(resolved.dataset, of_seed, own, shared)

    return [prepared]


def _conclude(
    run: Run,
    resolved: ResolvedSeeds,
    reports: Mapping[int, TrainReport | FoldsReport],
    report: Reporter,
) -> SeedsReport:
    """Score all seeds together, and write the scores."""
    best_possible = best_possible_score(resolved.dataset, run.record.main_target)
    validation = reopened(resolved.dataset).select(run.record.validation_eras)
    scores = joint_scores(run, validation, report)
    values = np.stack([scores.corr, scores.pearson, *scores.further.values()], axis=2)
    with writing_results(run):
        run.write_era_scores(
            (era, target, *of_target)
            for era, of_era in zip(validation.eras, values.tolist(), strict=True)
            for target, of_target in zip(run.record.targets, of_era, strict=True)
        )
        corr, pearson, further = recorded_summaries(run)
        chart_path = draw_run(
            run, best_epoch=None, best_possible=best_possible, warn=report.warning
        )
        result = SeedsReport(
            run_dir=str(run.path),
            n_eras=len(validation.eras),
            corr=corr,
            pearson=pearson,
            further=further,
            best_possible=best_possible,
            chart_path=None if chart_path is None else str(chart_path),
            seeds=reports,
        )
        run.finish(result.to_json())
    return result
