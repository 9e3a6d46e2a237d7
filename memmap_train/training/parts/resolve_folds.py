"""The folds of a training: decided and checked before anything is written.

Takes a dataset, a configuration and, when a run of folds is resumed, its record; returns
`ResolvedFolds`. The folds of a run stay the ones that it began with: new eras don't move them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ...dataset.dataset import Dataset
from ...errors import ConfigError, MemmapTrainError, RunError
from ...runs.configuration.config import TrainConfig
from ...runs.folds.fold import Fold
from ...runs.folds.folds import walk_forward
from ...runs.record import RunRecord, fold_record
from ...runs.resume import dataset_record
from ...runs.run import Run
from ...runs.scores.score_references import check_reference
from ..models.initial_model import InitialModel
from ..resolve import Setup, Shared, prepare
from .parts import check_user_code

# Of a fold's own record; a run of folds has those of all its folds.
_OF_ONE_FOLD = (
    "train_eras",
    "embargoed_eras",
    "eras_without_benchmark",
    "asked_validation_eras",
)


@dataclass(frozen=True, slots=True)
class ResolvedFolds:
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

    def shared(self, fold: Fold, initial: InitialModel | None) -> Shared:
        """Return what a fold takes over; `initial` is the saved model where the run keeps it."""
        return shared_of_fold(fold, initial, self.record.monitored_against)


def resolve_folds(
    dataset: Dataset,
    run: Run | None,
    config: TrainConfig,
    folds: int | Literal["numerai"],
    rolling_eras: int | None,
) -> ResolvedFolds:
    """Decide all folds, and check what the user brings before anything is written.

    Parameters
    ----------
    dataset : Dataset
    run : Run or None
        The run of folds, or of seeds with folds, to resume.
    config, folds, rolling_eras
        See `train_folds`.
    """
    config = replace(config, patience=0)
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
    begun = run if run and not run.is_untrained() else None
    asked = {
        "asked_folds": folds,
        "asked_rolling_eras": rolling_eras,
        "asked_embargo_eras": _asked_embargo(run, config),
    }
    chosen = _choose_folds(dataset, begun, config, asked)
    # The last fold has the most rows: what is chosen for it suits the others.
    common, initial, reference = _common(dataset, run, config, chosen[-1])
    predicted = [era for fold in chosen for era in fold.validation]
    check_reference(dataset, common.monitor, reference, predicted)
    configs = tuple(replace(common, validation_eras=fold.validation) for fold in chosen)
    for number, (of_fold, fold) in enumerate(zip(configs, chosen, strict=True), start=1):
        try:
            # Its batches go: a fold is trained at a time.
            prepare(dataset, None, of_fold, shared_of_fold(fold, initial, reference))
        except MemmapTrainError as error:
            raise type(error)(f"fold {number} of {len(chosen)}: {error}") from error
    last = prepare(dataset, None, configs[-1], shared_of_fold(chosen[-1], initial, reference))
    check_user_code(last)
    record = _record(last, chosen, asked)
    return ResolvedFolds(dataset, run, chosen, configs, record, initial)


def shared_of_fold(
    fold: Fold, initial: InitialModel | None = None, reference: str | None = None
) -> Shared:
    """Return what a fold takes over: its last epoch's model is kept.

    Parameters
    ----------
    fold : Fold
    initial : InitialModel, optional
        The saved model that it begins with.
    reference : str, optional
        What the monitored score refers to.
    """
    return Shared(fold=fold, kept_epoch="last", initial=initial, reference=reference)


def _common(
    dataset: Dataset, run: Run | None, config: TrainConfig, fold: Fold
) -> tuple[TrainConfig, InitialModel | None, str | None]:
    """Return the settings that all folds share, so that the batches can be freed."""
    # The saved model that the configuration names is looked for, and what is monitored against.
    setup = prepare(dataset, run, config, shared_of_fold(fold, None, None))
    return setup.config, setup.initial, setup.record.monitored_against


def _asked_embargo(run: Run | None, config: TrainConfig) -> int | str | None:
    """Return the embargo that is asked for: in words, if a run found it by them."""
    if run and config.embargo_eras == run.record.embargo_eras:
        return run.record.asked_embargo_eras
    return config.embargo_eras


def _choose_folds(
    dataset: Dataset, run: Run | None, config: TrainConfig, asked: Mapping[str, Any]
) -> tuple[Fold, ...]:
    """Return the folds of a run that has begun, if the same ones are requested.

    New eras don't move them.
    """
    if run:
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
        if asked["asked_embargo_eras"] == run.record.asked_embargo_eras:
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
