"""Training on a small sample: what is computed and written, and that stopping costs nothing."""

import contextlib
import errno
import gc
import json
import math
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

import memmap_train as mt
from memmap_train.cli.commands import main
from memmap_train.conversion.sample import write_sample
from memmap_train.errors import (
    BatchError,
    ConfigError,
    DatasetError,
    FoldError,
    MemmapTrainError,
    RunError,
)
from memmap_train.loading.sequential import SequentialReader
from memmap_train.loading.window_sampler import ORDER_VERSION
from memmap_train.runs.checkpoints import newest_step
from memmap_train.runs.lock import is_running
from memmap_train.runs.metrics import numerai_corr, pearson, why_undefined
from memmap_train.runs.monitor import MONITORS
from memmap_train.runs.report import Reporter, TrainReport, plan_text
from memmap_train.runs.summary import summary
from memmap_train.system.buffers import BufferPool
from memmap_train.system.direct_io import can_read_directly
from memmap_train.system.memory_budget import PROCESS_MEMORY
from memmap_train.training import predictor as predicting
from memmap_train.training.model import build
from memmap_train.training.predictor import Predictor
from memmap_train.training.step import TrainStep, as_tensor, masked_loss
from memmap_train.training.train import dry_run, train_run
from memmap_train.training.validation import mapped_labels, score_eras
from tests.support.errors import refused
from tests.support.training_data import (
    ROWS_PER_ERA,
    STEPS_PER_EPOCH,
    Script,
    all_rows,
    small_config,
)
from tests.support.training_runs import interrupt, read_csv, results, weights

pytest_plugins = ["tests.support.training_fixtures"]


@pytest.fixture(scope="module")
def finished(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainReport]:
    """Return a run of two epochs that nothing interrupted, and its report."""
    path = tmp_path_factory.mktemp("finished") / "run"
    return path, train_run(sample, path, small_config())


# -- tensors --------------------------------------------------------------------------------------


def aligned(n_values: int) -> npt.NDArray[np.float32]:
    array: npt.NDArray[np.float32] = BufferPool().array((n_values,), np.dtype(np.float32))
    array[:] = np.arange(n_values)
    return array


def test_an_aligned_array_becomes_a_tensor_without_a_copy() -> None:
    array = aligned(64)
    tensor = as_tensor(array)
    array[5] = 77
    assert tensor[5] == 77


@pytest.mark.parametrize("first", [1, 4, 8, 15])
def test_an_array_that_isnt_aligned_is_copied(first: int) -> None:
    # Taken over, it would abort the process.
    array = aligned(64)[first:]
    tensor = as_tensor(array)
    np.testing.assert_array_equal(tensor.numpy(), array)
    array[5] = 77
    assert tensor[5] != 77


def test_arrays_that_cant_be_shared_are_copied() -> None:
    columns = aligned(64).reshape(8, 8)[:, :3]
    np.testing.assert_array_equal(as_tensor(columns).numpy(), columns)
    frozen = aligned(64)
    frozen.flags.writeable = False
    np.testing.assert_array_equal(as_tensor(frozen).numpy(), frozen)


def test_memory_is_used_again_only_after_the_tensor_is_gone() -> None:
    memory, shape, dtype = BufferPool(), (64,), np.dtype(np.float32)
    array = memory.array(shape, dtype)
    array[:] = 1
    address = array.ctypes.data
    tensor = as_tensor(array)
    del array
    gc.collect()
    others = [memory.array(shape, dtype) for _ in range(3)]
    for other in others:
        other[:] = 2
    assert address not in [other.ctypes.data for other in others]
    np.testing.assert_array_equal(tensor.numpy(), np.ones(64))
    del tensor
    gc.collect()
    assert memory.array(shape, dtype).ctypes.data == address


# -- the step -------------------------------------------------------------------------------------


def numpy_loss(kind: str, predictions: Any, targets: Any) -> tuple[float, int]:
    error = (predictions.astype(np.float64) - targets)[~np.isnan(targets)]
    size = np.abs(error)
    loss = {
        "mse": error**2,
        "mae": size,
        "huber": np.where(size < 0.25, error**2 / 2, 0.25 * (size - 0.125)),
    }[kind]
    return float(loss.sum()), len(error)


def some_targets(rows: int, columns: int, seed: int = 0) -> npt.NDArray[np.float32]:
    generator = np.random.default_rng([seed])
    targets = generator.choice([0, 0.25, 0.5, 0.75, 1], (rows, columns)).astype(np.float32)
    targets[generator.random(targets.shape) < 0.3] = np.nan
    return targets


@pytest.mark.parametrize("kind", ["mse", "mae", "huber"])
def test_the_loss_is_that_of_labelled_cells(kind: str) -> None:
    predictions = np.random.default_rng([1]).normal(0.5, 0.5, (50, 3)).astype(np.float32)
    targets = some_targets(50, 3)
    expected, n_labels = numpy_loss(kind, predictions, targets)
    loss, labels = masked_loss(kind, tf.constant(predictions), tf.constant(targets))
    assert float(loss) == pytest.approx(expected, rel=1e-6)
    assert int(labels) == n_labels
    assert 0 < n_labels < targets.size


def test_labels_beyond_the_whole_numbers_of_float32_are_counted() -> None:
    n_rows = 2**24 + 100
    targets = np.zeros((n_rows, 1), np.float32)
    targets[:: 2**20] = np.nan
    _, labels = masked_loss("mse", tf.zeros((n_rows, 1)), tf.constant(targets))
    assert int(labels) == n_rows - 17
    assert int(np.float32(n_rows - 17)) != n_rows - 17


@pytest.mark.parametrize("kind", ["mse", "mae", "huber"])
def test_missing_labels_have_no_gradient(kind: str) -> None:
    predictions = tf.Variable(np.full((50, 3), 0.4, np.float32))
    targets = some_targets(50, 3)
    with tf.GradientTape() as tape:
        loss, _ = masked_loss(kind, predictions, tf.constant(targets))
    gradient = tape.gradient(loss, predictions).numpy()
    assert np.isfinite(gradient).all()
    assert not gradient[np.isnan(targets)].any()
    assert gradient[~np.isnan(targets)].all()


def linear_step(batch_size: int = 16, n_targets: int = 2, **changes: Any) -> TrainStep:
    config = small_config(model="linear", batch_size=batch_size, **changes)
    keras.utils.set_random_seed(0)
    return TrainStep(build(4, n_targets, config), 4, n_targets, config)


def test_sums_and_steps_are_counted_over_batches() -> None:
    step = linear_step(learning_rate=1e-12, weight_decay=0.0)
    generator = np.random.default_rng([2])
    expected, n_labels = 0.0, 0
    for number in range(3):
        x = generator.random((16, 4), np.float32)
        y = some_targets(16, 2, seed=number)
        loss, labels = numpy_loss("mse", step.model(x).numpy(), y)
        expected, n_labels = expected + loss, n_labels + labels
        step(x, y)
    assert step.count == 3
    assert step.sums == pytest.approx((expected, n_labels), rel=1e-5)


def test_a_batch_without_labels_counts_nothing_and_only_decays() -> None:
    step = linear_step(learning_rate=0.1, weight_decay=0.5)
    kernel, bias = step.weights()
    step(np.ones((16, 4), np.float32), np.full((16, 2), np.nan, np.float32))
    assert step.sums == (0.0, 0.0)
    assert step.count == 1
    after = step.weights()
    np.testing.assert_allclose(after[0], kernel * (1 - 0.1 * 0.5), rtol=1e-6)
    np.testing.assert_array_equal(after[1], bias)


def test_a_target_without_labels_leaves_the_other_as_it_is() -> None:
    x = np.random.default_rng([3]).random((16, 4), np.float32)
    y = some_targets(16, 2)
    y[:, 1] = np.nan
    both, alone = linear_step(), linear_step(n_targets=1)
    alone.model.set_weights([w[..., :1] for w in both.weights()])
    for _ in range(5):
        both(x, y)
        alone(x, np.ascontiguousarray(y[:, :1]))
    for together, single in zip(both.weights(), alone.weights(), strict=True):
        np.testing.assert_allclose(together[..., :1], single, rtol=1e-5)


def test_missing_features_are_filled_in_the_step() -> None:
    x = (np.random.default_rng([4]).integers(0, 5, (16, 4)) / 4).astype(np.float32)
    y, holes = some_targets(16, 2), x.copy()
    holes[::3, 1] = np.nan
    x[::3, 1] = 0.25
    filling, plain = linear_step(fill_missing=0.25), linear_step()
    for _ in range(3):
        filling(holes, y)
        plain(x, y)
    assert [w.tobytes() for w in filling.weights()] == [w.tobytes() for w in plain.weights()]


def test_state_comes_back_to_the_last_bit() -> None:
    config = small_config(batch_size=16, dropout=0.5)
    x, y = np.ones((16, 4), np.float32), some_targets(16, 1)
    first, second = (TrainStep(build(4, 1, config), 4, 1, config) for _ in range(2))
    for _ in range(3):
        first(x, y)
    kept = first.arrays()
    for _ in range(3):
        first(x, y)
    second.restore(kept)
    assert second.count == 3
    for _ in range(3):
        second(x, y)
    assert first.sums == second.sums
    for name, array in first.arrays().items():
        assert second.arrays()[name].tobytes() == array.tobytes(), name
    assert not np.array_equal(kept["model/0000"], first.arrays()["model/0000"])


def test_the_state_of_another_model_is_refused() -> None:
    with refused(RunError, "checkpoint", "begin a new run"):
        linear_step(n_targets=1).restore(linear_step(n_targets=2).arrays())


# -- models ---------------------------------------------------------------------------------------


def test_models_begin_near_the_middle_of_the_targets() -> None:
    x = np.random.default_rng([5]).integers(0, 5, (500, 20)).astype(np.float32) / 4
    for name in ("mlp", "linear"):
        predictions = build(20, 2, small_config(model=name)).predict(x, verbose=0)
        assert predictions.shape == (500, 2)
        assert np.abs(predictions - 0.5).max() < 0.3


def test_hidden_layers_are_those_of_the_configuration() -> None:
    model = build(20, 2, small_config(hidden=(7, 5), dropout=0.0))
    assert [w.shape for w in model.get_weights()] == [(20, 7), (7,), (7, 5), (5,), (5, 2), (2,)]
    assert len(build(20, 2, small_config(model="linear")).get_weights()) == 2


def test_an_unknown_model_is_refused() -> None:
    with refused(ConfigError, "'mpl'", "did you mean 'mlp'?"):
        build(20, 2, small_config(model="mpl"))


# -- validation -----------------------------------------------------------------------------------


def test_scores_are_those_of_each_era_by_itself(sample: Path) -> None:
    dataset = mt.open_dataset(sample)
    dataset = dataset.select(dataset.eras[3:9])
    targets = ["target_beta_20", "target"]
    names = list(reversed(dataset.feature_names))
    model = build(len(names), 2, small_config())
    seen: list[tuple[int, int]] = []
    scores = score_eras(
        Predictor(model, None),
        dataset,
        names,
        mapped_labels(dataset, targets),
        progress=lambda *now: seen.append(now),
    )
    assert scores.corr.shape == scores.pearson.shape == (6, 2)
    for position, era in enumerate(dataset.eras):
        one = dataset.select([era])
        predictions = model(all_rows(one)[0][:, ::-1]).numpy()
        for column, target in enumerate(targets):
            labels = all_rows(one, target)[1]
            assert scores.corr[position, column] == numerai_corr(predictions[:, column], labels)
            assert scores.pearson[position, column] == pearson(predictions[:, column], labels)
    assert scores.corr_summary() == summary(scores.corr[:, 0])
    assert scores.pearson_summary() == summary(scores.pearson[:, 0])
    assert seen[-1] == (6 * ROWS_PER_ERA, 6 * ROWS_PER_ERA)


def test_validation_is_read_past_the_cache_where_all_eras_dont_fit_into_memory(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(epochs=1, window_size=1, pool_batches=1)
    found = []
    for available in (10**12, 0):
        monkeypatch.setattr(PROCESS_MEMORY, "available", lambda given=available: given)
        with mock.patch.object(
            predicting, "SequentialReader", side_effect=SequentialReader
        ) as blocks:
            train_run(sample, tmp_path / str(available), config)
        assert blocks.call_args.kwargs == {
            "past_cache": not available and can_read_directly(sample / "manifest.json")
        }
        found.append((tmp_path / str(available) / "era_scores.csv").read_bytes())
    assert found[0] == found[1]


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
        predictions = model(x).numpy()[:, 0]
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


def test_eras_that_have_no_score_are_told_of_with_the_reason(sample: Path, tmp_path: Path) -> None:
    said: list[str] = []

    class Listener(Reporter):
        def warning(self, text: str) -> None:
            said.append(text)

    report = train_run(
        sample, tmp_path / "run", small_config(learning_rate=1e-30), report=Listener()
    )
    assert not said
    assert math.isfinite(report.corr.mean)
    with mock.patch.object(Predictor, "predict", constant_predictions):
        report = train_run(sample, tmp_path / "equal", small_config(), report=Listener())
    assert math.isnan(report.corr.mean)
    (text,) = said  # though there were two epochs
    assert "eras have no score: predictions that are all equal; try another learning_rate" in text


def constant_predictions(
    predictor: Predictor, dataset: mt.Dataset, *_: Any, **__: Any
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    for era in dataset.eras:
        yield era, np.full((dataset[era].n_rows, 1), 0.5, np.float32)


@pytest.mark.parametrize(
    ("predictions", "target", "reason"),
    [
        ([0.1, 0.2], [0.5, math.nan], "fewer than two labelled rows"),
        ([], [], "fewer than two labelled rows"),
        ([0.1, math.nan], [0.5, 0.25], "predictions that are no numbers"),
        ([0.1, 0.2, math.nan], [0.5, 0.5, math.nan], "a constant target"),
        ([0.1, 0.1], [0.5, 0.25], "predictions that are all equal"),
    ],
)
def test_why_an_era_has_no_score(
    predictions: list[float], target: list[float], reason: str
) -> None:
    arrays = np.array(predictions), np.array(target)
    assert math.isnan(numerai_corr(*arrays))
    assert why_undefined(*arrays) == reason


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


# -- stopped and resumed --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    ["started 1", "step 1", "step 7", "step 15", "validation 1", "epoch 1", "step 16", "step 30"],
)
def test_an_interrupted_run_ends_like_one_that_wasnt(
    finished: tuple[Path, TrainReport], sample: Path, tmp_path: Path, call: str
) -> None:
    run = tmp_path / "run"
    script = Script(call, interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, run, small_config(), report=script)
    n_steps = script.calls.count("step")
    resumed = Script()
    report = train_run(sample, run, small_config(), resume=True, report=resumed)
    assert results(run) == results(finished[0])
    assert resumed.plan is not None
    # Only "started" comes before anything could be saved.
    assert resumed.plan.first_step == n_steps
    assert n_steps + resumed.calls.count("step") == 2 * STEPS_PER_EPOCH
    assert report.corr.mean == finished[1].corr.mean


def test_many_interruptions_end_like_none(
    finished: tuple[Path, TrainReport], sample: Path, tmp_path: Path
) -> None:
    run, n_interruptions = tmp_path / "run", 0
    while not (run / "state.json").exists():
        try:
            train_run(sample, run, small_config(), resume=True, report=Script("step 4", interrupt))
        except KeyboardInterrupt:
            n_interruptions += 1
    assert n_interruptions == 7
    assert results(run) == results(finished[0])


VARIANTS: dict[str, dict[str, Any]] = {
    "plateau": {"epochs": 4, "plateau_patience": 1, "monitor": "val_max_drawdown"},
    "scores inside epochs": {"validation_steps": 4},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_all_state_survives_interruptions(name: str, sample: Path, tmp_path: Path) -> None:
    config = small_config(**VARIANTS[name])
    train_run(sample, tmp_path / "whole", config)
    whole = results(tmp_path / "whole")
    if name == "plateau":
        assert len({row["learning_rate"] for row in whole["history"]}) > 1
    for calls in (["step 8", "scored 1", "step 9"], ["validation 1", "epoch 1", "step 4"]):
        run = tmp_path / calls[0]
        for call in calls:
            with contextlib.suppress(KeyboardInterrupt):
                train_run(sample, run, config, resume=True, report=Script(call, interrupt))
        train_run(sample, run, config, resume=True)
        assert results(run) == whole


def test_a_killed_run_ends_like_one_that_wasnt(
    finished: tuple[Path, TrainReport], sample: Path, tmp_path: Path
) -> None:
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.support.training_data import Script, small_config
from memmap_train.training.train import train_run
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
train_run({str(sample)!r}, {str(tmp_path / "run")!r}, small_config(checkpoint_steps=4),
      report=Script("step 23", die))
"""
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not (tmp_path / "run" / "state.json").exists()
    resumed = Script()
    train_run(sample, tmp_path / "run", small_config(), resume=True, report=resumed)
    assert resumed.plan is not None
    assert resumed.plan.first_step == 20
    assert results(tmp_path / "run") == results(finished[0])


def test_checkpoints_come_by_steps_and_the_last_two_and_the_best_stay(
    sample: Path, tmp_path: Path
) -> None:
    def names() -> None:
        seen.append(sorted(os.listdir(tmp_path / "run" / "checkpoints")))

    seen: list[list[str]] = []
    config = small_config(checkpoint_steps=4)
    train_run(sample, tmp_path / "run", config, report=Script("step 14", names))
    assert seen == [["step-000000008.npz", "step-000000012.npz"]]
    names()
    best_step = 15 * train_run(sample, tmp_path / "run", None, resume=True).best_epoch
    kept = {28, 30, best_step}
    assert seen[1] == [f"step-{step:09d}.npz" for step in sorted(kept)]


def test_checkpoints_come_by_minutes(sample: Path, tmp_path: Path) -> None:
    names: list[str] = []
    script = Script("step 14", lambda: names.extend(os.listdir(tmp_path / "run" / "checkpoints")))
    train_run(sample, tmp_path / "run", small_config(checkpoint_minutes=1e-9), report=script)
    assert sorted(names) == ["step-000000012.npz", "step-000000013.npz"]


def test_a_damaged_checkpoint_costs_a_few_steps_and_nothing_else(
    finished: tuple[Path, TrainReport], sample: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train_run(
            sample, run, small_config(checkpoint_steps=4), report=Script("step 21", interrupt)
        )
    newest = run / "checkpoints" / "step-000000021.npz"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    script = Script()
    train_run(sample, run, small_config(), resume=True, report=script)
    assert script.plan is not None
    assert script.plan.first_step == 20
    (warning,) = script.warnings
    assert "step-000000021.npz" in warning
    assert results(run) == results(finished[0])


def test_a_full_disk_is_survived(
    finished: tuple[Path, TrainReport], sample: Path, tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    run, sizes = tmp_path / "run", []

    class FullDisk(Script):
        """Nothing larger than 1 kB can be written from step 5 to the end of the last epoch."""

        def step(self, *numbers: Any) -> None:
            super().step(*numbers)
            if self.calls.count("step") == 5:
                sizes.extend(os.listdir(run / "checkpoints"))
                resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))

        def epoch(self, row: Any) -> None:
            super().epoch(row)
            if row["epoch"] == 2:
                assert set(sizes) <= set(os.listdir(run / "checkpoints"))
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    script = FullDisk()
    try:
        train_run(sample, run, small_config(checkpoint_steps=4), report=script)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sizes == ["step-000000004.npz"]
    assert len(script.warnings) == len(set(script.warnings)) == 2  # each once, not each time
    assert all("couldn't be written" in warning for warning in script.warnings)
    assert [row["loss"] for row in script.rows] == [
        float(row["loss"]) for row in read_csv(finished[0] / "history.csv")
    ]
    # In the end there was space again.
    assert (run / "era_scores.csv").read_bytes() == (finished[0] / "era_scores.csv").read_bytes()
    assert [w.tobytes() for w in weights(run)] == [w.tobytes() for w in weights(finished[0])]


def test_a_picture_that_fails_costs_no_run_and_comes_when_it_is_resumed(
    finished: tuple[Path, TrainReport],
    sample: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figure = pytest.importorskip("matplotlib.figure")

    def fail(*_: object, **__: object) -> None:
        raise ValueError("no fonts")

    run, script = tmp_path / "run", Script()
    with monkeypatch.context() as patch:
        patch.setattr(figure.Figure, "savefig", fail)
        report = train_run(sample, run, small_config(), report=script)
        again = train_run(sample, run, resume=True, report=script)
    assert (report.chart_path, again.chart_path) == (None, None)
    assert again.already_finished
    assert ["ValueError: no fonts" in warning for warning in script.warnings] == [True, True]
    assert results(run) == results(finished[0])
    script = Script()
    again = train_run(sample, run, resume=True, report=script)
    assert again.already_finished
    assert again.chart_path == str(run / "validation.png")
    assert (run / "validation.png").exists()
    assert script.warnings == []


def test_resuming_what_hasnt_begun_begins(
    finished: tuple[Path, TrainReport], sample: Path, tmp_path: Path
) -> None:
    train_run(sample, tmp_path / "new", small_config(), resume=True)
    assert results(tmp_path / "new") == results(finished[0])


@pytest.mark.parametrize(
    ("lost", "content"),
    [
        ("model.keras", None),
        ("history.csv", None),
        ("era_scores.csv", None),
        ("era_scores.csv", "era,target\n0021,target\n"),
        ("state.json", None),
        ("state.json", "{"),
    ],
)
def test_what_is_lost_of_a_finished_run_is_written_again(
    finished: tuple[Path, TrainReport], sample: Path, tmp_path: Path, lost: str, content: str | None
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    (run / lost).unlink()
    if content is not None:
        (run / lost).write_text(content)
    report = train_run(sample, run, small_config(), resume=True)
    assert not report.already_finished
    assert results(run) == results(finished[0])
    assert train_run(sample, run, small_config(), resume=True).already_finished


def test_a_run_inside_a_dataset_is_refused(sample: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(sample)
    other = tmp_path / "other"
    other.mkdir()
    (other / "manifest.json").write_text('{"format": "memmap-train"}')
    inside = (sample, sample / "run", sample / "a" / "b", tmp_path / "link" / "run", other / "run")
    for run in inside:
        with refused(RunError, str(run), "inside the dataset"):
            train_run(sample, run, small_config())
    assert not (sample / "run").exists()
    assert not (other / "run").exists()


@pytest.mark.parametrize("folder", [".", "checkpoints"])
def test_a_run_that_cannot_be_written_is_refused_before_it_is_resumed(
    sample: Path, tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, run, small_config(), report=Script("step 3", interrupt))
    touch = Path.touch

    def refusing(self: Path, *arguments: Any, **options: Any) -> None:
        if self.parent == run / folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        touch(self, *arguments, **options)

    monkeypatch.setattr(Path, "touch", refusing)  # root may write anywhere
    script = Script()
    with refused(RunError, "can't be written there: Permission denied"):
        train_run(sample, run, resume=True, report=script)
    assert script.calls == []


def test_a_checkpoint_that_the_system_withholds_is_not_thrown_away(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, run, small_config(), report=Script("step 3", interrupt))
    before = os.listdir(run / "checkpoints")
    path_open = Path.open

    def withholding(self: Path, *arguments: Any, **options: Any) -> Any:
        if self.suffix == ".npz":
            raise OSError(errno.EIO, "Input/output error", str(self))
        return path_open(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", withholding)
    with refused(RunError, ".npz: can't be read: Input/output error", "--resume"):
        train_run(sample, run, resume=True)
    assert os.listdir(run / "checkpoints") == before


def test_epochs_may_be_raised_by_that_key_alone(
    finished: tuple[Path, TrainReport], sample: Path, tmp_path: Path
) -> None:
    train_run(sample, tmp_path / "long", small_config(epochs=3))
    shutil.copytree(finished[0], tmp_path / "run")
    command = ["train", str(sample), "--run", str(tmp_path / "run"), "--resume", "--quiet"]
    assert main([*command, "--set", "epochs=3"]) == 0
    assert results(tmp_path / "run") == results(tmp_path / "long")
    assert main([*command, "--set", "batch_size=32"]) == 1


def test_a_finished_run_ends_well_at_once(finished: tuple[Path, TrainReport], sample: Path) -> None:
    path, report = finished
    before = {entry: entry.stat().st_mtime_ns for entry in path.rglob("*")}
    for config in (None, small_config()):
        script = Script()
        again = train_run(sample, path, config, resume=True, report=script)
        assert again.already_finished
        assert script.calls == []
        assert (again.corr.mean, again.best_epoch) == (report.corr.mean, report.best_epoch)
    assert {entry: entry.stat().st_mtime_ns for entry in path.rglob("*")} == before


def test_a_run_remembers_its_configuration(
    finished: tuple[Path, TrainReport], sample: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, tmp_path / "run", small_config(), report=Script("step 3", interrupt))
    train_run(sample, tmp_path / "run", None, resume=True)
    assert results(tmp_path / "run") == results(finished[0])


def test_the_window_that_was_chosen_is_kept(sample: Path, tmp_path: Path) -> None:
    open_choice = small_config(window_size=None, pool_batches=None)
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, tmp_path / "run", open_choice, report=Script("step 3", interrupt))
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    chosen = (config["window_size"], config["pool_batches"])
    other = (chosen[0] + 3, chosen[1] + 1)  # as another machine would have chosen
    path.write_text(json.dumps(config | {"window_size": other[0], "pool_batches": other[1]}))
    shutil.rmtree(tmp_path / "run" / "checkpoints")  # of the run as it was
    script = Script()
    train_run(sample, tmp_path / "run", open_choice, resume=True, report=script)
    assert script.plan is not None
    assert f"window {other[0]} rows" in script.plan.shuffling
    assert f"pool {other[1]} batches" in script.plan.shuffling


def test_more_epochs_are_those_of_a_longer_run(
    finished: tuple[Path, TrainReport], sample: Path, tmp_path: Path
) -> None:
    train_run(sample, tmp_path / "long", small_config(epochs=3))
    shutil.copytree(finished[0], tmp_path / "run")
    report = train_run(sample, tmp_path / "run", small_config(epochs=3), resume=True)
    assert not report.already_finished
    assert report.n_epochs == 3
    assert results(tmp_path / "run") == results(tmp_path / "long")
    with refused(RunError, "epochs: 3 in the run, 2 now"):
        train_run(sample, tmp_path / "run", small_config(), resume=True)


def test_another_configuration_is_refused_naming_what_differs(
    finished: tuple[Path, TrainReport], sample: Path
) -> None:
    before = results(finished[0])
    other = small_config(learning_rate=0.02, dropout=0.3, validation_eras=3)
    with refused(RunError, "learning_rate", "dropout", "validation_eras"):
        train_run(sample, finished[0], other, resume=True)
    assert results(finished[0]) == before


def test_another_dataset_is_refused(
    finished: tuple[Path, TrainReport], convert_sample: Callable[..., Path]
) -> None:
    other = convert_sample("train.parquet")
    with refused(RunError, "dataset has changed"):
        train_run(other, finished[0], small_config(), resume=True)


@pytest.mark.parametrize(
    ("key", "before", "said"),
    [
        ("keras_version", "3.0.0", f"keras 3.0.0 → {keras.__version__}"),
        ("compute_threads", 999, "compute threads 999 → "),
        ("compute_threads", None, None),  # runs from before it was recorded
    ],
)
def test_other_versions_and_threads_are_told(
    key: str,
    before: object,
    said: str | None,
    finished: tuple[Path, TrainReport],
    sample: Path,
    tmp_path: Path,
) -> None:
    shutil.copytree(finished[0], tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    record = json.loads(path.read_text())
    del record[key]
    path.write_text(json.dumps(record | ({} if before is None else {key: before})))
    script = Script()
    train_run(sample, tmp_path / "run", small_config(), resume=True, report=script)
    assert len(script.warnings) == (said is not None)
    assert all(str(said) in warning for warning in script.warnings)
