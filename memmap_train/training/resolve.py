"""Resolve a configuration for a dataset: decide everything that was left open, and check it.

Takes an opened dataset, a `TrainConfig` and, when a run is resumed, its record. Returns a
`Setup`: the configuration resolved, the fold, the batches, and the record that `config.json` will
hold. Nothing is written here.
"""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from .._version import __version__
from ..dataset.dataset import Dataset
from ..errors import ConfigError
from ..loading.batches import Batches
from ..runs.configuration.batch_keys import check_batches_and_loss
from ..runs.configuration.config import TrainConfig
from ..runs.configuration.model_params import built_in_params
from ..runs.configuration.object_reference import digest_of_code
from ..runs.configuration.ridge_keys import RIDGE, check_ridge, without_steps
from ..runs.configuration.schedule import check_schedule
from ..runs.configuration.target_transforms import TargetTransform
from ..runs.configuration.unused_keys import check_used
from ..runs.folds.fold import Fold
from ..runs.folds.folds import split
from ..runs.lineage import SUFFIX
from ..runs.record import RunRecord, fold_record
from ..runs.resume import dataset_record
from ..runs.run import Run
from ..runs.scores.score_references import check_reference, monitored_reference
from ..runs.transform_benchmarks import check_benchmarks
from ..system.paths import checked_path
from .models.build import brings_model, check_model_name
from .models.initial_model import InitialModel, check_unseen, find_initial
from .models.precision import check_precision
from .prediction.predictor import check_missing
from .run_batches import batches_of_run, order_record
from .startup import n_compute_threads

_FOLD_KEYS = ("validation_eras", "embargo_eras")

KeptEpoch = Literal["best", "last"]


@dataclass(frozen=True, slots=True)
class Setup:
    """A configuration resolved for a dataset.

    Attributes
    ----------
    dataset : Dataset
        The dataset with all its eras.
    config : TrainConfig
        Nothing in it is left open.
    fold : Fold
    batches : Batches
        The batches of the training eras.
    record : RunRecord
        The configuration, and what else belongs to the run.
    initial : InitialModel or None
        The saved model that training begins with, if there is one.
    """

    dataset: Dataset
    config: TrainConfig
    fold: Fold
    batches: Batches
    record: RunRecord
    initial: InitialModel | None

    @property
    def main_target(self) -> str:
        """The target that is scored."""
        return self.config.targets[0]

    @property
    def keeps_last_epoch(self) -> bool:
        """Whether the last epoch's model is kept, not the best one's."""
        return self.record.kept_epoch == "last"

    @property
    def named_target(self) -> str:
        """The target that the main one is an alias of, or itself."""
        return self.dataset.manifest.aliases.get(self.main_target, self.main_target)

    @property
    def best_possible(self) -> float | None:
        """The best mean score that a model can expect; see `best_possible_score`."""
        return best_possible_score(self.dataset, self.main_target)


def best_possible_score(dataset: Dataset, target: str) -> float | None:
    """Return a sample's best mean score, if its synthetic signal was made for this target."""
    aliases = dataset.manifest.aliases
    is_known = aliases.get(target, target) == aliases.get("target", "target")
    return dataset.manifest.planted if is_known else None


@dataclass(frozen=True, slots=True)
class _FoldChoice:
    """A fold and how it was chosen.

    Attributes
    ----------
    fold : Fold
    asked : mapping
        `validation_eras` and `embargo_eras` as the configuration asked for them when the run began.
    kept_epoch : "best" or "last"
        The epoch whose model is kept.
    """

    fold: Fold
    asked: Mapping[str, Any]
    kept_epoch: KeptEpoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What a run takes over from the run of folds or seeds that it is a part of.

    Attributes
    ----------
    fold : Fold
        Its eras.
    kept_epoch : "best" or "last"
        The epoch whose model is kept. Of a fold that walks forward it is the last, since its
        validation eras are to be predicted by a model that they had no part in choosing.
    initial : InitialModel or None
        The saved model that the configuration names, if it names one.
    reference : str or None
        What the monitored score refers to, if to anything.
    """

    fold: Fold
    kept_epoch: KeptEpoch
    initial: InitialModel | None
    reference: str | None


def prepare(
    dataset: Dataset,
    run: Run | None,
    config: TrainConfig | None,
    shared: Shared | None = None,
) -> Setup:
    """Decide everything that is left open, and check that it suits the dataset.

    Parameters
    ----------
    dataset : Dataset
    run : Run or None
        The run to resume, which decides where the configuration leaves something open.
    config : TrainConfig or None
        None: the run's, or the defaults.
    shared : Shared or None
        What the run of folds or seeds, of which this run is a part, has decided. None: the fold is
        the run's, or the one that the configuration asks for; the saved model is looked for; and
        the monitored score refers to what the run has recorded, or `monitored_reference` finds.

    Raises
    ------
    ConfigError, DatasetError, FoldError, BatchError
        Names that the dataset lacks, too few eras or rows, missing features.
    """
    config = _resolve_config(dataset, run, config)
    choice = _resolve_fold(dataset, run, config, shared)
    fold = choice.fold
    initial, reference = (shared.initial, shared.reference) if shared else (None, None)
    if reference is None and run is not None and run.record.monitor == config.monitor:
        reference = run.record.monitored_against
    reference = monitored_reference(dataset, config.monitor, reference)
    if choice.kept_epoch == "best":
        check_reference(dataset, config.monitor, reference, fold.validation)
    check_benchmarks(dataset.select(fold.train), TargetTransform.parse(config.target_transform))
    check_missing(dataset.select([*fold.train, *fold.validation]), config.fill_missing)
    batches = batches_of_run(dataset, run, config, fold)
    check_schedule(config, config.epochs * len(batches))
    if initial is None and config.model.endswith(SUFFIX):
        initial = find_initial(checked_path(config.model, ConfigError).resolve(), run)
    if initial is not None and not initial.is_resumed and not config.allow_overlap:
        check_unseen(initial, fold, dataset, walks_forward=choice.kept_epoch == "last")
    resolved = replace(
        config,
        model=config.model if initial is None else str(initial.path),
        validation_eras=fold.validation,
        embargo_eras=fold.embargo_eras,
        batch_size=batches.batch_size,
        window_size=batches.window_size,
        pool_batches=batches.pool_batches,
    )
    record = _record_of(dataset, resolved, choice, batches, initial, reference)
    return Setup(dataset, resolved, fold, batches, record, initial)


def _resolve_config(dataset: Dataset, run: Run | None, config: TrainConfig | None) -> TrainConfig:
    """Return the configuration with all but what depends on the fold and the batches decided."""
    if config is None:
        config = run.train_config() if run else TrainConfig()
    check_model_name(config.model)
    given = config.model_params
    params = given if brings_model(config) else built_in_params(config.model, given)
    if config.model == RIDGE:
        check_ridge(config)
        config = without_steps(config)
    if run is None:  # one that has begun goes on as it was
        check_used(config)
    check_batches_and_loss(config)
    check_precision(config, is_built_in=not brings_model(config))
    if 0 < config.patience <= config.plateau_patience:
        raise ConfigError(
            f"plateau_patience: {config.plateau_patience}, expected less than patience "
            f"({config.patience}), which ends the run before the learning rate is ever lowered; "
            "set patience higher, or to 0"
        )
    names, columns = dataset.feature_names, dataset.feature_columns(config.features)
    dataset.target_columns(config.targets)
    recorded = run.record.deterministic if run else None
    deterministic = recorded if config.deterministic is None else config.deterministic
    if deterministic is None:
        deterministic = not tf.config.list_physical_devices("GPU")
    return replace(
        config,
        features=names if columns is None else tuple(names[column] for column in columns),
        deterministic=deterministic,
        model_params=params,
    )


def _resolve_fold(
    dataset: Dataset, run: Run | None, config: TrainConfig, shared: Shared | None
) -> _FoldChoice:
    """Return the shared fold; or the run's, if the same one is requested; or a new one."""
    kept_epoch: KeptEpoch = run.record.kept_epoch if run else "best"
    asked = {key: config.to_dict()[key] for key in _FOLD_KEYS}
    if shared is not None:
        return _FoldChoice(shared.fold, asked, shared.kept_epoch)
    recorded = run.record.to_json() if run else {}
    if run and run.record.fold and _asks_for_the_same_fold(recorded, asked):
        # Eras that have come since belong to no part of it.
        asked = {key: recorded[f"asked_{key}"] for key in _FOLD_KEYS}
        return _FoldChoice(run.record.fold, asked, kept_epoch)
    fold = split(
        dataset.eras,
        dataset.labelled_eras(config.targets[0]),
        validation_eras=config.validation_eras,
        embargo_eras=config.embargo_eras,
        targets=config.targets,
        aliases=dataset.manifest.aliases,
        allow_overlap=config.allow_overlap,
    )
    return _FoldChoice(fold, asked, kept_epoch)


def _record_of(
    dataset: Dataset,
    resolved: TrainConfig,
    choice: _FoldChoice,
    batches: Batches,
    initial: InitialModel | None,
    reference: str | None,
) -> RunRecord:
    """Return the record of a run with a resolved configuration."""
    aliases = dataset.manifest.aliases
    code = initial.lineage.code if initial else ()
    values = {
        **resolved.to_dict(),
        "model_digest": None if initial is None else initial.digest,
        **({} if initial is None else {"begun_with": initial.lineage.to_json()}),
        **({} if reference is None else {"monitored_against": reference}),
        **fold_record(choice.fold),
        **{f"asked_{key}": value for key, value in choice.asked.items()},
        "kept_epoch": choice.kept_epoch,
        "main_target": resolved.targets[0],
        "named_targets": [aliases.get(name, name) for name in resolved.targets],
        **order_record(resolved, choice.fold, batches),
        **dataset_record(dataset, [choice.fold]),
        "own_code_version": digest_of_code(
            [resolved.model, *code, *resolved.callbacks, resolved.loss]
        ),
        "memmap_train_version": __version__,
        "python_version": platform.python_version(),
        "numpy_version": np.__version__,
        "keras_version": keras.__version__,
        "tensorflow_version": tf.__version__,
        "compute_threads": n_compute_threads(),
    }
    return RunRecord.from_json(values)


def _asks_for_the_same_fold(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """Return True if the fold is requested as when the run began, or era by era."""
    return all(
        f"asked_{key}" in recorded and value in (recorded[f"asked_{key}"], recorded[key])
        for key, value in asked.items()
    )
