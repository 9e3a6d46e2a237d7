"""The trials of a sweep, decided and checked before the first one begins.

Takes a dataset, what is swept and a configuration, and the sweep to resume, if there is one;
returns a `ResolvedSweep`. Nothing is written here.
"""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...dataset.dataset import Dataset
from ...errors import ConfigError, FoldError, MemmapTrainError, RunError
from ...runs.configuration.config import TrainConfig
from ...runs.configuration.ridge_keys import RIDGE
from ...runs.configuration.unused_keys import identity_of_training
from ...runs.folds.selection import DatasetOrPath, opened
from ...runs.lock import check_free
from ...runs.reports.plan import TrainPlan
from ...runs.resume import check_outside
from ...runs.sweeps.record import (
    SweepRecord,
    Trial,
    find_sweep,
    is_sweep,
    read_sweep,
    trained_run,
)
from ...runs.sweeps.space import sweep_space, with_settings
from ...runs.sweeps.trials import grown_trials
from ...text import counted
from ..compiled import compile_model, make_model
from ..parts.fold_loop import dry_run_folds
from ..parts.seed_loop import dry_run_seeds
from ..resolve import prepare
from ..startup import require_tensorflow
from ..train import checked_plan, dry_run, set_up_run

_OF_BATCHES = (
    "batch_size",
    "eras_per_batch",
    "rows_per_era",
    "window_size",
    "pool_batches",
    "memory",
)
"""Keys that decide, with the number of features, how rows are shuffled."""
_MODELS_AT_ONCE = 20  # that are made and wait to be collected, which takes a while


@dataclass(frozen=True, slots=True)
class ResolvedSweep:
    """A sweep whose trials are decided and checked.

    Attributes
    ----------
    dataset : Dataset
    record : SweepRecord
    plans : list of list of TrainPlan
        Of each trial the plan of its run, or of each of its folds and seeds.
    is_finished : bool
        Whether nothing is to be done.
    n_equal : int
        Settings that aren't trained, since they differ from others in keys alone that have no
        effect on their model.
    """

    dataset: Dataset
    record: SweepRecord
    plans: list[list[TrainPlan]]
    is_finished: bool
    n_equal: int

    def equal_line(self) -> str | None:
        """Return a line about settings that aren't trained, if there are some."""
        if not self.n_equal:
            return None
        return (
            f"{counted(self.n_equal, 'combination')} left out: the same trainings as others, from "
            "which they differ in keys that have no effect on their model"
        )


def resolve_sweep(
    dataset: DatasetOrPath,
    path: Path,
    swept: Mapping[str, Any] | None,
    config: TrainConfig | None,
    n_runs: int | None,
    folds: int | Literal["numerai"] | None = None,
    rolling_eras: int | None = None,
    seeds: int | None = None,
    *,
    resume: bool,
    is_held: bool = False,
) -> ResolvedSweep:
    """Decide all trials and check them; write nothing.

    Arguments and errors are those of `train_sweep`; `is_held` says that the caller holds the
    folder.
    """
    require_tensorflow()
    check_outside(path)
    begun = find_sweep(path, resume=resume)
    known = begun or (read_sweep(path) if resume and is_sweep(path) else None)
    if known is not None:
        if swept is None:
            swept, n_runs = known.swept, known.n_runs if n_runs is None else n_runs
        config = config or known.train_config()
    space, config = sweep_space(swept or {}, n_runs), config or TrainConfig()
    if begun is not None:
        folds, rolling_eras = folds or begun.folds, rolling_eras or begun.rolling_eras
        seeds = seeds or begun.seeds
        _check_same_folds(path, begun, folds, rolling_eras)
    if seeds is not None and space.seeds:
        raise ConfigError(
            "sweep.seed: --seeds gives seeds, too, and makes one run of them; leave one of both out"
        )
    found = opened(dataset)
    settings, common = space.settings(config.seed), config

    def training_of(own: Mapping[str, Any]) -> str:
        return identity_of_training(with_settings(common, own))

    record = SweepRecord(
        swept=space.to_json(),
        n_runs=n_runs,
        config=config.to_dict(),
        folds=folds,
        rolling_eras=rolling_eras,
        seeds=seeds,
        eras=begun.eras if begun else list(found.eras),
        trials=grown_trials(begun.trials if begun else [], settings, path, training_of),
    )
    record = record.model_copy(update={"trials": list(_ordered(found, record))})
    plans, is_finished = _checked_trials(path, found, record)
    if not (is_finished or is_held):
        check_free(path)
    n_equal = len(settings) - len(record.trials)
    return ResolvedSweep(found, record, plans, is_finished, n_equal)


def _check_same_folds(
    path: Path,
    begun: SweepRecord,
    folds: int | Literal["numerai"] | None,
    rolling_eras: int | None,
) -> None:
    """Raise a RunError if other folds are asked for than those of the sweep."""
    if (begun.folds, begun.rolling_eras) != (folds, rolling_eras):
        raise RunError(
            f"{path}: its trials have --folds {begun.folds} and --rolling {begun.rolling_eras}, "
            f"found {folds} and {rolling_eras}; resume without these, or choose another --run"
        )


def _checked_trials(
    path: Path, found: Dataset, record: SweepRecord
) -> tuple[list[list[TrainPlan]], bool]:
    """Check all trials; return the plans of each, and whether nothing is to be done."""
    plans: list[list[TrainPlan]] = []
    finished, compiled = [], set()
    for trial in record.trials:
        config = record.config_of(trial)
        kind = (config.model, config.loss)
        with naming(trial):
            plan, is_finished = plans_of_trial(
                path, trial, found, record, compiles=kind not in compiled
            )
            _check_same_validation(plan, plans[0] if plans else plan, record.trials[0])
        compiled.add(kind)
        plans.append(plan)
        finished.append(is_finished or stays_failed(path, trial))
        if len(plans) % _MODELS_AT_ONCE == 0:
            gc.collect()
    return plans, all(finished)


def plans_of_trial(
    path: Path,
    trial: Trial,
    found: Dataset,
    record: SweepRecord,
    *,
    compiles: bool = False,
    measures_cost: bool = False,
) -> tuple[list[TrainPlan], bool]:
    """Check a trial; return the plan of its run, or of each part, and whether it is finished.

    Parameters
    ----------
    path : Path
        The folder of the sweep.
    trial : Trial
    found : Dataset
    record : SweepRecord
    compiles : bool
        Whether a model is compiled, which shows that it computes.
    measures_cost : bool
        Whether the plans have a cost, by some steps of training.
    """
    run_dir, config = path / trial.name, record.config_of(trial)
    present = dataset_for(path, trial, found, record)
    of_folds: dict[str, Any] = {"folds": record.folds, "rolling_eras": record.rolling_eras}
    of_folds |= {"resume": True, "measures_cost": measures_cost}
    seeds = record.seeds_of(trial)
    if seeds is not None:
        plans, is_finished = dry_run_seeds(present, run_dir, config, seeds=seeds, **of_folds)
        return [plan for of_seed in plans.values() for plan in of_seed], is_finished
    if record.folds is not None:
        return dry_run_folds(present, run_dir, config, **of_folds)
    if measures_cost:
        plan = dry_run(present, run_dir, config, resume=True)
        return [plan], plan.already_finished
    run, setup, _ = set_up_run(present, run_dir, config, None, resume=True)
    if compiles:  # which takes a second, and shows the same of others like it
        compile_model(setup)
    plan = checked_plan(run, setup, make_model(setup))
    return [plan], plan.already_finished


def dataset_for(path: Path, trial: Trial, present: Dataset, record: SweepRecord) -> DatasetOrPath:
    """Return the dataset for a trial: eras that came after the sweep had begun belong to none."""
    if trained_run(path, trial) is not None:
        return present.directory  # the run knows its eras
    return present if list(present.eras) == record.eras else present.select(record.eras)


def _ordered(dataset: Dataset, record: SweepRecord) -> Iterator[Trial]:
    """Yield the trials, with one choice of window and pool for all whose batches have one size.

    That choice depends on the memory that happens to be free, and scores depend on it a little. A
    ridge regression has no batches, and no part in it.
    """
    shared: dict[tuple[Any, ...], dict[str, Any]] = {}
    widest: dict[tuple[Any, ...], tuple[int, Trial, TrainConfig]] = {}
    for trial in record.trials:
        config = record.config_of(trial.model_copy(update={"order": {}}))
        with naming(trial):
            columns = dataset.feature_columns(config.features)
        if config.model == RIDGE:
            continue
        size = _size_of_batches(config)
        if trial.order:
            shared.setdefault(size, trial.order)
        n_features = len(dataset.feature_names if columns is None else columns)
        if size not in widest or n_features > widest[size][0]:
            widest[size] = (n_features, trial, config)
    for size, (_, trial, config) in widest.items():
        if size not in shared:
            eras = record.eras if list(dataset.eras) != record.eras else dataset.eras
            with naming(trial):
                chosen = prepare(dataset.select(eras), None, config).config
            shared[size] = {key: getattr(chosen, key) for key in ("window_size", "pool_batches")}
    for trial in record.trials:
        config = record.config_of(trial.model_copy(update={"order": {}}))
        order = {} if config.model == RIDGE else shared[_size_of_batches(config)]
        yield trial.model_copy(update={"order": trial.order or order})


def _size_of_batches(config: TrainConfig) -> tuple[Any, ...]:
    return tuple(getattr(config, key) for key in _OF_BATCHES)


@contextmanager
def naming(trial: Trial) -> Iterator[None]:
    """Say which trial an error is about."""
    try:
        yield
    except MemmapTrainError as error:
        raise type(error)(f"trial {trial.name}: {error}") from error


def _check_same_validation(plans: list[TrainPlan], first: list[TrainPlan], of: Trial) -> None:
    """Check that a trial is scored on the eras of the first one."""
    ranges, expected = (
        list(
            dict.fromkeys(  # all seeds have the same ones
                f"{plan.n_validation_eras:,} eras {plan.validation_range}" for plan in of_trial
            )
        )
        for of_trial in (plans, first)
    )
    if ranges != expected:
        raise FoldError(
            f"expected the validation eras of {of.name}, {expected[0]}, found {ranges[0]}: the "
            'scores can\'t be compared; set validation_eras to a range such as "0575-0700" in '
            "which all main targets have labels"
        )


def stays_failed(path: Path, trial: Trial) -> bool:
    """Return True if a trial has failed, and its folder wasn't removed."""
    return trial.failure is not None and (path / trial.name).exists()
