"""Training on a small sample: what is computed and written, and what is refused."""

import json
import math
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

import memmap_train as mt
from memmap_train.conversion.sample import write_sample
from memmap_train.errors import (
    BatchError,
    ConfigError,
    DatasetError,
    FoldError,
    MemmapTrainError,
    RunError,
)
from memmap_train.loading.window_sampler import ORDER_VERSION
from memmap_train.runs.checkpoints.checkpoints import newest_step
from memmap_train.runs.lock import is_running
from memmap_train.runs.reports.plan import plan_text
from memmap_train.runs.reports.report import TrainReport
from memmap_train.runs.scores.metrics import numerai_corr, pearson
from memmap_train.runs.scores.monitor import MONITORS
from memmap_train.runs.scores.summary import summary
from memmap_train.training.step import TrainStep
from memmap_train.training.train import dry_run, train_run
from tests.support.errors import refused
from tests.support.training_data import (
    ROWS_PER_ERA,
    STEPS_PER_EPOCH,
    Script,
    all_rows,
    numpy_loss,
    small_config,
)
from tests.support.training_runs import read_csv, results

pytest_plugins = ["tests.support.training_fixtures"]


# -- a whole run ----------------------------------------------------------------------------------


def test_a_run_leaves_what_it_promises(finished: tuple[Path, TrainReport]) -> None:
    path, _ = finished
    assert {entry.name for entry in path.iterdir()} >= {
        "config.json",
        "history.csv",
        "era_scores.csv",
        "model.keras",
        "state.json",
        "checkpoints",
    }
    assert not [entry for entry in path.rglob("*") if entry.name.startswith(".")]


def test_the_configuration_is_resolved(finished: tuple[Path, TrainReport], sample: Path) -> None:
    config = json.loads((finished[0] / "config.json").read_text())
    dataset = mt.open_dataset(sample)
    assert config["features"] == list(dataset.feature_names)
    assert config["validation_eras"] == list(dataset.eras[-4:])
    assert config["embargo_eras"] == 8
    assert config["embargoed_eras"] == list(dataset.eras[-12:-4])
    assert config["train_eras"] == list(dataset.eras[:-12])
    assert (config["main_target"], config["named_targets"]) == ("target", ["target_alpha_20"])
    assert (config["window_size"], config["pool_batches"]) == (4, 4)
    assert config["deterministic"] is True
    assert config["dataset_digest"] == dataset.manifest.digest
    assert config["tensorflow_version"] == tf.__version__
    assert config["order_version"] == ORDER_VERSION


def test_history_agrees_with_the_scores_and_the_model(
    finished: tuple[Path, TrainReport], sample: Path
) -> None:
    path, report = finished
    history = read_csv(path / "history.csv")
    assert [row["epoch"] for row in history] == ["1", "2"]
    means = [float(row["val_corr_mean"]) for row in history]
    assert report.best_epoch == 1 + int(np.argmax(means))
    assert report.corr.mean == max(means)
    best = history[report.best_epoch - 1]

    dataset = mt.open_dataset(sample)
    model = keras.models.load_model(path / "model.keras", compile=False)
    scores = read_csv(path / "era_scores.csv")
    assert [(row["era"], row["target"]) for row in scores] == [
        (era, "target") for era in dataset.eras[-4:]
    ]
    for row in scores:
        x, y = all_rows(dataset.select([row["era"]]))
        predictions = model.predict(x, verbose=0)[:, 0]
        assert float(row["numerai_corr"]) == numerai_corr(predictions, y)
        assert float(row["pearson"]) == pearson(predictions, y)
    corr = summary([float(row["numerai_corr"]) for row in scores])
    plain = summary([float(row["pearson"]) for row in scores])
    assert [float(best[f"val_corr_{name}"]) for name in ("mean", "std", "sharpe")] == [
        corr.mean,
        corr.std,
        corr.sharpe,
    ]
    assert float(best["val_max_drawdown"]) == corr.max_drawdown
    assert float(best["val_corr_positive"]) == corr.positive == report.corr.positive
    assert {row["learning_rate"] for row in history} == {"0.01"}
    assert float(best["val_pearson_mean"]) == plain.mean
    assert report.best_possible == dataset.manifest.planted


def test_the_model_opens_without_this_package(finished: tuple[Path, TrainReport]) -> None:
    with zipfile.ZipFile(finished[0] / "model.keras") as archive:
        text = archive.read("config.json").decode()
    assert "memmap" not in text
    assert '"registered_name": "' not in text.replace('"registered_name": "Functional"', "")


def test_a_dry_run_plans_the_run_and_writes_nothing(
    finished: tuple[Path, TrainReport], sample: Path, tmp_path: Path
) -> None:
    plan = dry_run(sample, tmp_path / "run", small_config())
    assert not list(tmp_path.iterdir())
    script = Script()
    train_run(sample, tmp_path / "run", small_config(), report=script)
    assert script.plan is not None
    free = re.compile(r"[\d.]+ GB of memory available")
    assert free.sub("", plan_text(plan)) == free.sub("", plan_text(script.plan))
    assert plan.train_range == "0001 to 0012"
    with refused(RunError, "a finished run is there already", "--resume"):
        dry_run(sample, finished[0], small_config())
    before = results(finished[0])
    again = dry_run(sample, finished[0], small_config(epochs=5), resume=True)
    assert (again.first_step, again.epochs_done, again.epochs) == (30, 2, 5)
    assert dry_run(sample, finished[0], None, resume=True).already_finished
    assert not again.already_finished
    with refused(RunError, "dropout", "0.7"):
        dry_run(sample, finished[0], small_config(dropout=0.7), resume=True)
    assert results(finished[0]) == before
    assert (finished[0] / "state.json").exists()


def test_a_run_is_trained_by_one_process_at_a_time(sample: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    held: list[bool] = []

    def try_again() -> None:
        held.append(is_running(run))
        with refused(RunError, "another process is training"):
            train_run(sample, run, small_config(), resume=True)

    train_run(sample, run, small_config(), report=Script("step 3", try_again))
    assert held == [True]
    assert not is_running(run)


def test_a_reporter_is_told_everything_in_order(sample: Path, tmp_path: Path) -> None:
    script = Script()
    report = train_run(sample, tmp_path / "run", small_config(), report=script)
    an_epoch = ["step"] * STEPS_PER_EPOCH + ["validation"] + ["epoch"]
    assert script.calls == ["started", *an_epoch, *an_epoch]
    assert script.plan is not None
    assert script.plan.steps_per_epoch == STEPS_PER_EPOCH
    assert (script.plan.n_train_rows, script.plan.n_embargo_eras) == (12 * ROWS_PER_ERA, 8)
    steps, rows, losses, rates, waits = zip(*script.steps, strict=True)
    assert steps == (*range(1, STEPS_PER_EPOCH + 1), *range(1, STEPS_PER_EPOCH + 1))
    assert all(n == 64 * step for n, step in zip(rows, steps, strict=True))
    assert [losses[STEPS_PER_EPOCH - 1], losses[-1]] == [row["loss"] for row in script.rows]
    assert min(rates) > 0
    assert 0 <= min(waits) <= max(waits) <= 1
    assert script.warnings == []
    assert report.n_steps == 2 * STEPS_PER_EPOCH


def test_the_loss_is_the_mean_over_all_labels_of_the_epoch(sample: Path, tmp_path: Path) -> None:
    # Nearly no learning: every batch meets the same model.
    config = small_config(epochs=1, learning_rate=1e-12, weight_decay=0.0, dropout=0.0)
    train_run(sample, tmp_path / "run", config)
    dataset = mt.open_dataset(sample)
    x, y = all_rows(dataset.select(dataset.eras[:12]))
    model = keras.models.load_model(tmp_path / "run" / "model.keras", compile=False)
    (row,) = read_csv(tmp_path / "run" / "history.csv")
    expected, n_labels = numpy_loss("mse", model(x).numpy()[:, 0], y)
    assert n_labels == STEPS_PER_EPOCH * 64
    assert float(row["loss"]) == pytest.approx(expected / n_labels, rel=1e-5)


def test_equal_runs_are_equal_to_the_last_bit(
    finished: tuple[Path, TrainReport], sample: Path, tmp_path: Path
) -> None:
    np.random.default_rng().random()
    tf.random.set_seed(1234)  # whatever the process did before
    train_run(sample, tmp_path / "run", small_config())
    assert results(tmp_path / "run") == results(finished[0])
    train_run(sample, tmp_path / "other", small_config(seed=1))
    assert results(tmp_path / "other")["model"] != results(finished[0])["model"]


def test_the_store_dtype_makes_no_difference(
    finished: tuple[Path, TrainReport], convert_sample: Callable[..., Path], tmp_path: Path
) -> None:
    train_run(convert_sample(dtype="int8"), tmp_path / "run", small_config())
    assert results(tmp_path / "run") == results(finished[0])


def test_the_signal_is_found(tmp_path: Path) -> None:
    # The mean score of a model that knows nothing has a standard deviation of 0.009 here, of which
    # two thirds of the best possible one are more than three.
    write_sample(tmp_path, n_eras=150, rows_per_era=1000, n_features=64)
    sources = [tmp_path / "train.parquet", tmp_path / "validation.parquet"]
    mt.convert(sources, tmp_path / "dataset")
    options = {"batch_size": 512, "hidden": (), "learning_rate": 3e-4, "validation_eras": 30}
    report = train_run(tmp_path / "dataset", tmp_path / "run", small_config(epochs=5, **options))
    assert report.best_possible is not None
    assert report.corr.mean > 2 / 3 * report.best_possible > 0.03


def test_several_targets_are_trained_and_scored(sample: Path, tmp_path: Path) -> None:
    targets = ("target_alpha_20", "target_beta_60", "target_beta_20")
    report = train_run(sample, tmp_path / "run", small_config(targets=targets, features="small"))
    dataset = mt.open_dataset(sample)
    model = keras.models.load_model(tmp_path / "run" / "model.keras", compile=False)
    n_small = len(dataset.manifest.feature_sets["small"])
    assert (model.input_shape[1], model.output_shape[1]) == (n_small, 3)
    scores = read_csv(tmp_path / "run" / "era_scores.csv")
    assert [row["target"] for row in scores] == list(targets) * 4
    main = [float(row["numerai_corr"]) for row in scores if row["target"] == targets[0]]
    assert summary(main).mean == report.corr.mean
    # The last era's 60-day target isn't known yet: it has no score, and that is all.
    unknown = [row for row in scores if math.isnan(float(row["numerai_corr"]))]
    assert {row["target"] for row in unknown} == {"target_beta_60"}
    # target_alpha_20 is what the best possible score is known for; the beta targets aren't.
    assert report.best_possible == dataset.manifest.planted
    beta = small_config(targets="target_beta_20", epochs=1)
    assert train_run(sample, tmp_path / "beta", beta).best_possible is None


def test_patience_ends_a_run(sample: Path, tmp_path: Path) -> None:
    # Nearly no learning: no epoch is better than the first one.
    config = small_config(epochs=9, patience=2, learning_rate=1e-12, weight_decay=0.0)
    report = train_run(sample, tmp_path / "run", config)
    assert (report.n_epochs, report.best_epoch, report.stopped_early) == (3, 1, True)
    longer = small_config(epochs=12, patience=2, learning_rate=1e-12, weight_decay=0.0)
    again = train_run(sample, tmp_path / "run", longer, resume=True)
    assert (again.n_epochs, again.stopped_early) == (3, True)


@pytest.mark.parametrize("monitor", ["val_max_drawdown", "val_corr_sharpe", "loss"])
def test_the_monitored_score_decides_which_epoch_is_the_best(
    monitor: str, sample: Path, tmp_path: Path
) -> None:
    report = train_run(sample, tmp_path / "run", small_config(monitor=monitor, epochs=3))
    values = [float(row[monitor]) for row in read_csv(tmp_path / "run" / "history.csv")]
    assert len(set(values)) > 1
    wanted = min(values) if MONITORS[monitor] else max(values)
    assert report.best_epoch == 1 + values.index(wanted)


def test_the_learning_rate_falls_on_a_plateau(sample: Path, tmp_path: Path) -> None:
    # Nearly no learning: no epoch is better than the first one.
    config = small_config(
        epochs=6,
        learning_rate=1e-12,
        weight_decay=0.0,
        plateau_patience=2,
        plateau_factor=0.25,
    )
    train_run(sample, tmp_path / "run", config)
    rates = [row["learning_rate"] for row in read_csv(tmp_path / "run" / "history.csv")]
    assert rates == ["1e-12"] * 3 + ["2.5e-13"] * 2 + ["6.25e-14"]


def test_scores_come_inside_epochs_and_change_nothing(
    finished: tuple[Path, TrainReport], sample: Path, tmp_path: Path
) -> None:
    script = Script()
    train_run(sample, tmp_path / "run", small_config(validation_steps=5), report=script)
    assert script.calls.count("scored") == 4
    rows = read_csv(tmp_path / "run" / "step_scores.csv")
    assert [row["step"] for row in rows] == ["5", "10", "15", "20", "25", "30"]
    assert [row["epoch"] for row in rows] == ["1"] * 3 + ["2"] * 3
    assert len({row["val_corr_mean"] for row in rows}) == 6
    found, expected = results(tmp_path / "run"), results(finished[0])
    assert {**found, "step scores": b""} == expected
    for row, of_epoch in zip(rows[2::3], found["history"], strict=True):
        assert row == {"step": row["step"], **of_epoch}


def test_embargoed_and_unlabelled_eras_are_never_opened(sample: Path, tmp_path: Path) -> None:
    copy = tmp_path / "dataset"
    shutil.copytree(sample, copy)
    embargoed = mt.open_dataset(copy).eras[-12:-4]
    for era in embargoed:
        for file in (copy / f"era-{era}").iterdir():
            file.write_bytes(b"\xff" * file.stat().st_size)
    with pytest.raises(MemmapTrainError, match=r"not a \.npy file"):
        _ = mt.open_dataset(copy)[embargoed[0]].features
    report = train_run(copy, tmp_path / "run", small_config(epochs=1))
    assert math.isfinite(report.corr.mean)


def test_validation_eras_are_not_trained_on(
    finished: tuple[Path, TrainReport], sample: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "dataset"
    shutil.copytree(sample, copy)
    for era in mt.open_dataset(copy).eras[-4:]:
        file = copy / f"era-{era}" / "targets.npy"
        targets = np.load(file)
        np.save(file, targets[::-1])
        os.utime(file, ns=(0, 0))  # a file of long ago is believed without its digest
    train_run(copy, tmp_path / "run", small_config())
    losses = [row["loss"] for row in read_csv(tmp_path / "run" / "history.csv")]
    assert losses == [row["loss"] for row in read_csv(finished[0] / "history.csv")]
    scores = (tmp_path / "run" / "era_scores.csv").read_bytes()
    assert scores != (finished[0] / "era_scores.csv").read_bytes()


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"model": "mpl"}, ConfigError, "mlp"),
        ({"features": "smal"}, DatasetError, "small"),
        ({"targets": ("targte",)}, DatasetError, "target"),
        ({"batch_size": 5000}, BatchError, "5,000"),
        ({"validation_eras": 40}, FoldError, "40"),
        ({"embargo_eras": 2}, FoldError, "embargo_eras"),
        ({"patience": 2, "plateau_patience": 2}, ConfigError, "less than patience (2)"),
    ],
)
def test_what_doesnt_suit_the_dataset_leaves_nothing_behind(
    sample: Path,
    tmp_path: Path,
    changes: dict[str, Any],
    kind: type[MemmapTrainError],
    said: str,
) -> None:
    with refused(kind, said):
        train_run(sample, tmp_path / "run", small_config(**changes))
    assert not list(tmp_path.iterdir())


def test_an_existing_run_is_refused_and_left_alone(
    finished: tuple[Path, TrainReport], sample: Path
) -> None:
    before = results(finished[0])
    with refused(RunError, str(finished[0]), "--resume"):
        train_run(sample, finished[0], small_config())
    assert results(finished[0]) == before


def test_a_loss_that_is_no_number_ends_the_run_in_one_line(sample: Path, tmp_path: Path) -> None:
    with refused(ConfigError, "in epoch 1", "learning_rate"):
        train_run(sample, tmp_path / "run", small_config(learning_rate=1e30))


@pytest.mark.parametrize("model", ["mlp", "resnet"])
def test_a_model_larger_than_memory_is_refused(model: str, sample: Path, tmp_path: Path) -> None:
    with refused(ConfigError, "hidden: ", "weights", "GB", "smaller"):
        train_run(sample, tmp_path / "run", small_config(model=model, hidden=(10**7, 10**7)))
    assert not list(tmp_path.iterdir())


def test_a_training_that_diverges_keeps_the_checkpoints_that_are_of_use(
    sample: Path, tmp_path: Path
) -> None:
    """Steps that are worth nothing are noticed at once, and push out none that are."""
    run = tmp_path / "run"
    broken: list[int] = []

    move = TrainStep.__call__

    def ruin(step: TrainStep, x: Any, y: Any) -> None:
        move(step, x, y)
        if step.count == STEPS_PER_EPOCH + 2:
            broken.append(step.count)
            kernel = step.model.trainable_variables[0]
            kernel.assign(np.full(kernel.shape, np.nan, np.float32))

    config = small_config(checkpoint_steps=1, epochs=3, weight_decay=0.01)
    with mock.patch.object(TrainStep, "__call__", ruin):
        for resume in (False, True):
            said = ["weights", f"{STEPS_PER_EPOCH + 2} steps", "learning_rate", "weight_decay"]
            with refused(ConfigError, *said, "epoch 2"):
                train_run(sample, run, config, resume=resume)
            assert newest_step(run / "checkpoints") == STEPS_PER_EPOCH + 1
    assert broken == [STEPS_PER_EPOCH + 2] * 2
    assert train_run(sample, run, config, resume=True).n_epochs == 3


def test_missing_features_are_filled_or_refused(with_missing: Path, tmp_path: Path) -> None:
    common: dict[str, Any] = {
        "embargo_eras": 0,
        "allow_overlap": True,
        "targets": ("target_t1_20",),
        "batch_size": 32,
    }
    with refused(ConfigError, "missing", "fill_missing"):
        train_run(with_missing, tmp_path / "refused", small_config(**common))
    assert not (tmp_path / "refused").exists()
    train_run(with_missing, tmp_path / "filled", small_config(fill_missing=0.5, **common))
    filled = results(tmp_path / "filled")
    losses = [float(row["loss"]) for row in filled["history"]]
    assert len(losses) == 2
    assert 0 < min(losses) <= max(losses) < math.inf
