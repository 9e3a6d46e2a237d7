"""Tests of models that functions of the user return: trained, resumed, or refused in a line."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import memmap_train as mt
from memmap_train.errors import ConfigError, MemmapTrainError, RunError
from memmap_train.training.models.build import build
from memmap_train.training.parts.fold_loop import train_folds
from memmap_train.training.prediction.predict import write_predictions
from memmap_train.training.train import train_run
from tests.support.errors import refused
from tests.support.training_data import STEPS_PER_EPOCH, Script, newest_checkpoint, small_config
from tests.support.training_runs import interrupt, results
from tests.support.user_code import loaded

pytest_plugins = ["tests.support.training_fixtures", "tests.support.user_code_fixtures"]


def test_a_user_model_is_trained_and_predicts(mine: Any, sample: Path, tmp_path: Path) -> None:
    config = small_config(model="mine:build", model_params={"units": 5})
    train_run(sample, tmp_path / "run", config)
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (record["model"], record["model_params"]) == ("mine:build", {"units": 5})
    assert loaded(tmp_path / "run").get_weights()[0].shape == (8, 5)
    report = write_predictions(tmp_path / "run", sample, tmp_path / "out.csv")
    assert report.n_rows == mt.open_dataset(sample).n_rows


@pytest.mark.parametrize("name", ["sequential", "known"])
def test_models_of_every_keras_api_are_trained_and_predict(
    name: str, mine: Callable[[], Any], sample: Path, tmp_path: Path
) -> None:
    train_run(sample, tmp_path / "run", small_config(model=f"mine:{name}", epochs=1))
    sys.modules.pop("mine")  # as in a process of its own
    report = write_predictions(tmp_path / "run", sample, tmp_path / "out.csv", raw=True)
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert report.n_rows == len(lines) - 1 == mt.open_dataset(sample).n_rows
    assert len({line.split(",")[-1] for line in lines}) > 100  # not one answer for all rows


def test_losses_that_layers_add_are_minimised(mine: Any, sample: Path, tmp_path: Path) -> None:
    sizes = []
    for rate in (0.0, 10.0):
        config = small_config(model="mine:build", model_params={"rate": rate})
        train_run(sample, tmp_path / str(rate), config)
        sizes.append(float(np.abs(loaded(tmp_path / str(rate)).get_weights()[0]).mean()))
    assert sizes[1] < 0.8 * sizes[0]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("nowhere:build", ["'nowhere:build' can't be imported", "No module named 'nowhere'"]),
        ("mine:biuld", ["has no 'biuld'", "did you mean 'build'?"]),
        ("mine:SEEN", ["is a list", "expected a function"]),
        ("mine:broken", ["mine:broken(8, 1) failed: IndexError", "mine.py, line "]),
        ("mine:none", ["returned a NoneType"]),
        ("mine:narrow", ["from (rows, 8) to (rows, 1)", "found one from (rows, 7) to (rows, 1)"]),
        ("mine:wide", ["found one from (rows, 8) to (rows, 2)"]),
        ("mine:half", ["weights of float16 are too coarse", "mixed_float16"]),
        ("mine:frozen", ["none of its weights can be trained"]),
        ("mine:keyed", ["one plain output, found dict of 'target'"]),
        ("mine:keyed_inputs", ["one plain input, found dict of 'x'"]),
        ("mine:twofold", ["found one from [(rows, 8), (rows, 8)] to (rows, 1)"]),
        ("mine:whole_numbers", ["expected inputs of float32, found int32"]),
        ("mine:unready", ["returned a type, expected a keras.Model"]),
        ("mine:shapeless", ["it has no layers"]),
        ("mine:text", ["returned a str, expected a keras.Model"]),
        ("builtins:print", ["builtins:print(8, 1) returned a NoneType"]),
        ("builtins:len", ["builtins:len(8, 1) failed: TypeError"]),
        ("os:path", ["is a module, expected a function"]),
        ("mine:plain", ["can't be saved and opened again", "register_keras_serializable"]),
        ("gone.keras", ["gone.keras", "No such file"]),
        ("text.keras", ["text.keras", "can't be opened"]),
    ],
)
def test_an_unsuitable_model_is_refused_in_one_line_and_leaves_nothing(
    model: str, said: list[str], mine: Any, sample: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.keras").write_text("no model")
    with refused(ConfigError, *said):
        train_run(sample, tmp_path / "run", small_config(model=model))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("Narrowing", ["fails in training: ValueError", "Dimensions must be equal", "mine.py, "]),
        ("Unpredictable", ["fails in prediction: ValueError", "Dimensions must", "mine.py, "]),
        ("Stopping", ["fails in training: ValueError: No gradients provided"]),
        ("Asserting", ["fails: InvalidArgumentError: assertion failed: [too large]", "mine.py, "]),
        ("OOM", ["fails: ResourceExhaustedError: ", "OOM", "lower batch_size (now 64)"]),
        ("no such thing", ["fails: ", "LookupError: no such thing"]),
    ],
)
def test_a_model_that_fails_in_training_is_one_line_and_can_be_retried(
    layer: str, said: list[str], mine: Any, sample: Path, tmp_path: Path
) -> None:
    params = {"layer": layer} if layer.istitle() else {"layer": "Raising", "error": layer}
    config = small_config(model="mine:layered", model_params=params)
    for _ in range(2):
        with refused(ConfigError, "model: mine:layered fails", *said) as caught:
            train_run(sample, tmp_path / "run", config)
        assert len(str(caught.value)) < 450 + len(str(tmp_path))  # it names a file
        for noise in (
            "Traceback",
            "Detected at",
            "site-packages",
            "test_own_models",
            "\x1b",
            "[[{{",
        ):
            assert noise not in str(caught.value)
    train_run(sample, tmp_path / "run", small_config(epochs=1))


def test_folds_whose_model_fails_can_be_retried(mine: Any, sample: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"validation_eras": None, "epochs": 1}
    failing = small_config(model="mine:layered", model_params={"layer": "Asserting"}, **options)
    with refused(ConfigError, "mine:layered fails"):
        train_folds(sample, tmp_path / "run", failing, folds=2)
    assert (tmp_path / "run" / "fold-01" / "config.json").exists()
    report = train_folds(sample, tmp_path / "run", small_config(**options), folds=2)
    assert len(report.folds) == 2


def test_a_model_that_fails_later_keeps_its_checkpoints(
    mine: Any, sample: Path, tmp_path: Path
) -> None:
    config = small_config(model="mine:layered", model_params={"layer": "Failing"})
    resumed = f"--resume continues after step {STEPS_PER_EPOCH}, the last that was saved"
    for _ in range(2):
        with refused(ConfigError, "InvalidArgumentError: no number", "mine.py, line ", resumed):
            train_run(sample, tmp_path / "run", config, resume=True)
    with refused(RunError, "a run is there already"):
        train_run(sample, tmp_path / "run", config)


def test_a_step_that_fails_is_not_saved(mine: Any, sample: Path, tmp_path: Path) -> None:
    """A part of it may be done."""
    config = small_config(model="mine:layered", model_params={"layer": "Late"}, checkpoint_steps=6)
    with refused(ConfigError, "too late", "--resume continues after step 6"):
        train_run(sample, tmp_path / "run", config)


def test_a_model_that_fails_in_prediction_is_one_line(
    mine: Any, sample: Path, tmp_path: Path
) -> None:
    train_run(sample, tmp_path / "run", small_config(model="mine:build", epochs=1))
    for layer, said in (("Failing", "no number"), ("Unpredictable", "Dimensions must be equal")):
        sys.modules["mine"].layered(8, 1, layer).save(tmp_path / "run" / "model.keras")
        with pytest.raises(MemmapTrainError) as caught:
            write_predictions(tmp_path / "run", sample, tmp_path / "out.csv")
        assert "model.keras: the model fails: " in str(caught.value)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_loss_of_each_row_counts_as_its_sum(mine: Any, sample: Path, tmp_path: Path) -> None:
    found = []
    for summed in (False, True):
        params = {"layer": "OfRows", "summed": summed}
        config = small_config(model="mine:layered", model_params=params, epochs=1)
        train_run(sample, tmp_path / str(summed), config)
        found.append(loaded(tmp_path / str(summed)).get_weights())
    for of_rows, of_sum in zip(*found, strict=True):
        np.testing.assert_allclose(of_rows, of_sum, rtol=1e-5)


def test_models_of_keras_2_are_recognized(
    mine: Any, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del mine
    with refused(ConfigError, "a Sequential of Keras 2 (tf_keras)", "Keras 3", "`import keras`"):
        train_run(sample, tmp_path / "run", small_config(model="mine:of_keras_2"))
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")  # in a Python caller's process
    with refused(ConfigError, "mine:broken(8, 1) failed (TF_USE_LEGACY_KERAS makes tf.keras"):
        train_run(sample, tmp_path / "run", small_config(model="mine:broken"))


def test_unknown_parameters_of_a_function_are_named(
    mine: Any, sample: Path, tmp_path: Path
) -> None:
    with refused(ConfigError, "mine:build(8, 1, depth=3) failed: TypeError", "'depth'"):
        config = small_config(model="mine:build", model_params={"depth": 3})
        train_run(sample, tmp_path / "run", config)


def test_half_precision_trains_like_single_precision(
    mine: Callable[[], Any], sample: Path, tmp_path: Path
) -> None:
    """These gradients are 0 in float16, without a scale."""
    moved = {}
    for policy in ("float32", "mixed_float16", "mixed_bfloat16"):
        params = {"policy": policy, "scale": 1e-6}
        config = small_config(
            model="mine:mixed", model_params=params, epochs=1, learning_rate=0.1, weight_decay=0.0
        )
        train_run(sample, tmp_path / policy, config)
        keras.utils.set_random_seed(config.seed)
        begun = mine().mixed(8, 1, **params).get_weights()[0]
        moved[policy] = loaded(tmp_path / policy).get_weights()[0] - begun
    assert np.abs(moved["float32"]).max() > 1e-3
    for policy in ("mixed_float16", "mixed_bfloat16"):
        np.testing.assert_allclose(moved[policy], moved["float32"], atol=0.02)
        assert np.abs(moved[policy]).max() > 1e-3


def test_the_loss_scale_and_its_skipped_steps_are_resumed(
    mine: Any, sample: Path, tmp_path: Path
) -> None:
    config = small_config(model="mine:mixed", model_params={"factor": 100.0}, checkpoint_steps=4)
    train_run(sample, tmp_path / "whole", config)
    newest = newest_checkpoint(tmp_path / "whole")
    assert newest is not None
    assert newest.step == 2 * STEPS_PER_EPOCH
    assert newest.arrays["step/sums/0001"] > 0  # left out, until the scale was small enough
    for call in ("step 3", "step 6", "epoch 1"):
        with pytest.raises(KeyboardInterrupt):
            train_run(sample, tmp_path / "run", config, resume=True, report=Script(call, interrupt))
    train_run(sample, tmp_path / "run", config, resume=True)
    assert results(tmp_path / "run") == results(tmp_path / "whole")


@pytest.mark.parametrize("rate", [0.01, 1e-9])
def test_half_precision_weights_are_resumed(
    rate: float, mine: Any, sample: Path, tmp_path: Path
) -> None:
    """Also where the best epoch is the first one, as it is at a rate of nothing."""
    config = small_config(model="mine:brain", learning_rate=rate, epochs=3)
    report = train_run(sample, tmp_path / "whole", config)
    assert rate > 1e-6 or report.best_epoch == 1
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, tmp_path / "run", config, report=Script("step 38", interrupt))
    train_run(sample, tmp_path / "run", config, resume=True)
    assert results(tmp_path / "run") == results(tmp_path / "whole")


def test_a_resnet_has_a_block_of_each_width() -> None:
    model = build(20, 2, small_config(model="resnet", hidden=(7, 5)))
    shapes = [weight.shape for weight in model.get_weights() if weight.ndim == 2]
    assert shapes == [(20, 7), (7, 7), (7, 7), (7, 5), (7, 5), (5, 5), (5, 2)]
    assert build(20, 2, small_config(model="resnet", hidden=())).output_shape == (None, 2)
