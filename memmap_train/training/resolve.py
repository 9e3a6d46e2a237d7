"""A configuration meets a dataset: everything that was left open is decided, and checked.

In come an opened dataset, a `TrainConfig` and, when a run is resumed, what it recorded. Out comes a
`Setup`, with the configuration resolved and the record of it that `config.json` will hold; of that,
the model and the `TrainPlan`. All that is written here is a run's copy of a saved model.
"""

import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .._version import __version__
from ..dataset.dataset import Dataset
from ..dataset.eras import ERA_COLUMN
from ..errors import ConfigError, RunError, listed
from ..loading.batches import Batches
from ..loading.window_sampler import ORDER_VERSION
from ..runs.checkpoints import newest_step
from ..runs.config import TrainConfig
from ..runs.files import replacing
from ..runs.folds import Fold, automatic_embargo, split
from ..runs.lineage import SUFFIX, Lineage, begun_with, digest_of_model, lineage_of
from ..runs.object_reference import digest_of_code
from ..runs.record import RunRecord, fold_record
from ..runs.report import TrainPlan
from ..runs.resume import dataset_record
from ..runs.run import Run
from ..system.paths import checked_path
from .model import build, check_model_name
from .predictor import BLOCK_ROWS, check_missing
from .startup import n_compute_threads
from .user_models import open_saved

_FOLD_KEYS = ("validation_eras", "embargo_eras")


@dataclass(frozen=True, slots=True)
class Start:
    """The saved model that a training begins with.

    Attributes
    ----------
    path : Path
        Where it was when the run began.
    file : Path
        What is opened: that, or what the run has kept of it.
    digest : str
        Of the file that the run began with.
    lineage : Lineage
    is_resumed : bool
        Whether a run is resumed that was allowed to begin with it, and was trained since.
    """

    path: Path
    file: Path
    digest: str
    lineage: Lineage
    is_resumed: bool

    def keep(self, run: Run) -> None:
        """Copy the file into the folder of a run that has begun with it.

        Raises
        ------
        RunError
            The file has changed meanwhile, or the copy can't be written.
        """
        if self.file != self.path:
            return  # it is kept already
        try:
            with replacing(run.initial_path) as temporary:
                shutil.copyfile(self.file, temporary)
                if digest_of_model(temporary) != self.digest:
                    raise RunError(f"{self.file}: it has changed just now; run the command again")
        except OSError as error:
            if isinstance(error, RunError):
                raise
            raise RunError(
                f"{run.initial_path}: the copy of {self.file} can't be written: {error.strerror}"
            ) from error


@dataclass(frozen=True, slots=True)
class Setup:
    """A configuration resolved for a dataset.

    Attributes
    ----------
    dataset : Dataset
        With all its eras.
    config : TrainConfig
        Nothing in it is left open.
    fold : Fold
    batches : Batches
        Of the eras to train on.
    record : RunRecord
        The configuration, and what else belongs to the run.
    start : Start or None
        The saved model that training begins with, if it does with one.
    """

    dataset: Dataset
    config: TrainConfig
    fold: Fold
    batches: Batches
    record: RunRecord
    start: Start | None

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
        """The sample's best score, if the main target is the one that it is known for."""
        manifest = self.dataset.manifest
        planted_for = manifest.aliases.get("target", "target")
        return manifest.planted if self.named_target == planted_for else None


def prepare(
    dataset: Dataset,
    run: Run | None,
    config: TrainConfig | None,
    fold: Fold | None = None,
    start: Start | None = None,
) -> Setup:
    """Decide everything that is left open, and check that it suits the dataset.

    Parameters
    ----------
    dataset : Dataset
    run : Run or None
        The run to resume, which decides where the configuration leaves something open.
    config : TrainConfig or None
        None: the run's, or the defaults.
    fold : Fold or None
        One of several: it is taken as it is, and of its epochs the last is kept, since its
        validation eras are to be predicted by a model that they had no part in choosing. None: the
        run's, or what the configuration asks for.
    start : Start or None
        The saved model that the configuration names, where the run of folds knows it; None: it is
        looked for.

    Raises
    ------
    ConfigError, DatasetError, FoldError, BatchError
        Names that the dataset lacks, too few eras or rows, missing features.
    """
    recorded = run.record.to_json() if run else {}
    if config is None:
        config = run.train_config() if run else TrainConfig()
    check_model_name(config.model)
    if 0 < config.patience <= config.plateau_patience:
        raise ConfigError(
            f"plateau_patience: {config.plateau_patience}, expected less than patience "
            f"({config.patience}), which ends the run before the learning rate is ever lowered; "
            "set patience higher, or to 0"
        )
    features = dataset.feature_columns(config.features)
    dataset.target_columns(config.targets)
    main = config.targets[0]
    kept_epoch = "last" if fold else recorded.get("kept_epoch", "best")
    asked = {key: config.to_dict()[key] for key in _FOLD_KEYS}
    if fold is None and run and _asks_for_the_same_fold(recorded, asked):
        # Eras that have come since belong to no part of it.
        fold = run.record.fold
        asked = {key: recorded[f"asked_{key}"] for key in _FOLD_KEYS}
    if fold is None:
        fold = split(
            dataset.eras,
            dataset.labelled_eras(main),
            validation_eras=config.validation_eras,
            embargo_eras=config.embargo_eras,
            targets=config.targets,
            aliases=dataset.manifest.aliases,
            allow_overlap=config.allow_overlap,
        )
    check_missing(dataset.select([*fold.train, *fold.validation]), config.fill_missing)
    names = dataset.feature_names
    if config.deterministic is None:
        deterministic = recorded.get("deterministic", not tf.config.list_physical_devices("GPU"))
    else:
        deterministic = config.deterministic
    # The choice may depend on the memory that is free: it is made once in a run.
    window_size = config.window_size or recorded.get("window_size")
    pool_batches = config.pool_batches or recorded.get("pool_batches")
    feature_names = names if features is None else tuple(names[column] for column in features)
    batches = Batches(
        dataset.select(fold.train),
        batch_size=config.batch_size,
        seed=config.seed,
        features=feature_names,
        targets=config.targets,
        window_size=window_size,
        pool_batches=pool_batches,
        memory=config.memory,
    )
    if run and config.memory is not None and config.memory != recorded.get("memory"):
        _check_memory(config.memory, 2 * batches.pool_bytes)
    if start is None and config.model.endswith(SUFFIX):
        start = _find_start(checked_path(config.model, ConfigError).resolve(), run)
    if start is not None and not start.is_resumed and not config.allow_overlap:
        _check_unseen(start, fold, dataset, walks_forward=kept_epoch == "last")
    resolved = replace(
        config,
        model=config.model if start is None else str(start.path),
        features=feature_names,
        validation_eras=fold.validation,
        embargo_eras=fold.embargo_eras,
        window_size=batches.window_size,
        pool_batches=batches.pool_batches,
        deterministic=deterministic,
    )
    record = {
        **resolved.to_dict(),
        "model_digest": None if start is None else start.digest,
        **({} if start is None else {"begun_with": start.lineage.to_json()}),
        **fold_record(fold),
        **{f"asked_{key}": value for key, value in asked.items()},
        "kept_epoch": kept_epoch,
        "main_target": main,
        "named_targets": [dataset.manifest.aliases.get(name, name) for name in config.targets],
        "order_version": ORDER_VERSION,
        **dataset_record(dataset, [fold]),
        "own_code_version": digest_of_code(
            [config.model, *(start.lineage.code if start else ()), *config.callbacks]
        ),
        "memmap_train_version": __version__,
        "python_version": platform.python_version(),
        "numpy_version": np.__version__,
        "keras_version": keras.__version__,
        "tensorflow_version": tf.__version__,
        "compute_threads": n_compute_threads(),
    }
    return Setup(dataset, resolved, fold, batches, RunRecord.from_json(record), start)


def plan_of(setup: Setup, model: Any, first_step: int, epochs_done: int) -> TrainPlan:
    """Return what is about to be trained, after so many steps and epochs."""
    config, batches, fold = setup.config, setup.batches, setup.fold
    validation = setup.dataset.select(fold.validation)
    shuffling, reading = batches.explain()
    manifest = setup.dataset.manifest
    automatic, note = automatic_embargo(
        setup.dataset.eras,
        config.targets,
        manifest.aliases,
        era_column=manifest.columns.get("era") or ERA_COLUMN,
    )
    n_features, n_parameters = len(batches.feature_names), model.count_params()
    return TrainPlan(
        n_train_eras=len(fold.train),
        n_train_rows=batches.dataset.n_rows,
        n_validation_eras=len(fold.validation),
        n_validation_rows=validation.n_rows,
        n_embargo_eras=len(fold.embargo),
        train_range=f"{fold.train[0]} to {fold.train[-1]}",
        validation_range=f"{fold.validation[0]} to {fold.validation[-1]}",
        embargo=note if fold.embargo_eras == automatic else None,
        n_features=n_features,
        n_targets=len(config.targets),
        n_parameters=n_parameters,
        model=config.model,
        buffer_bytes=2 * (batches.pool_bytes + BLOCK_ROWS * n_features * 4),
        # Adam keeps two numbers for each weight.
        state_bytes=3 * n_parameters * 4,
        best_bytes=n_parameters * 4,
        main_target=setup.main_target,
        named_target=setup.named_target,
        batch_size=config.batch_size,
        shuffling=shuffling,
        reading=reading,
        steps_per_epoch=len(batches),
        epochs=config.epochs,
        first_step=first_step,
        epochs_done=epochs_done,
        deterministic=bool(config.deterministic),
    )


def make_model(setup: Setup) -> Any:
    """Build the model, its first weights the same ones in equal runs."""
    config = setup.config
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(config.seed)
    shape, start = (len(setup.batches.feature_names), len(config.targets)), setup.start
    if start is not None:
        return open_saved(*shape, start.file, start.lineage.code)
    return build(*shape, config)


def _asks_for_the_same_fold(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """Tell whether a fold is asked for in the words that a run began with, or era by era."""
    return all(
        f"asked_{key}" in recorded and value in (recorded[f"asked_{key}"], recorded[key])
        for key, value in asked.items()
    )


def _check_memory(memory: int, buffer_bytes: int) -> None:
    """Refuse less memory than a run's buffers take: the pools that it shuffles stay as they are."""
    if buffer_bytes > memory * 1_000_000:
        raise ConfigError(
            f"memory: expected {-(-buffer_bytes // 1_000_000):,} MB or more, which the run's "
            f"buffers take, found {memory:,}; how a run shuffles can't change: leave memory out, "
            "or begin a new run with another --run"
        )


def _find_start(path: Path, run: Run | None) -> Start:
    """Return the saved model that a configuration names; of a run to resume, what it began with.

    Raises
    ------
    ConfigError
        There is no such file; or the run's is gone, and the run has kept no copy.
    """
    if run is None or run.record.model != str(path):
        return Start(path, path, digest_of_model(path), lineage_of(path), is_resumed=False)
    digest = run.record.model_digest or ""
    file = _kept_file(run, path, digest)
    # Of an untrained run, what it is scored on may be another choice now.
    return Start(path, file, digest, begun_with(run), is_resumed=not run.is_untrained())


def _kept_file(run: Run, path: Path, digest: str) -> Path:
    """Return a file with the layers of the model that a run began with, and the weights if needed.

    Runs of earlier versions kept no copy.
    """
    for file in (run.initial_path, path):
        if file.exists() and digest_of_model(file) == digest:
            return file
    if run.model_path.exists() and newest_step(run.checkpoint_dir):
        return run.model_path  # the weights come from the checkpoint
    raise ConfigError(
        f"model: {path}: the saved model that {run.path} began with is gone or was trained further "
        "since, and the run has no copy of it; put it back, or begin a new run with another --run"
    )


def _check_unseen(start: Start, fold: Fold, dataset: Dataset, *, walks_forward: bool) -> None:
    """Refuse a saved model that has seen eras which it would be scored on, or eras near them."""
    lineage = start.lineage
    wrong = lineage.seen_of(fold, dataset.eras, walks_forward=walks_forward)
    themselves = [era for era in wrong if era in set(fold.validation)]
    if walks_forward and not lineage.is_known:
        found = "with folds every era is predicted by a model that hasn't seen it, and nothing"
        found += " tells what this one was trained on"
    elif not wrong:
        return
    elif walks_forward:
        found = "it was trained on eras that this fold predicts, that are near them or come later,"
        found += f" or was chosen by them ({listed(wrong, 3)})"
    elif themselves:
        found = f"it was trained on some of the validation eras ({listed(themselves, 3)})"
    else:
        reach = max(lineage.embargo_eras, fold.embargo_eras)
        found = f"it was trained on eras within {reach} of the validation eras ({listed(wrong, 3)})"
    raise ConfigError(
        f"model: {start.path}: {found}; choose other validation_eras or another model, or permit "
        "it with allow_overlap = true"
    )
