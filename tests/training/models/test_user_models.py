"""What users bring: models of functions and files of theirs, callbacks; what is said of faults."""

import json
import os
import re
import resource
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import memmap_train as mt
from memmap_train.errors import ConfigError, MemmapTrainError, RunError
from memmap_train.training.models.build import build
from memmap_train.training.models.initial_model import InitialModel
from memmap_train.training.parts.fold_loop import train_folds
from memmap_train.training.prediction.predict import write_predictions
from memmap_train.training.train import train_run
from tests.support.errors import refused
from tests.support.training_data import STEPS_PER_EPOCH, Script, newest_checkpoint, small_config
from tests.support.training_runs import interrupt, read_csv, results

pytest_plugins = ["tests.support.training_fixtures"]

MINE = """
import keras
import numpy as np
import tensorflow as tf

SEEN = []


def build(n_features, n_targets, units=4, rate=0.0):
    inputs = keras.Input((n_features,))
    x = keras.layers.Dense(units, kernel_regularizer=keras.regularizers.L2(rate))(inputs)
    x = keras.layers.BatchNormalization()(x)
    return keras.Model(inputs, keras.layers.Dense(n_targets)(keras.layers.Dropout(0.2)(x)))


def sequential(n_features, n_targets):
    return keras.Sequential([keras.layers.Dense(3), keras.layers.Dense(n_targets)])


def of_keras_2(n_features, n_targets):
    return type("Sequential", (), {"__module__": "tf_keras.src.engine.sequential"})()


class Plain(keras.Model):
    def __init__(self, n_targets, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(n_targets)

    def call(self, x):
        return self.dense(x)


@keras.saving.register_keras_serializable("mine")
class Shaking(keras.layers.Layer):
    # Draws from Keras's global generator, and counts in a variable that Keras doesn't know.

    def build(self, shape):
        self.hidden = tf.Variable(0.0)
        self.built = True

    def call(self, x, training=False):
        if not training:
            return x
        self.hidden.assign_add(0.01)
        return x + 0.1 * keras.random.normal(tf.shape(x)) + self.hidden


@keras.saving.register_keras_serializable("mine")
class Drawing(keras.layers.Layer):
    def call(self, x, training=False):
        return x + tf.random.normal(tf.shape(x)) if training else x


def shaking(n_features, n_targets):
    inputs = keras.Input((n_features,))
    return keras.Model(inputs, keras.layers.Dense(n_targets)(Shaking()(inputs)))


def drawing(n_features, n_targets):
    inputs = keras.Input((n_features,))
    return keras.Model(inputs, keras.layers.Dense(n_targets)(Drawing()(inputs)))


class Beginning(keras.callbacks.Callback):
    # Takes what it needs when training begins, and draws from numpy's global generator.

    def __init__(self):
        super().__init__()
        self.generator = np.random.default_rng(0)

    def on_train_begin(self, logs=None):
        self.base = float(self.model.optimizer.learning_rate)
        self.weights = self.model.get_weights()

    def on_epoch_begin(self, epoch, logs=None):
        rate = self.base * 0.5**epoch * np.random.uniform(0.5, 1)
        self.model.optimizer.learning_rate.assign(rate)
        now = self.model.get_weights()
        self.model.set_weights([(w + b) / 2 for w, b in zip(now, self.weights)])


def checkpointing():
    return keras.callbacks.ModelCheckpoint("kept-{epoch:02d}-{loss:.3f}.keras", monitor="loss")


class Moving(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.model.optimizer.iterations.assign(3)


@keras.saving.register_keras_serializable("mine")
class Known(Plain):
    def __init__(self, n_targets, **kwargs):
        super().__init__(n_targets, **kwargs)
        self.n_targets = n_targets

    def get_config(self):
        return {**super().get_config(), "n_targets": self.n_targets}


def plain(n_features, n_targets):
    return Plain(n_targets)


def known(n_features, n_targets):
    return Known(n_targets)


def brain(n_features, n_targets):
    inputs = keras.Input((n_features,))
    x = keras.layers.Dense(4, dtype="bfloat16")(inputs)
    return keras.Model(inputs, keras.layers.Dense(n_targets, dtype="float32")(x))


@keras.saving.register_keras_serializable("mine")
class Narrowing(keras.layers.Layer):
    def call(self, x, training=None):
        return x @ tf.zeros((3, 3)) if training else x


@keras.saving.register_keras_serializable("mine")
class Asserting(keras.layers.Layer):
    def call(self, x, training=None):
        with tf.control_dependencies([tf.debugging.assert_less(x, 0.2, "too large") if training
                                      else tf.no_op()]):
            return tf.identity(x)


@keras.saving.register_keras_serializable("mine")
class Failing(keras.layers.Layer):
    # Not in training: in validation, and in prediction.

    def call(self, x, training=None):
        return x if training else tf.debugging.check_numerics(x / 0.0, "no number")


@keras.saving.register_keras_serializable("mine")
class Late(keras.layers.Layer):
    def build(self, shape):
        self.steps = self.add_weight(initializer="zeros", trainable=False)

    def call(self, x, training=None):
        if not training:
            return x
        self.steps.assign_add(1)
        with tf.control_dependencies([tf.debugging.assert_less(self.steps, 10.0, "too late")]):
            return tf.identity(x)


@keras.saving.register_keras_serializable("mine")
class Unpredictable(keras.layers.Layer):
    def call(self, x, training=None):
        return x if training is None or training else x @ tf.zeros((3, 3))


@keras.saving.register_keras_serializable("mine")
class Stopping(keras.layers.Layer):
    def call(self, x):
        return tf.stop_gradient(x)


@keras.saving.register_keras_serializable("mine")
class Raising(keras.layers.Layer):
    def __init__(self, error, **kwargs):
        super().__init__(**kwargs)
        self.error = error

    def call(self, x, training=None):
        y = tf.py_function(self.reads, [x], tf.float32) if training else x
        return tf.ensure_shape(y, x.shape)

    def reads(self, x):
        if self.error == "OOM":  # TensorFlow's own allocator would wait for ten seconds first
            raise MemoryError(self.error)
        raise LookupError(self.error)

    def get_config(self):
        return {**super().get_config(), "error": self.error}


@keras.saving.register_keras_serializable("mine")
class OfRows(keras.layers.Layer):
    def __init__(self, summed=False, factor=0.01, **kwargs):
        super().__init__(**kwargs)
        self.summed, self.factor = summed, factor

    def call(self, x):
        size = self.factor * tf.reduce_mean(tf.square(x), axis=-1)
        self.add_loss(tf.reduce_sum(size) if self.summed else size)
        return x

    def get_config(self):
        return {**super().get_config(), "summed": self.summed, "factor": self.factor}


def layered(n_features, n_targets, layer, **params):
    inputs = keras.Input((n_features,))
    outputs = keras.layers.Dense(n_targets)(inputs)
    return keras.Model(inputs, globals()[layer](**params)(outputs))


def keyed(n_features, n_targets):
    inputs = keras.Input((n_features,))
    return keras.Model(inputs, {"target": keras.layers.Dense(n_targets)(inputs)})


def keyed_inputs(n_features, n_targets):
    inputs = keras.Input((n_features,), name="x")
    return keras.Model({"x": inputs}, keras.layers.Dense(n_targets)(inputs))


def twofold(n_features, n_targets):
    inputs = keras.Input((n_features,)), keras.Input((n_features,))
    return keras.Model(inputs, keras.layers.Dense(n_targets)(keras.layers.Add()(inputs)))


def whole_numbers(n_features, n_targets):
    inputs = keras.Input((n_features,), dtype="int32")
    x = keras.ops.cast(inputs, "float32")
    return keras.Model(inputs, keras.layers.Dense(n_targets)(x))


def unready(n_features, n_targets):
    return Plain


def shapeless(n_features, n_targets):
    return keras.Sequential()


def text(n_features, n_targets):
    return "mlp"


def mixed(n_features, n_targets, policy="mixed_float16", scale=1.0, factor=0.0):
    inputs = keras.Input((n_features,))
    x = keras.layers.Dense(4, dtype=policy)(inputs)
    x = keras.layers.Rescaling(scale, dtype=policy)(OfRows(factor=factor, dtype=policy)(x))
    return keras.Model(inputs, keras.layers.Dense(n_targets, dtype="float32")(x))


def frozen(n_features, n_targets):
    model = keras.Sequential([keras.Input((n_features,)), keras.layers.Dense(n_targets)])
    model.trainable = False
    return model


def narrow(n_features, n_targets):
    return keras.Sequential([keras.Input((n_features - 1,)), keras.layers.Dense(n_targets)])


def wide(n_features, n_targets):
    return keras.Sequential([keras.layers.Dense(n_targets + 1)])


def half(n_features, n_targets):
    return keras.Sequential([keras.layers.Dense(n_targets, dtype="float16")])


def none(n_features, n_targets):
    return None


def broken(n_features, n_targets):
    layers = [1, 2]
    return layers[n_features]


class Listener(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        SEEN.append(("train begin", self.params))

    def on_epoch_begin(self, epoch, logs=None):
        SEEN.append(("epoch begin", epoch))

    def on_train_batch_end(self, batch, logs=None):
        SEEN.append(("batch end", batch, logs["loss"]))

    def on_epoch_end(self, epoch, logs=None):
        SEEN.append(("epoch end", epoch, logs))

    def on_train_end(self, logs=None):
        SEEN.append(("train end", self.model.optimizer.iterations.numpy()))


def halving():
    return keras.callbacks.LearningRateScheduler(lambda epoch: 0.01 / 2**epoch)


class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training = True


class Fail(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        logs["no such score"]


class Unfreeze(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        layer = self.model.get_layer("targets")
        layer.trainable = not layer.trainable


class Leave(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise SystemExit(3)


class Unset(keras.callbacks.Callback):
    def set_params(self, params):
        params["no such parameter"]


class Double(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.set_weights([2 * weight for weight in self.model.get_weights()])
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Any]]:
    """Write `mine.py` into the current directory; return a function that imports it."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield lambda: sys.modules["mine"]
    sys.modules.pop("mine", None)


def loaded(path: Path) -> Any:
    return keras.models.load_model(path / "model.keras", compile=False)


# -- models ---------------------------------------------------------------------------------------


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


def test_a_saved_model_is_trained_further(sample: Path, tmp_path: Path) -> None:
    # Without quadratic terms, whose moving averages follow the rows at any learning rate.
    train_run(sample, tmp_path / "first", small_config(additive="linear"))
    saved = tmp_path / "first" / "model.keras"
    nearly_nothing = small_config(
        model=os.path.relpath(saved), learning_rate=1e-12, weight_decay=0.0, epochs=1
    )
    train_run(sample, tmp_path / "second", nearly_nothing)
    for old, new in zip(
        loaded(tmp_path / "first").get_weights(),
        loaded(tmp_path / "second").get_weights(),
        strict=True,
    ):
        np.testing.assert_allclose(new, old, atol=1e-6)
    with refused(ConfigError, "from (rows, 8) to (rows, 2)", "to (rows, 1)"):
        two = small_config(model=str(saved), targets=("target", "target_beta_20"))
        train_run(sample, tmp_path / "third", two)


def trained_further(saved: Path) -> None:
    build(8, 1, small_config(hidden=(3,))).save(saved)


def moved(saved: Path) -> None:
    saved.parent.rename(saved.parent.with_name("elsewhere"))


def removed(saved: Path) -> None:
    shutil.rmtree(saved.parent)


@pytest.mark.parametrize(
    ("change", "call"), [(trained_further, "step 3"), (moved, "step 20"), (removed, "step 3")]
)
def test_a_run_is_resumed_even_without_its_initial_model(
    change: Callable[[Path], None], call: str, sample: Path, tmp_path: Path
) -> None:
    train_run(sample, tmp_path / "first", small_config(epochs=1))
    config = small_config(model=str(tmp_path / "first" / "model.keras"))
    train_run(sample, tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, tmp_path / "run", config, report=Script(call, interrupt))
    shutil.copytree(tmp_path / "run", tmp_path / "again")
    change(tmp_path / "first" / "model.keras")
    train_run(sample, tmp_path / "run", config, resume=True)
    assert results(tmp_path / "run") == results(tmp_path / "whole")
    train_run(sample, tmp_path / "again", None, resume=True)
    assert results(tmp_path / "again") == results(tmp_path / "whole")
    more = train_run(
        sample, tmp_path / "again", small_config(model=config.model, epochs=3), resume=True
    )
    assert more.n_epochs == 3


def test_a_run_that_kept_no_copy_is_resumed_from_a_checkpoint_after_an_epoch(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of earlier versions."""
    train_run(sample, tmp_path / "first", small_config(epochs=1))
    config = small_config(model=str(tmp_path / "first" / "model.keras"))
    train_run(sample, tmp_path / "whole", config)
    with monkeypatch.context() as patch:
        patch.setattr(InitialModel, "keep", lambda *_: None)
        for name, call in (("run", "step 20"), ("early", "step 3")):
            with pytest.raises(KeyboardInterrupt):
                train_run(sample, tmp_path / name, config, report=Script(call, interrupt))
    removed(tmp_path / "first" / "model.keras")
    train_run(sample, tmp_path / "run", config, resume=True)
    assert results(tmp_path / "run") == results(tmp_path / "whole")
    with refused(ConfigError, "first/model.keras", "gone or was trained further", "another --run"):
        train_run(sample, tmp_path / "early", config, resume=True)
    record = json.loads((tmp_path / "whole" / "config.json").read_text())
    del record["begun_with"]
    (tmp_path / "whole" / "config.json").write_text(json.dumps(record))
    assert train_run(sample, tmp_path / "whole", config, resume=True).already_finished


def test_all_folds_begin_with_the_same_model_even_if_its_file_changes(
    sample: Path, tmp_path: Path
) -> None:
    early = small_config(validation_eras="0009-0010", epochs=1, allow_overlap=True, embargo_eras=0)
    train_run(sample, tmp_path / "first", early)
    options: dict[str, Any] = {"validation_eras": None, "allow_overlap": True}
    config = small_config(model=str(tmp_path / "first" / "model.keras"), **options)
    whole = train_folds(sample, tmp_path / "whole", config, folds=2)
    script = Script("step 20", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_folds(sample, tmp_path / "run", config, folds=2, report=script)
    removed(tmp_path / "first" / "model.keras")
    resumed = train_folds(sample, tmp_path / "run", config, folds=2, resume=True)
    assert [fold.corr.mean for fold in resumed.folds] == [fold.corr.mean for fold in whole.folds]
    record = json.loads((tmp_path / "run" / "fold-02" / "config.json").read_text())
    assert record["begun_with"]["train_eras"]


@pytest.mark.parametrize("name", ["shaking", "known"])
def test_models_with_user_layers_are_trained_further_and_predict(
    name: str, mine: Any, sample: Path, tmp_path: Path
) -> None:
    config = small_config(model=f"mine:{name}", epochs=1)
    before = None
    for run in ("first", "second", "third"):
        train_run(sample, tmp_path / run, config)
        config = small_config(model=str(tmp_path / run / "model.keras"), epochs=1)
        if before:
            shutil.rmtree(before)
        before = tmp_path / run
        forget_mine()
    assert (
        write_predictions(tmp_path / "third", sample, tmp_path / "out.csv").n_rows
        == mt.open_dataset(sample).n_rows
    )


def forget_mine() -> None:
    """Have this process know as little of `mine` as another one."""
    sys.modules.pop("mine")
    sys.path[:] = [folder for folder in sys.path if folder != os.getcwd()]
    for name in [name for name in keras.saving.get_custom_objects() if name.startswith("mine>")]:
        del keras.saving.get_custom_objects()[name]


def test_a_saved_model_is_not_scored_on_eras_that_it_was_trained_on(
    sample: Path, tmp_path: Path
) -> None:
    train_run(sample, tmp_path / "first", small_config(epochs=1))
    saved = str(tmp_path / "first" / "model.keras")
    early = {"model": saved, "epochs": 1, "validation_eras": "0001-0003"}
    with refused(ConfigError, "trained on some of the validation eras ('0001', '0002', '0003')"):
        train_run(sample, tmp_path / "second", small_config(**early))
    train_run(sample, tmp_path / "second", small_config(**early, allow_overlap=True))
    alone = tmp_path / "alone.keras"
    shutil.copy(saved, alone)
    for model in (saved, str(alone)):
        with refused(ConfigError, model, "allow_overlap = true"):
            config = small_config(model=model, validation_eras=None)
            train_folds(sample, tmp_path / "folds", config, folds=2)
    assert not (tmp_path / "folds").exists()


def test_an_untrained_run_is_refused_on_eras_that_its_model_has_seen(
    sample: Path, tmp_path: Path
) -> None:
    train_run(sample, tmp_path / "first", small_config(epochs=1))
    model = {"model": str(tmp_path / "first" / "model.keras"), "epochs": 1}
    with pytest.raises(KeyboardInterrupt):
        train_run(
            sample, tmp_path / "run", small_config(**model), report=Script("started 1", interrupt)
        )
    shutil.rmtree(tmp_path / "run" / "checkpoints", ignore_errors=True)  # as if it was killed
    removed(tmp_path / "first" / "model.keras")
    early = small_config(**model, validation_eras="0001-0003")
    with refused(ConfigError, "trained on some of the validation eras ('0001', '0002', '0003')"):
        train_run(sample, tmp_path / "run", early, resume=True)
    train_run(sample, tmp_path / "run", small_config(**model), resume=True)


def test_eras_that_earlier_models_have_seen_count(sample: Path, tmp_path: Path) -> None:
    """The first was trained on eras 13 to 24, the second on early ones, and the third isn't scored
    on what the first has seen, even when that one is gone."""
    late = {"validation_eras": "0001-0004", "epochs": 1}
    train_run(sample, tmp_path / "first", small_config(**late))
    first = str(tmp_path / "first" / "model.keras")
    options = {"validation_eras": "0021-0024", "epochs": 1}
    with refused(ConfigError, "first", "trained on some of the validation eras ('0021', "):
        train_run(sample, tmp_path / "second", small_config(model=first, **options))
    train_run(sample, tmp_path / "second", small_config(model=first, **options, allow_overlap=True))
    removed(Path(first))
    second = str(tmp_path / "second" / "model.keras")
    with refused(ConfigError, "second", "trained on some of the validation eras ('0021', "):
        train_run(sample, tmp_path / "third", small_config(model=second, **options))
    with refused(ConfigError, "second", "trained on eras that this fold predicts"):
        config = small_config(model=second, validation_eras=None)
        train_folds(sample, tmp_path / "third", config, folds=2)
    assert not (tmp_path / "third").exists()


def test_the_embargo_separates_the_eras_of_a_saved_model_and_the_validation_eras(
    sample: Path, tmp_path: Path
) -> None:
    first = small_config(validation_eras="0015-0017", epochs=1)  # trained on eras 1 to 6
    train_run(sample, tmp_path / "first", first)
    options = {"model": str(tmp_path / "first" / "model.keras"), "epochs": 1}
    with refused(ConfigError, "trained on eras within 8 of the validation eras ('0006')"):
        train_run(sample, tmp_path / "second", small_config(**options, validation_eras="0014-0017"))
    train_run(sample, tmp_path / "second", small_config(**options, validation_eras="0015-0017"))


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


@pytest.mark.parametrize("name", ["sequential", "known"])
def test_saved_models_of_every_keras_api_are_trained_further(
    name: str, mine: Any, sample: Path, tmp_path: Path
) -> None:
    train_run(sample, tmp_path / "first", small_config(model=f"mine:{name}", epochs=1))
    saved = tmp_path / "first" / "model.keras"
    train_run(sample, tmp_path / "second", small_config(model=str(saved), epochs=1))
    shapes = [
        [w.shape for w in loaded(tmp_path / run).get_weights()] for run in ("first", "second")
    ]
    assert shapes[0] == shapes[1]


def test_a_model_of_a_newer_keras_is_refused_as_such(sample: Path, tmp_path: Path) -> None:
    train_run(sample, tmp_path / "run", small_config(epochs=1))
    saved = tmp_path / "run" / "model.keras"
    with zipfile.ZipFile(saved) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = members["config.json"].replace(b'"units"', b'"newer_than_units"')
    said = "can't be opened as a saved model: "
    for version, why in (
        (keras.__version__, "TypeError"),
        ("99.1.0", "it was saved by Keras 99.1.0"),
    ):
        members["metadata.json"] = json.dumps({"keras_version": version}).encode()
        with zipfile.ZipFile(saved, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        with refused(RunError, f"{said}{why}"):
            write_predictions(tmp_path / "run", sample, tmp_path / "out.csv")
        with refused(ConfigError, f"{said}{why}"):
            train_run(sample, tmp_path / "further", small_config(model=str(saved)))
    damaged = bytearray(saved.read_bytes())
    damaged[damaged.index(members["model.weights.h5"]) + 3000] ^= 255
    saved.write_bytes(damaged)
    with refused(RunError, "damaged (model.weights.h5)"):
        write_predictions(tmp_path / "run", sample, tmp_path / "out.csv")


def test_a_saved_model_with_undefined_layers_is_refused_with_what_is_missing(
    mine: Any, sample: Path, tmp_path: Path
) -> None:
    train_run(sample, tmp_path / "run", small_config(model="mine:known", epochs=1))
    forget_mine()
    (tmp_path / "mine.py").rename(tmp_path / "yours.py")
    with refused(RunError, "can't be opened as a saved model: ", "No module named 'mine'"):
        write_predictions(tmp_path / "run", sample, tmp_path / "out.csv")


def test_a_resnet_has_a_block_of_each_width() -> None:
    model = build(20, 2, small_config(model="resnet", hidden=(7, 5)))
    shapes = [weight.shape for weight in model.get_weights() if weight.ndim == 2]
    assert shapes == [(20, 7), (7, 7), (7, 7), (7, 5), (7, 5), (5, 5), (5, 2)]
    assert build(20, 2, small_config(model="resnet", hidden=())).output_shape == (None, 2)


# -- callbacks ------------------------------------------------------------------------------------


def test_a_callback_gets_all_calls(mine: Callable[[], Any], sample: Path, tmp_path: Path) -> None:
    train_run(sample, tmp_path / "run", small_config(callbacks=["mine:Listener"]))
    seen = mine().SEEN
    an_epoch = ["epoch begin", *["batch end"] * STEPS_PER_EPOCH, "epoch end"]
    assert [what for what, *_ in seen] == ["train begin", *an_epoch, *an_epoch, "train end"]
    assert seen[0][1] == {"epochs": 2, "steps": STEPS_PER_EPOCH, "verbose": 0}
    assert [s[1] for s in seen if s[0] == "batch end"] == [*range(STEPS_PER_EPOCH)] * 2
    history = read_csv(tmp_path / "run" / "history.csv")
    ends = [s for s in seen if s[0] == "epoch end"]
    for row, (_, epoch, logs) in zip(history, ends, strict=True):
        assert int(row["epoch"]) == epoch + 1
        assert {name: repr(value) for name, value in logs.items()} == {
            name: value for name, value in row.items() if name != "epoch"
        }
    assert seen[STEPS_PER_EPOCH + 1][2] == ends[0][2]["loss"]
    assert seen[-1][1] == 2 * STEPS_PER_EPOCH
    plain = train_run(sample, tmp_path / "plain", small_config())
    assert [row["loss"] for row in read_csv(tmp_path / "plain" / "history.csv")] == [
        row["loss"] for row in history
    ]
    size = (tmp_path / "run" / "model.keras").stat().st_size
    assert size < 1.2 * (Path(plain.run_dir) / "model.keras").stat().st_size  # no optimizer in it


def test_callbacks_of_folds_do_not_see_scores_of_predicted_eras(
    mine: Callable[[], Any], sample: Path, tmp_path: Path
) -> None:
    """An early stopping on them would choose the model by the eras that it is scored on."""
    config = small_config(callbacks=["mine:Listener"], tensorboard=True, validation_eras=None)
    train_folds(sample, tmp_path / "run", config, folds=2)
    ends = [seen[2] for seen in mine().SEEN if seen[0] == "epoch end"]
    assert len(ends) == 4
    for logs in ends:
        assert "loss" in logs
        assert not [name for name in logs if name.startswith("val_")]
    log = b"".join(path.read_bytes() for path in (tmp_path / "run").rglob("events.*"))
    assert b"val_corr_mean" in log


def test_a_callback_ends_the_run_with_the_epoch(mine: Any, sample: Path, tmp_path: Path) -> None:
    config = small_config(epochs=5, callbacks=["mine:Stop"])
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, tmp_path / "run", config, report=Script("step 3", interrupt))
    report = train_run(sample, tmp_path / "run", config, resume=True)
    assert (report.n_epochs, report.stopped_early) == (1, True)


def test_a_callback_may_change_weights_and_the_best_model_is_the_scored_one(
    mine: Any, sample: Path, tmp_path: Path
) -> None:
    train_run(sample, tmp_path / "plain", small_config(epochs=1))
    train_run(sample, tmp_path / "run", small_config(epochs=1, callbacks=["mine:Double"]))
    plain, doubled = results(tmp_path / "plain"), results(tmp_path / "run")
    assert doubled["model"] == plain["model"]
    kernels = [np.frombuffer(r["state"]["step/model/0000"], np.float32) for r in (plain, doubled)]
    np.testing.assert_array_equal(kernels[1], 2 * kernels[0])


@pytest.mark.parametrize(
    ("callback", "said"),
    [
        ("mine:Fail", ["mine:Fail failed in on_epoch_end: KeyError", "mine.py, line "]),
        ("mine:Leave", ["mine:Leave failed in on_epoch_end: SystemExit: 3", "mine.py, line "]),
        ("mine:Unset", ["mine:Unset failed in set_params: KeyError", "mine.py, line "]),
        ("mine:broken", ["mine:broken() failed: TypeError"]),
        ("mine:SEEN", ["is a list", "keras.callbacks.Callback"]),
        ("mine:Lisener", ["did you mean 'Listener'?"]),
    ],
)
def test_a_failing_callback_is_reported_in_one_line(
    callback: str, said: list[str], mine: Any, sample: Path, tmp_path: Path
) -> None:
    with refused(ConfigError, "callbacks: ", *said):
        train_run(sample, tmp_path / "run", small_config(callbacks=[callback]))


def test_a_callback_that_fails_at_once_can_be_corrected_and_retried(
    mine: Any, sample: Path, tmp_path: Path
) -> None:
    with refused(ConfigError, "mine:Unset failed"):
        train_run(sample, tmp_path / "run", small_config(callbacks=["mine:Unset"]))
    train_run(sample, tmp_path / "run", small_config(epochs=1))


def test_the_progress_bar_of_keras_is_accepted(sample: Path, tmp_path: Path) -> None:
    train_run(sample, tmp_path / "run", small_config(callbacks=["keras.callbacks:ProgbarLogger"]))


VARIANTS: dict[str, dict[str, Any]] = {
    "resnet": {"model": "resnet", "hidden": (6, 4)},
    "own model and callback": {"model": "mine:build", "callbacks": ["mine:halving"]},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_state_of_layers_and_learning_rates_survives_interruptions(
    name: str, mine: Any, sample: Path, tmp_path: Path
) -> None:
    config = small_config(**VARIANTS[name])
    train_run(sample, tmp_path / "whole", config)
    whole = results(tmp_path / "whole")
    moving = [array for layer in loaded(tmp_path / "whole").layers for array in layer.get_weights()]
    assert len(moving) > len(loaded(tmp_path / "whole").trainable_weights)
    if "callbacks" in VARIANTS[name]:
        assert [row["learning_rate"] for row in whole["history"]] == ["0.01", "0.005"]
    for call in ("step 8", "validation 1", "epoch 1", "step 4"):
        with pytest.raises(KeyboardInterrupt):
            train_run(sample, tmp_path / "run", config, resume=True, report=Script(call, interrupt))
    train_run(sample, tmp_path / "run", config, resume=True)
    assert results(tmp_path / "run") == whole


@pytest.mark.parametrize(
    "options",
    [{"model": "mine:shaking"}, {"callbacks": ["mine:Beginning"]}],
    ids=["variables of no list", "attributes of the beginning"],
)
def test_state_outside_the_model_survives_interruptions(
    options: dict[str, Any], mine: Any, sample: Path, tmp_path: Path
) -> None:
    config = small_config(**options, epochs=3, checkpoint_steps=4)
    train_run(sample, tmp_path / "whole", config)
    train_run(sample, tmp_path / "again", config)
    whole = results(tmp_path / "whole")
    assert results(tmp_path / "again") == whole
    for call in ("step 8", "epoch 1", "step 4"):
        with pytest.raises(KeyboardInterrupt):
            train_run(sample, tmp_path / "run", config, resume=True, report=Script(call, interrupt))
        keras.utils.set_random_seed(99)
    train_run(sample, tmp_path / "run", config, resume=True)
    assert results(tmp_path / "run") == whole


def test_changed_code_is_reported_on_resume(mine: Any, sample: Path, tmp_path: Path) -> None:
    config = small_config(model="mine:build", callbacks=["mine:Listener"])
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, tmp_path / "run", config, report=Script("step 3", interrupt))
    script = Script("step 3", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, tmp_path / "run", config, resume=True, report=script)
    assert script.warnings == []
    with open(tmp_path / "mine.py", "a") as file:
        file.write("# changed\n")
    script = Script()
    train_run(sample, tmp_path / "run", config, resume=True, report=script)
    (warning,) = script.warnings
    assert re.search(r"resumed with other versions .*: own code \w{12} → \w{12};", warning)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "mine:drawing"}, "draws by 'RandomStandardNormal'"),
        ({"callbacks": ["mine:Beginning"]}, "'mine:Beginning: generator'"),
    ],
)
def test_state_that_no_checkpoint_can_hold_is_reported(
    options: dict[str, Any], said: str, mine: Any, sample: Path, tmp_path: Path
) -> None:
    report = Script("no such call", interrupt)
    train_run(sample, tmp_path / "run", small_config(**options, epochs=1), report=report)
    (warning,) = report.warnings
    assert said in warning
    assert "bits of an uninterrupted one" in warning


def test_training_before_a_failed_callback_is_kept(mine: Any, sample: Path, tmp_path: Path) -> None:
    with refused(ConfigError, "mine:Fail failed in on_epoch_end"):
        train_run(sample, tmp_path / "run", small_config(callbacks=["mine:Fail"]))
    newest = newest_checkpoint(tmp_path / "run")
    assert newest is not None
    assert newest.step == STEPS_PER_EPOCH


def test_checkpoints_of_keras_can_be_written(mine: Any, sample: Path, tmp_path: Path) -> None:
    train_run(sample, tmp_path / "run", small_config(callbacks=["mine:checkpointing"], epochs=2))
    assert len(list(Path().glob("kept-0[12]-*.keras"))) == 2


def test_a_callback_that_moves_the_step_is_refused(mine: Any, sample: Path, tmp_path: Path) -> None:
    with refused(ConfigError, "'mine:Moving'", "moved the step from 0 to 3"):
        train_run(sample, tmp_path / "run", small_config(callbacks=["mine:Moving"]))


def test_a_callback_that_changes_which_layers_are_trained_is_refused(
    mine: Any, sample: Path, tmp_path: Path
) -> None:
    """The compiled step wouldn't notice, and a resumed one would."""
    config = small_config(callbacks=["mine:Unfreeze"])
    with refused(ConfigError, "'mine:Unfreeze'", "which layers are trained", "model.keras"):
        train_run(sample, tmp_path / "run", config)
    assert len(read_csv(tmp_path / "run" / "history.csv")) == 1
    assert (tmp_path / "run" / "model.keras").exists()


def test_a_log_that_cannot_be_written_does_not_stop_the_training(
    sample: Path, tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    script = Script("step 1", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard)))
    script.epoch = (  # type: ignore[method-assign]
        lambda row: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    )
    try:
        config = small_config(tensorboard=True, epochs=1)
        report = train_run(sample, tmp_path / "run", config, report=script)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert report.n_epochs == 1
    (warning,) = [text for text in script.warnings if "TensorBoard" in text]
    assert "couldn't be written" in warning
    assert "\n" not in warning


def test_scores_are_logged_for_tensorboard(sample: Path, tmp_path: Path) -> None:
    train_run(sample, tmp_path / "run", small_config(tensorboard=True))
    (file,) = (tmp_path / "run" / "tensorboard").iterdir()
    found: dict[tuple[str, int], float] = {}
    for record in tf.data.TFRecordDataset(str(file)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            assert value.metadata.plugin_data.plugin_name in ("scalars", "")
            found[value.tag, event.step] = float(tf.make_ndarray(value.tensor))
    for row in read_csv(tmp_path / "run" / "history.csv"):
        expected = pytest.approx(float(row["val_corr_mean"]))
        assert found["val_corr_mean", int(row["epoch"])] == expected
