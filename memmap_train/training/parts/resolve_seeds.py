"""What all seeds of a run share: decided and checked before anything is written.

Takes a dataset and a configuration, and the folder of a run that may be resumed; returns
`ResolvedSeeds`.
"""

import os
from dataclasses import dataclass, replace
from typing import Literal

from ...arguments import whole_number
from ...dataset.dataset import Dataset
from ...errors import ConfigError
from ...runs.configuration.config import TrainConfig
from ...runs.configuration.ridge_keys import RIDGE
from ...runs.folds.fold import Fold
from ...runs.folds.selection import DatasetOrPath
from ...runs.found_run import found_run
from ...runs.record import RunRecord
from ...runs.resume import dataset_record
from ...runs.run import Run
from ..models.initial_model import InitialModel
from ..resolve import Shared, prepare
from ..startup import require_tensorflow
from .parts import check_user_code
from .resolve_folds import ResolvedFolds, resolve_folds

MIN_SEEDS, MAX_SEEDS = 2, 1000


@dataclass(frozen=True, slots=True)
class ResolvedSeeds:
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


def resolve_seeds(
    dataset: DatasetOrPath,
    run_dir: str | os.PathLike[str],
    config: TrainConfig | None,
    seeds: int,
    folds: int | Literal["numerai"] | None,
    rolling_eras: int | None,
    *,
    resume: bool,
) -> ResolvedSeeds:
    """Decide what all seeds share, and check what the user brings before anything is written.

    Parameters
    ----------
    dataset, run_dir, config, seeds, folds, rolling_eras, resume
        See `seed_loop.train_seeds`.
    """
    require_tensorflow()
    _check_number(seeds)
    run, found, _ = found_run(dataset, run_dir, resume=resume, seeds=True, folds=folds is not None)
    if config is None:
        config = run.train_config() if run else TrainConfig()
    if config.model == RIDGE:
        raise ConfigError(
            f"model: {RIDGE!r} has no seed: all of them would be the same model; train it without "
            "--seeds"
        )
    # The last one may be too large, which is an error.
    numbers = [replace(config, seed=config.seed + i).seed for i in range(seeds)]
    if folds is not None:
        resolved = resolve_folds(found, run, config, folds, rolling_eras)
        record = resolved.record.changed(seeds=numbers)
        return ResolvedSeeds(found, run, config, record, resolved.initial, resolved)
    setup = prepare(found, run, config)
    check_user_code(setup)
    record = setup.record.changed(seeds=numbers)
    return ResolvedSeeds(found, run, setup.config, record, setup.initial, None)


def folds_of_seed(
    folds: ResolvedFolds,
    seed: int,
    dataset: Dataset,
    run: Run | None,
    initial: InitialModel | None,
) -> ResolvedFolds:
    """Return the folds of one seed.

    Parameters
    ----------
    folds : ResolvedFolds
        The folds that all seeds share.
    seed : int
    dataset : Dataset
        The dataset as it is now.
    run : Run or None
        The seed's run, if it has begun.
    initial : InitialModel or None
        The saved model, where the run of seeds keeps it.
    """
    return replace(
        folds,
        dataset=dataset,
        run=run,
        configs=tuple(replace(config, seed=seed) for config in folds.configs),
        record=folds.record.changed(seed=seed, **dataset_record(dataset, folds.folds)),
        initial=initial,
    )


def _check_number(seeds: int) -> None:
    """Raise a ConfigError if the seeds are fewer than two, or too many."""
    number = whole_number("seeds", seeds, ConfigError, most=MAX_SEEDS)
    if number < MIN_SEEDS:
        raise ConfigError(
            f"seeds: expected {MIN_SEEDS} or more, found {number}: without --seeds one model is "
            "trained, with the seed of the configuration"
        )
