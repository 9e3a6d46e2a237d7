"""What users bring: models of functions and files of theirs, callbacks; what is said of faults."""

import json
import os
import re
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from refusal import refused
from test_training import interrupt, read_csv, results
from training_data import STEPS_PER_EPOCH, Script, newest_checkpoint, small_config

import memmap_train as mt
from memmap_train.errors import ConfigError, RunError
from memmap_train.training import loop
from memmap_train.training.loop import train
from memmap_train.training.model import build
from memmap_train.training.predict import predict
from memmap_train.training.walk_forward import train_folds

pytest_plugins = ["training_fixtures"]

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
        self.model.layers[-1].trainable = not self.model.layers[-1].trainable


class Leave(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise SystemExit(3)


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
    monkeypatch.setattr(loop, "_SECONDS_BETWEEN_REPORTS", 0.0)
    yield lambda: sys.modules["mine"]
    sys.modules.pop("mine", None)


def loaded(path: Path) -> Any:
    return keras.models.load_model(path / "model.keras", compile=False)


# -- models ---------------------------------------------------------------------------------------


def test_a_model_of_ones_own_is_trained_and_predicts(
    mine: Any, sample: Path, tmp_path: Path
) -> None:
    config = small_config(model="mine:build", model_params={"units": 5})
    train(sample, tmp_path / "run", config)
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (record["model"], record["model_params"]) == ("mine:build", {"units": 5})
    assert loaded(tmp_path / "run").get_weights()[0].shape == (8, 5)
    report = predict(tmp_path / "run", sample, tmp_path / "out.csv")
    assert report.n_rows == mt.open_dataset(sample).n_rows


@pytest.mark.parametrize("name", ["sequential", "known"])
def test_models_of_any_making_are_trained_and_predict(
    name: str, mine: Callable[[], Any], sample: Path, tmp_path: Path
) -> None:
    train(sample, tmp_path / "run", small_config(model=f"mine:{name}", epochs=1))
    sys.modules.pop("mine")  # as in a process of its own
    assert predict(tmp_path / "run", sample, tmp_path / "out.csv").n_rows > 0


def test_what_layers_add_to_the_loss_is_minimised(mine: Any, sample: Path, tmp_path: Path) -> None:
    sizes = []
    for rate in (0.0, 10.0):
        config = small_config(model="mine:build", model_params={"rate": rate})
        train(sample, tmp_path / str(rate), config)
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
        ("mine:half", ["float16"]),
        ("mine:frozen", ["none of its weights can be trained"]),
        ("mine:plain", ["can't be saved and opened again", "register_keras_serializable"]),
        ("gone.keras", ["gone.keras", "No such file"]),
        ("text.keras", ["text.keras", "can't be opened"]),
    ],
)
def test_what_isnt_a_fitting_model_is_one_line_and_leaves_nothing(
    model: str, said: list[str], mine: Any, sample: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.keras").write_text("no model")
    with refused(ConfigError, *said):
        train(sample, tmp_path / "run", small_config(model=model))
    assert not (tmp_path / "run").exists()


def test_parameters_that_a_function_doesnt_take_are_named(
    mine: Any, sample: Path, tmp_path: Path
) -> None:
    with refused(ConfigError, "mine:build(8, 1, depth=3) failed: TypeError", "'depth'"):
        config = small_config(model="mine:build", model_params={"depth": 3})
        train(sample, tmp_path / "run", config)


def test_a_saved_model_is_trained_further(sample: Path, tmp_path: Path) -> None:
    train(sample, tmp_path / "first", small_config())
    saved = tmp_path / "first" / "model.keras"
    nearly_nothing = small_config(
        model=os.path.relpath(saved), learning_rate=1e-12, weight_decay=0.0, epochs=1
    )
    train(sample, tmp_path / "second", nearly_nothing)
    for old, new in zip(
        loaded(tmp_path / "first").get_weights(),
        loaded(tmp_path / "second").get_weights(),
        strict=True,
    ):
        np.testing.assert_allclose(new, old, atol=1e-6)
    with refused(ConfigError, "from (rows, 8) to (rows, 2)", "to (rows, 1)"):
        two = small_config(model=str(saved), targets=("target", "target_beta_20"))
        train(sample, tmp_path / "third", two)
    # Another file under that name would be another beginning.
    build(8, 1, small_config()).save(saved)
    with refused(RunError, "model_digest"):
        train(sample, tmp_path / "second", None, resume=True)


def test_a_saved_model_is_not_scored_on_eras_that_it_was_trained_on(
    sample: Path, tmp_path: Path
) -> None:
    train(sample, tmp_path / "first", small_config(epochs=1))
    saved = str(tmp_path / "first" / "model.keras")
    early = {"model": saved, "epochs": 1, "validation_eras": "0001-0003"}
    with refused(ConfigError, "trained on some of the validation eras ('0001', '0002', '0003')"):
        train(sample, tmp_path / "second", small_config(**early))
    train(sample, tmp_path / "second", small_config(**early, allow_overlap=True))
    alone = tmp_path / "alone.keras"
    shutil.copy(saved, alone)
    for model in (saved, str(alone)):
        with refused(ConfigError, model, "allow_overlap = true"):
            config = small_config(model=model, validation_eras=None)
            train_folds(sample, tmp_path / "folds", config, folds=2)
    assert not (tmp_path / "folds").exists()


def test_half_precision_weights_are_resumed(mine: Any, sample: Path, tmp_path: Path) -> None:
    config = small_config(model="mine:brain")
    train(sample, tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        train(sample, tmp_path / "run", config, report=Script("step 8", interrupt))
    train(sample, tmp_path / "run", config, resume=True)
    assert results(tmp_path / "run") == results(tmp_path / "whole")


@pytest.mark.parametrize("name", ["sequential", "known"])
def test_a_saved_model_of_any_making_is_trained_further(
    name: str, mine: Any, sample: Path, tmp_path: Path
) -> None:
    train(sample, tmp_path / "first", small_config(model=f"mine:{name}", epochs=1))
    saved = tmp_path / "first" / "model.keras"
    train(sample, tmp_path / "second", small_config(model=str(saved), epochs=1))
    shapes = [
        [w.shape for w in loaded(tmp_path / run).get_weights()] for run in ("first", "second")
    ]
    assert shapes[0] == shapes[1]


def test_a_resnet_has_a_block_of_each_width() -> None:
    model = build(20, 2, small_config(model="resnet", hidden=(7, 5)))
    shapes = [weight.shape for weight in model.get_weights() if weight.ndim == 2]
    assert shapes == [(20, 7), (7, 7), (7, 7), (7, 5), (7, 5), (5, 5), (5, 2)]
    assert build(20, 2, small_config(model="resnet", hidden=())).output_shape == (None, 2)


# -- callbacks ------------------------------------------------------------------------------------


def test_a_callback_is_told_what_happens(
    mine: Callable[[], Any], sample: Path, tmp_path: Path
) -> None:
    train(sample, tmp_path / "run", small_config(callbacks=["mine:Listener"]))
    seen = mine().SEEN
    an_epoch = ["epoch begin", *["batch end"] * STEPS_PER_EPOCH, "epoch end"]
    assert [what for what, *_ in seen] == ["train begin", *an_epoch, *an_epoch, "train end"]
    assert seen[0][1] == {"epochs": 2, "steps": STEPS_PER_EPOCH}
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
    plain = train(sample, tmp_path / "plain", small_config())
    assert [row["loss"] for row in read_csv(tmp_path / "plain" / "history.csv")] == [
        row["loss"] for row in history
    ]
    size = (tmp_path / "run" / "model.keras").stat().st_size
    assert size < 1.2 * (Path(plain.run_dir) / "model.keras").stat().st_size  # no optimizer in it


def test_callbacks_of_folds_dont_see_the_scores_of_what_is_to_be_predicted(
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
        train(sample, tmp_path / "run", config, report=Script("step 3", interrupt))
    report = train(sample, tmp_path / "run", config, resume=True)
    assert (report.n_epochs, report.stopped_early) == (1, True)


def test_a_callback_that_changes_weights_is_obeyed_and_the_best_model_is_the_scored_one(
    mine: Any, sample: Path, tmp_path: Path
) -> None:
    train(sample, tmp_path / "plain", small_config(epochs=1))
    train(sample, tmp_path / "run", small_config(epochs=1, callbacks=["mine:Double"]))
    plain, doubled = results(tmp_path / "plain"), results(tmp_path / "run")
    assert doubled["model"] == plain["model"]
    kernels = [np.frombuffer(r["state"]["step/model/0000"], np.float32) for r in (plain, doubled)]
    np.testing.assert_array_equal(kernels[1], 2 * kernels[0])


@pytest.mark.parametrize(
    ("callback", "said"),
    [
        ("mine:Fail", ["mine:Fail failed in on_epoch_end: KeyError", "mine.py, line "]),
        ("mine:Leave", ["mine:Leave failed in on_epoch_end: SystemExit: 3", "mine.py, line "]),
        ("mine:broken", ["mine:broken() failed: TypeError"]),
        ("mine:SEEN", ["is a list", "keras.callbacks.Callback"]),
        ("mine:Lisener", ["did you mean 'Listener'?"]),
    ],
)
def test_a_callback_that_fails_is_one_line(
    callback: str, said: list[str], mine: Any, sample: Path, tmp_path: Path
) -> None:
    with refused(ConfigError, "callbacks: ", *said):
        train(sample, tmp_path / "run", small_config(callbacks=[callback]))


VARIANTS: dict[str, dict[str, Any]] = {
    "resnet": {"model": "resnet", "hidden": (6, 4)},
    "own model and callback": {"model": "mine:build", "callbacks": ["mine:halving"]},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_state_of_layers_and_learning_rates_survives_interruptions(
    name: str, mine: Any, sample: Path, tmp_path: Path
) -> None:
    config = small_config(**VARIANTS[name])
    train(sample, tmp_path / "whole", config)
    whole = results(tmp_path / "whole")
    moving = [array for layer in loaded(tmp_path / "whole").layers for array in layer.get_weights()]
    assert len(moving) > len(loaded(tmp_path / "whole").trainable_weights)
    if "callbacks" in VARIANTS[name]:
        assert [row["learning_rate"] for row in whole["history"]] == ["0.01", "0.005"]
    for call in ("step 8", "validation 1", "epoch 1", "step 4"):
        with pytest.raises(KeyboardInterrupt):
            train(sample, tmp_path / "run", config, resume=True, report=Script(call, interrupt))
    train(sample, tmp_path / "run", config, resume=True)
    assert results(tmp_path / "run") == whole


@pytest.mark.parametrize(
    "options",
    [{"model": "mine:shaking"}, {"callbacks": ["mine:Beginning"]}],
    ids=["variables of no list", "attributes of the beginning"],
)
def test_what_only_the_process_has_survives_interruptions(
    options: dict[str, Any], mine: Any, sample: Path, tmp_path: Path
) -> None:
    config = small_config(**options, epochs=3, checkpoint_steps=4)
    train(sample, tmp_path / "whole", config)
    train(sample, tmp_path / "again", config)
    whole = results(tmp_path / "whole")
    assert results(tmp_path / "again") == whole
    for call in ("step 8", "epoch 1", "step 4"):
        with pytest.raises(KeyboardInterrupt):
            train(sample, tmp_path / "run", config, resume=True, report=Script(call, interrupt))
        keras.utils.set_random_seed(99)
    train(sample, tmp_path / "run", config, resume=True)
    assert results(tmp_path / "run") == whole


def test_code_that_changed_since_a_run_began_is_told(
    mine: Any, sample: Path, tmp_path: Path
) -> None:
    config = small_config(model="mine:build", callbacks=["mine:Listener"])
    with pytest.raises(KeyboardInterrupt):
        train(sample, tmp_path / "run", config, report=Script("step 3", interrupt))
    script = Script("step 3", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(sample, tmp_path / "run", config, resume=True, report=script)
    assert script.warnings == []
    with open(tmp_path / "mine.py", "a") as file:
        file.write("# changed\n")
    script = Script()
    train(sample, tmp_path / "run", config, resume=True, report=script)
    (warning,) = script.warnings
    assert re.search(r"carried on with other versions .*: own code \w{12} → \w{12};", warning)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "mine:drawing"}, "draws by 'RandomStandardNormal'"),
        ({"callbacks": ["mine:Beginning"]}, "'mine:Beginning: generator'"),
    ],
)
def test_what_no_checkpoint_can_hold_is_said(
    options: dict[str, Any], said: str, mine: Any, sample: Path, tmp_path: Path
) -> None:
    report = Script("no such call", interrupt)
    train(sample, tmp_path / "run", small_config(**options, epochs=1), report=report)
    (warning,) = report.warnings
    assert said in warning
    assert "bits of an uninterrupted one" in warning


def test_what_was_trained_before_a_callback_failed_is_kept(
    mine: Any, sample: Path, tmp_path: Path
) -> None:
    with refused(ConfigError, "mine:Fail failed in on_epoch_end"):
        train(sample, tmp_path / "run", small_config(callbacks=["mine:Fail"]))
    newest = newest_checkpoint(tmp_path / "run")
    assert newest is not None
    assert newest.step == STEPS_PER_EPOCH


def test_keras_own_checkpoints_can_be_written(mine: Any, sample: Path, tmp_path: Path) -> None:
    train(sample, tmp_path / "run", small_config(callbacks=["mine:checkpointing"], epochs=2))
    assert len(list(Path().glob("kept-0[12]-*.keras"))) == 2


def test_a_callback_that_moves_the_step_is_refused(mine: Any, sample: Path, tmp_path: Path) -> None:
    with refused(ConfigError, "'mine:Moving'", "moved the step from 0 to 3"):
        train(sample, tmp_path / "run", small_config(callbacks=["mine:Moving"]))


def test_a_callback_that_changes_which_layers_are_trained_is_refused(
    mine: Any, sample: Path, tmp_path: Path
) -> None:
    """The compiled step wouldn't notice, and a resumed one would."""
    config = small_config(callbacks=["mine:Unfreeze"])
    with refused(ConfigError, "'mine:Unfreeze'", "which layers are trained", "model.keras"):
        train(sample, tmp_path / "run", config)
    assert len(read_csv(tmp_path / "run" / "history.csv")) == 1
    assert (tmp_path / "run" / "model.keras").exists()


def test_a_log_that_cant_be_written_costs_nothing_but_the_log(sample: Path, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    script = Script("step 1", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard)))
    script.epoch = (  # type: ignore[method-assign]
        lambda row: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    )
    try:
        config = small_config(tensorboard=True, epochs=1)
        report = train(sample, tmp_path / "run", config, report=script)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert report.n_epochs == 1
    (warning,) = [text for text in script.warnings if "TensorBoard" in text]
    assert "couldn't be written" in warning
    assert "\n" not in warning


def test_scores_are_logged_for_tensorboard(sample: Path, tmp_path: Path) -> None:
    train(sample, tmp_path / "run", small_config(tensorboard=True))
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
