"""Trainings on batches of eras, and with weights of eras: the loss, resume, folds, refusals."""

import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import memmap_train as mt
from memmap_train.arrays import Floats
from memmap_train.errors import BatchError, ConfigError, MemmapTrainError, RunError
from memmap_train.runs.configuration.config import TrainConfig
from memmap_train.runs.configuration.target_transforms import TargetTransform
from memmap_train.runs.scores.era_transform import transformed_era
from memmap_train.training.parts.fold_loop import train_folds
from memmap_train.training.train import dry_run, train_run
from tests.support.errors import refused
from tests.support.loss_references import batch_loss
from tests.support.toy import write_toy
from tests.support.training_data import STEPS_PER_EPOCH, Script, small_config
from tests.support.training_runs import interrupt, results, train_killed

pytest_plugins = ["tests.support.training_fixtures"]

LAST_TRAINED = 12  # eras of 80 rows


def era_config(**changes: Any) -> TrainConfig:
    """Return a configuration of batches of 4 eras, 16 rows of each: 15 steps an epoch."""
    values = {"eras_per_batch": 4, "rows_per_era": 16, "batch_size": None, "loss": "numerai_corr"}
    return small_config(**(values | changes))


def unmoving(**changes: Any) -> TrainConfig:
    """Return one whose steps don't move the model: the loss is that of the saved one."""
    values = {"model": "linear", "learning_rate": 1e-30, "weight_decay": 0.0, "epochs": 1}
    return era_config(**(values | changes))


@pytest.fixture(scope="module")
def unequal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset of eras of 20 to 42 rows."""
    folder = tmp_path_factory.mktemp("unequal")
    eras = {f"{number:04}": 20 + 2 * (number % 12) for number in range(1, 21)}
    write_toy(folder / "source.parquet", eras, n_features=5, n_targets=2)
    mt.convert(folder / "source.parquet", folder / "dataset", workers=1)
    return folder / "dataset"


def outputs(run_dir: Path) -> Callable[[Floats], npt.NDArray[np.float32]]:
    """Return the function of a run's model."""
    model = mt.open_run(run_dir).model()
    return lambda x: np.asarray(model(x))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"loss": "mse", "corr_weight": 0.5, "std_weight": 0.25},
        {"loss": "pearson", "exposure_weight": 1.0},
        {"loss": "pearson", "rows_per_era": 0, "eras_per_batch": 3},
        {"loss": "numerai_corr", "era_weights": "half_life:4"},
        {"targets": ("target", "target_beta_20"), "target_weights": (1.0, 0.5)},
    ],
    ids=lambda changes: ", ".join(changes) or "numerai_corr",
)
def test_the_loss_of_an_epoch_is_that_of_its_batches_of_eras(
    changes: dict[str, Any], sample: Path, tmp_path: Path
) -> None:
    config, dataset = unmoving(**changes), mt.open_dataset(sample)
    train_run(sample, tmp_path / "run", config)
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    n_eras = config.eras_per_batch
    assert record["batch_size"] == n_eras * (config.rows_per_era or 80)
    batches = mt.Batches(
        dataset.select(dataset.eras[:LAST_TRAINED]),
        eras_per_batch=n_eras,
        rows_per_era=config.rows_per_era,
        era_weights=config.era_weights,
        window_size=record["window_size"],
        seed=0,
        targets=config.targets,
    )
    predict = outputs(tmp_path / "run")
    losses = [batch_loss(config, predict(x), y, x, n_eras) for x, y in batches.epoch(0)]
    assert len(losses) == (4 if n_eras == 3 else STEPS_PER_EPOCH)
    (row,) = mt.open_run(tmp_path / "run").history
    assert row["loss"] == pytest.approx(np.mean(losses), rel=1e-5)


def test_whole_eras_of_unequal_size_are_padded_and_transformed_targets_too(
    unequal: Path, tmp_path: Path
) -> None:
    dataset, transform = mt.open_dataset(unequal), TargetTransform.parse("gaussian")
    target = dataset.target_names[0]
    config = unmoving(
        rows_per_era=0,
        eras_per_batch=3,
        targets=(target,),
        target_transform="gaussian",
        allow_overlap=True,
        embargo_eras=1,
    )
    train_run(unequal, tmp_path / "run", config)
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    trained = dataset.select(record["train_eras"])
    assert record["batch_size"] == 3 * max(trained.rows_per_era)
    assert len(trained.eras) % 3 == 0  # each era comes once
    losses, predict = [], outputs(tmp_path / "run")
    for shard in trained.values():
        x = trained.decode(np.asarray(shard.features))
        y = transformed_era(transform, np.asarray(shard.targets)[:, :1], {})
        losses.append(batch_loss(config, predict(x), y, x, 1))
    (row,) = mt.open_run(tmp_path / "run").history
    assert row["loss"] == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("loss", ["mse", "huber"])
def test_weights_of_eras_weigh_rows_in_batches_of_rows(
    loss: str, sample: Path, tmp_path: Path
) -> None:
    dataset = mt.open_dataset(sample)
    column = dataset.target_names.index("target")
    config = unmoving(
        eras_per_batch=0, rows_per_era=0, batch_size=64, loss=loss, era_weights="half_life:3"
    )
    train_run(sample, tmp_path / "run", config)
    of_eras, predict = [], outputs(tmp_path / "run")
    for era in dataset.eras[:LAST_TRAINED]:
        x = dataset.decode(np.asarray(dataset[era].features))
        y = np.asarray(dataset[era].targets)[:, [column]]
        of_eras.append(batch_loss(config, predict(x), y, x, 1))
    (row,) = mt.open_run(tmp_path / "run").history
    weights = 0.5 ** (np.arange(LAST_TRAINED)[::-1] / 3)
    assert row["loss"] == pytest.approx(np.average(of_eras, weights=weights), rel=1e-5)
    assert row["loss"] != pytest.approx(np.mean(of_eras), rel=1e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {"std_weight": 0.1, "exposure_weight": 0.1, "target_transform": "gaussian"},
        {
            "eras_per_batch": 0,
            "rows_per_era": 0,
            "batch_size": 64,
            "loss": "mse",
            "era_weights": "equal",
        },
        {"rows_per_era": 0, "era_weights": "equal", "epochs": 5},
    ],
    ids=["eras", "weighted rows", "whole eras"],
)
def test_a_run_that_was_stopped_ends_like_one_that_wasnt(
    changes: dict[str, Any], sample: Path, tmp_path: Path
) -> None:
    config = era_config(**changes)
    train_run(sample, tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, tmp_path / "run", config, report=Script("step 11", interrupt))
    script = Script()
    train_run(sample, tmp_path / "run", None, resume=True, report=script)
    assert script.warnings == []
    assert script.plan is not None
    assert script.plan.first_step == 11
    assert results(tmp_path / "run") == results(tmp_path / "whole")


def test_a_run_that_was_killed_ends_like_one_that_wasnt(sample: Path, tmp_path: Path) -> None:
    config = era_config()
    train_run(sample, tmp_path / "whole", config)
    killed = replace(config, checkpoint_steps=4)
    train_killed(sample, tmp_path / "run", killed, "step 23")
    resumed = Script()
    train_run(sample, tmp_path / "run", config, resume=True, report=resumed)
    assert resumed.plan is not None
    assert resumed.plan.first_step == 20
    assert results(tmp_path / "run") == results(tmp_path / "whole")


def test_a_correlation_is_learned(sample: Path, tmp_path: Path) -> None:
    dataset = mt.open_dataset(sample)
    config = unmoving(learning_rate=0.01, epochs=6)
    train_run(dataset, tmp_path / "run", config)
    history = mt.open_run(tmp_path / "run").history
    assert history[-1]["loss"] < history[0]["loss"] - 0.02
    assert history[-1]["loss"] < 1


def test_folds_train_on_batches_of_their_own_eras(unequal: Path, tmp_path: Path) -> None:
    config = era_config(
        rows_per_era=0,
        eras_per_batch=3,
        targets=("target",),
        epochs=1,
        validation_eras=None,
        embargo_eras=1,
        allow_overlap=True,
    )
    train_folds(unequal, tmp_path / "run", config, folds=2)
    folds = [mt.open_run(fold.path) for fold in mt.open_run(tmp_path / "run").folds]
    records = [json.loads((fold.path / "config.json").read_text()) for fold in folds]
    dataset = mt.open_dataset(unequal)
    for record in records:
        assert record["batch_size"] == 3 * max(dataset.select(record["train_eras"]).rows_per_era)
    before = (tmp_path / "run" / "fold-02" / "config.json").read_bytes()
    train_folds(unequal, tmp_path / "run", None, folds=2, resume=True)
    assert (tmp_path / "run" / "fold-02" / "config.json").read_bytes() == before


def test_weights_of_a_file_that_has_changed_end_a_run_that_is_resumed(
    sample: Path, tmp_path: Path
) -> None:
    eras, file, run = mt.open_dataset(sample).eras, tmp_path / "weights.csv", tmp_path / "run"

    def write(last: float, later: float) -> None:
        weights = [1.0] * (LAST_TRAINED - 1) + [last] + [later] * (len(eras) - LAST_TRAINED)
        lines = [f"{era},{weight}" for era, weight in zip(eras, weights, strict=True)]
        file.write_text("\n".join(["era,weight", *lines]))

    write(0.5, 1)
    config = era_config(era_weights=f"file:{file}")
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, run, config, report=Script("step 3", interrupt))
    write(0.25, 1)
    with refused(RunError, "era_weights: the file has other weights"):
        train_run(sample, run, config, resume=True)
    write(0.5, 7)  # of eras that it doesn't train on
    train_run(sample, run, config, resume=True)


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"rows_per_era": 81}, BatchError, "rows_per_era 81 is larger than 12 eras"),
        ({"eras_per_batch": 13}, BatchError, "eras_per_batch 13 is larger than the data (12 eras)"),
        ({"eras_per_batch": 1, "std_weight": 1.0}, ConfigError, "eras_per_batch: expected 2 or"),
        ({"rows_per_era": 1}, ConfigError, "rows_per_era: expected 0, or 2 or more, with loss ="),
        ({"era_weights": "half_life:0"}, BatchError, "a number of eras above 0"),
        ({"era_weights": "file:no.csv"}, BatchError, "no.csv' can't be read"),
        ({"era_weights": "half_life:0.1"}, BatchError, "era_weights: era '0012' has"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else None,
)
def test_batches_that_cant_be_made_are_refused_before_there_is_a_run(
    changes: dict[str, Any], kind: type[MemmapTrainError], said: str, sample: Path, tmp_path: Path
) -> None:
    for command in (train_run, dry_run):
        with refused(kind, said):
            command(sample, tmp_path / "run", era_config(**changes))
    assert not (tmp_path / "run").exists()


def test_the_plan_says_what_a_batch_is(sample: Path, tmp_path: Path) -> None:
    plan = dry_run(sample, tmp_path / "run", era_config())
    assert plan.batch_size == 64
    assert plan.steps_per_epoch == STEPS_PER_EPOCH
    assert plan.shuffling.startswith("4 eras per batch, 16 rows of each")


def test_a_training_in_whose_loss_nothing_counts_ends(sample: Path, tmp_path: Path) -> None:
    """As where all labels are equal: it would train nothing, and its loss is no number."""
    copy = tmp_path / "dataset"
    shutil.copytree(sample, copy)
    for file in copy.glob("era-*/targets.npy"):
        np.save(file, np.full_like(np.load(file), 0.7))
        os.utime(file, ns=(0, 0))  # a file of long ago is believed without its digest
    config = era_config(model="linear", epochs=1)
    with refused(ConfigError, "nothing has counted in the loss of epoch 1", "all equal in each"):
        train_run(copy, tmp_path / "run", config)
    # Errors of rows have a loss all the same; the scores of equal labels are undefined.
    report = train_run(copy, tmp_path / "rows", small_config(model="linear", epochs=1))
    assert math.isnan(report.corr.mean)
    (row,) = mt.open_run(tmp_path / "rows").history
    assert math.isfinite(row["loss"])
