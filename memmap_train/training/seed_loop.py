"""`train_seeds`: a model trained with several seeds, and the scores of all of them together.

Takes a dataset and a configuration; writes the folder of a run of seeds, in which each seed is an
ordinary run or a run of folds, and a `SeedsReport`. All seeds have the same eras, and everything
else in common but the seed: the initial weights, the order of the rows and the dropout differ. What
is left open is decided once, for all of them.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from ..arguments import whole_number
from ..dataset.dataset import Dataset
from ..errors import ConfigError
from ..runs.chart import draw_run
from ..runs.config import TrainConfig
from ..runs.folds import Fold
from ..runs.found_run import found_run
from ..runs.lock import check_free
from ..runs.record import RunRecord
from ..runs.recorded_report import recorded_seeds_report, recorded_summaries
from ..runs.report import FoldsReport, Reporter, TrainPlan, TrainReport
from ..runs.resume import acquire_run, begun_record, dataset_record, finished_result
from ..runs.run import Run, find_run
from ..runs.seeds_report import SeedsReport
from ..runs.selection import DatasetOrPath, reopened
from ..system.paths import user_path
from .callbacks import make_callbacks
from .compiled import compile_model, make_model
from .fold_loop import plans_of_folds, train_resolved
from .initial_model import InitialModel
from .joint_scores import joint_scores
from .parts import datasets_of_parts, draw_all_missing, kept_initial, writing_results
from .resolve import Shared, best_possible_score, prepare
from .resolve_folds import ResolvedFolds, resolve_folds
from .startup import require_tensorflow
from .train import checked_plan, train_run

MIN_SEEDS = 2


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
    resolved = _set_up(dataset, run_dir, config, seeds, folds, rolling_eras, resume=resume)
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
                of_seed = _folds_of_seed(
                    resolved.folds, seed, present, path, initial, resume=is_resumed
                )
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
) -> tuple[dict[int, list[TrainPlan]], bool]:
    """Check what `train_seeds` checks before its first step, and write nothing.

    Returns
    -------
    tuple of dict of int to list of TrainPlan, and bool
        The plan of each seed, or those of its folds; and whether all is finished, and nothing is to
        be done.
    """
    resolved = _set_up(dataset, run_dir, config, seeds, folds, rolling_eras, resume=resume)
    run = resolved.run
    is_finished = run is not None and finished_result(run, resolved.record) is not None
    if not is_finished:
        check_free(user_path(run_dir))
    begun = dict(zip(run.seeds, run.part_paths, strict=True)) if run else {}
    plans: dict[int, list[TrainPlan]] = {}
    for seed in resolved.record.seeds:
        path = begun.get(seed)
        if resolved.folds is not None:
            folds_of = _folds_of_seed(
                resolved.folds, seed, resolved.dataset, path, resolved.initial, resume=True
            )
            plans[seed] = plans_of_folds(folds_of)
            continue
        of_seed = find_run(path, resume=True) if path else None
        own = replace(resolved.config, seed=seed)
        setup = prepare(resolved.dataset, of_seed, own, resolved.shared(resolved.initial))
        plans[seed] = [checked_plan(of_seed, setup, make_model(setup))]
    return plans, is_finished


@dataclass(frozen=True, slots=True)
class _Resolved:
    """What all seeds share, and the run of them to resume, if there is one.

    Attributes
    ----------
    dataset : Dataset
    run : Run or None
    config : TrainConfig
        Nothing in it is left open.
    record : RunRecord
        The record of all of them.
    initial : InitialModel or None
        The saved model that all seeds begin with, if they do with one.
    folds : ResolvedFolds or None
        The folds of each seed, if it has folds.
    """

    dataset: Dataset
    run: Run | None
    config: TrainConfig
    record: RunRecord
    initial: InitialModel | None
    folds: ResolvedFolds | None

    @property
    def eras(self) -> tuple[Fold, ...]:
        """The folds of each seed; without folds the one fold that it is trained on."""
        fold = self.record.fold
        return (fold,) if fold else self.record.folds

    def shared(self, initial: InitialModel | None) -> Shared:
        """Return what a seed without folds takes over."""
        assert self.record.fold is not None
        return Shared(
            fold=self.record.fold,
            kept_epoch=self.record.kept_epoch,
            initial=initial,
            reference=self.record.monitored_against,
        )


def _set_up(
    dataset: DatasetOrPath,
    run_dir: str | os.PathLike[str],
    config: TrainConfig | None,
    seeds: int,
    folds: int | Literal["numerai"] | None,
    rolling_eras: int | None,
    *,
    resume: bool,
) -> _Resolved:
    """Decide what all seeds share, and check what the user brings."""
    require_tensorflow()
    _check_number(seeds)
    run, found, _ = found_run(dataset, run_dir, resume=resume, seeds=True, folds=folds is not None)
    if config is None:
        config = run.train_config() if run else TrainConfig()
    # The last one may be too large, which is an error.
    numbers = [replace(config, seed=config.seed + i).seed for i in range(seeds)]
    if folds is not None:
        resolved = resolve_folds(found, run, config, folds, rolling_eras)
        record = resolved.record.changed(seeds=numbers)
        return _Resolved(found, run, config, record, resolved.initial, resolved)
    setup = prepare(found, run, config)
    # Before a new run has a folder: what the user brings may be refused.
    compile_model(setup)
    make_callbacks(setup.config.callbacks)
    record = setup.record.changed(seeds=numbers)
    return _Resolved(found, run, setup.config, record, setup.initial, None)


def _check_number(seeds: int) -> None:
    """Raise a ConfigError if the seeds are fewer than two."""
    number = whole_number("seeds", seeds, ConfigError)
    if number < MIN_SEEDS:
        raise ConfigError(
            f"seeds: expected {MIN_SEEDS} or more, found {number}: without --seeds one model is "
            "trained, with the seed of the configuration"
        )


def _folds_of_seed(
    folds: ResolvedFolds,
    seed: int,
    dataset: Dataset,
    path: Path | None,
    initial: InitialModel | None,
    *,
    resume: bool,
) -> ResolvedFolds:
    """Return the folds of one seed, and its run in a folder, if there is one."""
    return replace(
        folds,
        dataset=dataset,
        run=None if path is None else find_run(path, resume=resume),
        configs=tuple(replace(config, seed=seed) for config in folds.configs),
        record=folds.record.changed(seed=seed, **dataset_record(dataset, folds.folds)),
        initial=initial,
    )


def _conclude(
    run: Run,
    resolved: _Resolved,
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
