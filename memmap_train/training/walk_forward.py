"""`train_folds`: several folds trained one after another, and the scores of all of them together.

In come a dataset and a configuration; out come the folder of a run of folds, in which each fold is
an ordinary run, and a `FoldsReport`. All folds read the one dataset; nothing of it is copied.

The eras that a fold predicts have no part in making its model: every fold trains for all epochs and
keeps the last one's model. Kept by the best score, or stopped by it, the model would have been
chosen by the very eras that it is scored on.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

from ..chart import draw_run
from ..config import TrainConfig
from ..dataset import Dataset, open_dataset
from ..errors import ConfigError, MemmapTrainError, RunError
from ..folds import Fold, walk_forward
from ..metrics import summary
from ..paths import user_path
from ..resumption import (
    check_outside,
    check_same_dataset,
    dataset_record,
    finished_result,
    taking_up,
)
from ..runs import Run, find_run, fold_record, open_run
from .loop import draw_missing, recorded_scores, report_again, train
from .model import require_tensorflow
from .reporting import FoldsReport, Reporter, TrainPlan, TrainReport
from .setup import Setup, make_model, plan_of, prepare

_CONFIG_KEYS = frozenset(TrainConfig().to_dict())
# Of a fold's own record; a run of folds has those of all its folds.
_OF_ONE_FOLD = ("train_eras", "embargoed_eras", "asked_validation_eras")


def train_folds(
    dataset_path: str | os.PathLike[str],
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
    dataset_path : path
    run_dir : path
        A new or an empty folder; with `resume` also that of a run of folds.
    config : TrainConfig, optional
        By default that of the run which is resumed, or else the defaults. `validation_eras` must be
        left open; `patience` counts nothing.
    folds : int or "numerai"
        As for `folds.walk_forward`.
    rolling_eras : int, optional
        As for `folds.walk_forward`.
    resume : bool
        Carry on a run of folds that is there: finished folds stay as they are, the running one goes
        on where it was, the rest begins.
    report : Reporter, optional

    Returns
    -------
    FoldsReport

    Raises
    ------
    RunError, ConfigError, DatasetError, FoldError, BatchError, KeyboardInterrupt
        As `train` does.
    """
    report = report or Reporter()
    dataset, run, setups, record, warning = _set_up(
        dataset_path, run_dir, config, folds, rolling_eras, resume=resume
    )
    result = finished_result(run, record) if run else None
    if run and result is not None:
        return _report_again(run, result, report)
    is_resumed = run is not None
    with taking_up(user_path(run_dir), record, resume=is_resumed) as run:
        if warning:
            report.warning(warning)
        start = setups[0].start
        if start is not None:
            start.keep(run)  # all folds begin with the same file
            start = replace(start, file=run.initial_path)
        reports = []
        for number, setup in enumerate(setups, start=1):
            report.fold(number, len(setups), setup.fold)
            path = run.fold_path(number)
            # A fold that is finished says so; one that was never begun begins.
            done = train(
                dataset.path,
                path,
                setup.config,
                resume=is_resumed,
                report=report,
                fold=setup.fold,
                start=start,
            )
            report.fold_done(number, len(setups), done)
            reports.append(done)
        return _conclude(run, setups[0], reports, report)


def rehearse_folds(
    dataset_path: str | os.PathLike[str],
    run_dir: str | os.PathLike[str],
    config: TrainConfig | None = None,
    *,
    folds: int | Literal["numerai"],
    rolling_eras: int | None = None,
    resume: bool = False,
) -> list[TrainPlan]:
    """Check what `train_folds` checks before its first step, and write nothing: a plan per fold."""
    _, _, setups, _, _ = _set_up(dataset_path, run_dir, config, folds, rolling_eras, resume=resume)
    return [plan_of(setup, make_model(setup), 0, 0) for setup in setups]


def _set_up(
    dataset_path: str | os.PathLike[str],
    run_dir: str | os.PathLike[str],
    config: TrainConfig | None,
    folds: int | Literal["numerai"],
    rolling_eras: int | None,
    *,
    resume: bool,
) -> tuple[Dataset, Run | None, list[Setup], dict[str, Any], str | None]:
    """Resolve all folds; return the run to resume, too, and a warning."""
    require_tensorflow()
    dataset = open_dataset(dataset_path)
    check_outside(user_path(run_dir))
    run = find_run(user_path(run_dir), resume=resume)
    warning = None
    if run:
        if not run.folds:
            raise RunError(
                f"{run.path}: it is a run without folds: carry it on without --folds, or choose "
                "another --run"
            )
        warning = check_same_dataset(run, dataset)
        if config is None:
            recorded = run.begun_with
            config = TrainConfig(**{key: recorded[key] for key in _CONFIG_KEYS & recorded.keys()})
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
    chosen = _choose_folds(dataset, run, config, asked)
    setups = _prepare_all(dataset, run, config, chosen)
    record = _record(dataset, setups, asked)
    return dataset, run, setups, record, warning


def _choose_folds(
    dataset: Dataset, run: Run | None, config: TrainConfig, asked: Mapping[str, Any]
) -> tuple[Fold, ...]:
    """Return the run's folds where the same ones are asked for: new eras don't move them."""
    if run:
        differing = [
            f"{flag} {run.config[key]} in the run, {asked[key]} now"
            for flag, key in (("--folds", "asked_folds"), ("--rolling", "asked_rolling_eras"))
            if run.config[key] != asked[key]
        ]
        if differing:
            raise RunError(
                f"{run.path}: other folds than the run's: {'; '.join(differing)}; resume without "
                "these changes, or begin a new run with another --run"
            )
        if config.embargo_eras in (run.config["asked_embargo_eras"], run.config["embargo_eras"]):
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


def _prepare_all(
    dataset: Dataset, run: Run | None, config: TrainConfig, folds: Sequence[Fold]
) -> list[Setup]:
    """Resolve every fold before the first begins, with what is chosen once for all of them."""
    # The last fold has the most rows: what is chosen for it suits the others.
    last = prepare(dataset, run, config, folds[-1])
    setups = []
    for number, fold in enumerate(folds, start=1):
        of_fold = replace(last.config, validation_eras=fold.validation)
        try:
            setups.append(prepare(dataset, None, of_fold, fold, last.start))
        except MemmapTrainError as error:
            raise type(error)(f"fold {number} of {len(folds)}: {error}") from error
    return setups


def _record(dataset: Dataset, setups: Sequence[Setup], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `config.json` holds of a run of folds."""
    folds = [setup.fold for setup in setups]
    common = {key: value for key, value in setups[-1].record.items() if key not in _OF_ONE_FOLD}
    return {
        **common,
        **asked,
        **dataset_record(dataset, folds),
        "validation_eras": [era for fold in folds for era in fold.validation],
        "folds": [fold_record(fold) for fold in folds],
    }


def _report_again(run: Run, result: Mapping[str, Any], report: Reporter) -> FoldsReport:
    """Return the report that a finished run of folds recorded, with all its pictures."""
    runs = [open_run(run.fold_path(number)) for number in range(1, len(run.folds) + 1)]
    results = [of_fold.read_result() or {} for of_fold in runs]
    for one, its_result in zip([*runs, run], [*results, result], strict=True):
        draw_missing(one, its_result, report)
    folds = tuple(map(report_again, runs, results))
    try:
        scores = recorded_scores(run, result)
        return FoldsReport(**{**scores, "folds": folds, "already_finished": True})
    except (KeyError, TypeError) as error:
        raise RunError(f"{run.path}: its state.json is damaged: {error}; remove it") from None


def _conclude(
    run: Run, setup: Setup, reports: Sequence[TrainReport], report: Reporter
) -> FoldsReport:
    """Put the scores of all folds together, and write them."""
    folds = run.folds
    rows = [
        row
        for number in range(1, len(folds) + 1)
        for row in open_run(run.fold_path(number)).read_era_scores()
    ]
    main = [row for row in rows if row[1] == setup.main_target]
    corr = summary([row[2] for row in main])
    try:
        run.write_era_scores(rows)
        chart_path = draw_run(
            run, best_epoch=None, best_possible=setup.best_possible, warn=report.warning
        )
        result = FoldsReport(
            run_dir=str(run.path),
            n_eras=len(main),
            corr_mean=corr.mean,
            corr_std=corr.std,
            corr_sharpe=corr.sharpe,
            max_drawdown=corr.max_drawdown,
            corr_positive=corr.positive,
            pearson_mean=summary([row[3] for row in main]).mean,
            best_possible=setup.best_possible,
            chart_path=None if chart_path is None else str(chart_path),
            folds=tuple(reports),
        )
        of_all = asdict(result)
        run.finish({key: of_all[key] for key in of_all.keys() - {"folds", "already_finished"}})
    except OSError as error:
        raise RunError(
            f"{run.path}: the results can't be written: {error.strerror}; training itself is done: "
            "make room, and add --resume"
        ) from error
    return result
