"""Tests of callbacks in trainings that are interrupted and resumed: all is told them once."""

import math
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import pytest

from memmap_train.errors import ConfigError
from memmap_train.training.train import train_run
from tests.support.errors import refused
from tests.support.training_data import STEPS_PER_EPOCH, Script, small_config
from tests.support.training_runs import TIMES, interrupt, read_csv, results

pytest_plugins = ["tests.support.training_fixtures"]


REMEMBERING = """
import os
import signal

import keras
import numpy as np

CALLS, AT = [], None


def called(what):
    CALLS.append(what)
    if len(CALLS) == AT:
        os.kill(os.getpid(), signal.SIGINT)


class Counting(keras.callbacks.Callback):
    # What it does depends on all that it was told before.
    def __init__(self):
        super().__init__()
        self.n_steps, self.rates, self.losses = 3, None, {}

    def on_train_begin(self, logs=None):
        self.n_steps, self.rates, self.other = 0, (0.01, 0.003, 0.001), object()

    def on_epoch_begin(self, epoch, logs=None):
        called("epoch begin")
        self.losses[epoch] = []

    def on_train_batch_begin(self, batch, logs=None):
        called("batch begin")
        self.n_steps += 1
        self.model.optimizer.learning_rate = self.rates[self.n_steps % 3]

    def on_train_batch_end(self, batch, logs=None):
        called("batch end")
        self.losses[max(self.losses)].append(logs["loss"])
        assert self.n_steps == sum(map(len, self.losses.values()))
        self.last = np.array(self.losses[max(self.losses)][-2:])

    def on_epoch_end(self, epoch, logs=None):
        called("epoch end")
        self.rates = tuple(rate * self.last.mean() * 8 for rate in self.rates)


def plateau():
    return keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=2, min_delta=10.0)


def stopping():
    return keras.callbacks.EarlyStopping(
        "loss", patience=3, min_delta=10.0, restore_best_weights=True
    )


def backup():
    return keras.callbacks.BackupAndRestore("backup", save_freq=4, delete_checkpoint=False)


def best():
    return keras.callbacks.ModelCheckpoint(
        "best.weights.h5", "val_corr_mean", mode="max", save_best_only=True, save_weights_only=True
    )


def by_steps():
    return keras.callbacks.ModelCheckpoint(
        "{epoch}-{batch}.weights.h5", save_weights_only=True, save_freq=7
    )


def writing():
    return keras.callbacks.CSVLogger("written.csv")


def appending():
    return keras.callbacks.CSVLogger("appended.csv", append=True)


def schedule():
    return keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.9 * rate)


def ending():
    return keras.callbacks.TerminateOnNaN()


def line(epoch, logs):
    with open("lines.txt", "a") as file:
        file.write(f"{epoch} {logs['loss']}\\n")


def calling():
    return keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: None, on_epoch_end=line, on_train_end=lambda logs: logs["loss"]
    )


class Stateful(keras.callbacks.Callback):
    # A set isn't plain, and an attribute that state_dict leaves out isn't restored.
    def __init__(self):
        super().__init__()
        self.seen, self.total, self.begun = set(), np.zeros(1), 0

    def on_train_begin(self, logs=None):
        self.seen, self.total, self.begun = set(), np.zeros(1), self.begun + 1

    def on_train_batch_end(self, batch, logs=None):
        self.seen.add(int(logs["loss"] * 1e6) % 17)
        self.total += logs["loss"]
        self.model.optimizer.learning_rate = 0.001 * len(self.seen) + 1e-6 * self.total[0]

    def on_epoch_end(self, epoch, logs=None):
        assert self.begun == 1

    def state_dict(self):
        return {"seen": sorted(self.seen), "more": {"total": self.total, "none": [None, 0.5, "x"]}}

    def load_state_dict(self, state):
        assert state["more"]["none"] == [None, 0.5, "x"]
        self.seen, self.total = set(state["seen"]), state["more"]["total"]


class Wrong(Stateful):
    def state_dict(self):
        return {"seen": self.seen}


class Careless(keras.callbacks.Callback):
    # Whenever it is told of a beginning: which isn't repeated in a training that isn't interrupted.
    def on_train_begin(self, logs):
        self.model.optimizer.learning_rate = 0.02
        self.model.set_weights([weight / 2 for weight in self.model.get_weights()])

"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Write `remembering.py` into the current directory."""
    (tmp_path / "remembering.py").write_text(REMEMBERING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("remembering", None)


def test_a_wrong_state_dict_is_refused_before_the_first_step(
    mine: None, sample: Path, tmp_path: Path
) -> None:
    script = Script()
    with refused(ConfigError, "callbacks: remembering:Wrong", "a set at ['seen']"):
        config = small_config(callbacks=["remembering:Wrong"])
        train_run(sample, tmp_path / "run", config, report=script)
    assert script.calls == ["started"]


@pytest.mark.parametrize("name", ["Counting", "Stateful", "plateau", "stopping"])
def test_the_state_of_callbacks_survives_interruptions(
    name: str, mine: None, sample: Path, tmp_path: Path
) -> None:
    config = small_config(epochs=5, callbacks=[f"remembering:{name}"], patience=0)
    script = Script()
    train_run(sample, tmp_path / "whole", config, report=script)
    assert any("Counting: other" in warning for warning in script.warnings) == (name == "Counting")
    whole = results(tmp_path / "whole")
    rates = [float(row["learning_rate"]) for row in whole["history"]]
    assert name == "stopping" or len(set(rates)) > 1
    assert name != "stopping" or len(rates) == 4
    for call in ("step 3", "validation 1", "step 1", "epoch 1", "step 8", "epoch 1"):
        with pytest.raises(KeyboardInterrupt):
            train_run(sample, tmp_path / "run", config, resume=True, report=Script(call, interrupt))
        sys.modules.pop("remembering", None)
    train_run(sample, tmp_path / "run", config, resume=True)
    assert results(tmp_path / "run") == whole


def files_of(folder: Path) -> dict[str, Any]:
    """Return what callbacks have written into a folder: lines without times, and weights."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*.*")):
        if "run" in path.relative_to(folder).parts:
            continue
        name = str(path.relative_to(folder))
        if path.suffix == ".csv":
            rows = read_csv(path)
            found[name] = [{k: v for k, v in row.items() if k not in TIMES} for row in rows]
        elif path.suffix == ".h5":
            with h5py.File(path) as file:
                arrays: dict[str, bytes] = {}
                file.visititems(
                    lambda name, item, to=arrays: (
                        to.update({name: item[()].tobytes()})
                        if isinstance(item, h5py.Dataset)
                        else None
                    )
                )
                found[name] = arrays
        else:
            found[name] = path.read_bytes()
    return found


# CSVLogger closes its file when training ends, or else with its process.
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_callbacks_of_keras_write_the_files_of_an_uninterrupted_training(
    mine: None, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    names = "stopping backup best by_steps writing appending plateau schedule ending calling"
    config = small_config(
        epochs=3, callbacks=[f"remembering:{name}" for name in names.split()], patience=0
    )
    for folder in ("whole", "parts"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "whole")
    script = Script()
    train_run(sample, Path("run"), config, report=script)
    assert script.warnings == []
    monkeypatch.chdir(tmp_path / "parts")
    for call in ("step 3", "validation 1", "step 1", "epoch 1", "step 8"):
        with pytest.raises(KeyboardInterrupt):
            train_run(sample, Path("run"), config, resume=True, report=Script(call, interrupt))
    train_run(sample, Path("run"), config, resume=True)
    assert results(tmp_path / "parts" / "run") == results(tmp_path / "whole" / "run")
    whole = files_of(tmp_path / "whole")
    assert [len(whole[name]) for name in ("written.csv", "appended.csv")] == [3, 3]
    assert {"lines.txt", "best.weights.h5", "1-7.weights.h5"} <= whole.keys()
    assert files_of(tmp_path / "parts") == whole


def test_changes_that_a_callback_makes_at_the_beginning_are_made_once(
    mine: None, sample: Path, tmp_path: Path
) -> None:
    config = small_config(callbacks=["remembering:Careless"])
    train_run(sample, tmp_path / "whole", config)
    for call in ("step 8", "epoch 1"):
        with pytest.raises(KeyboardInterrupt):
            train_run(sample, tmp_path / "run", config, resume=True, report=Script(call, interrupt))
    train_run(sample, tmp_path / "run", config, resume=True)
    assert results(tmp_path / "run") == results(tmp_path / "whole")


def test_an_interrupted_callback_gets_every_call_once(
    mine: None, sample: Path, tmp_path: Path
) -> None:
    config = small_config(epochs=2, callbacks=["remembering:Counting"])
    train_run(sample, tmp_path / "whole", config)
    remembering: Any = sys.modules["remembering"]
    whole, calls = results(tmp_path / "whole"), list(remembering.CALLS)
    an_epoch = ["epoch begin", *["batch begin", "batch end"] * STEPS_PER_EPOCH, "epoch end"]
    assert calls == 2 * an_epoch
    # The first and last calls of an epoch, two in its middle, and the first of the next epoch.
    n_calls, middle = len(an_epoch), len(an_epoch) // 2
    points = (*range(1, 6), middle, middle + 1, *range(n_calls - 2, n_calls + 3))
    for first in range(3):  # a step makes two calls: neighbours belong to different runs
        remembering = sys.modules["remembering"]
        remembering.CALLS, run = [], tmp_path / f"run-{first}"
        for at in points[first::3]:
            remembering.AT = at
            with pytest.raises(KeyboardInterrupt):
                train_run(sample, run, config, resume=True)
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        remembering.AT = None
        train_run(sample, run, config, resume=True)
        assert calls == remembering.CALLS
        assert results(run) == whole


def test_a_callback_that_hangs_is_interrupted_by_the_second_signal(
    mine: None, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(callbacks=["remembering:Counting"])
    train_run(sample, tmp_path / "before", config)

    def hang(self: Any, epoch: int, logs: Any = None) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(10_000_000):
            math.sqrt(epoch)
        raise AssertionError

    monkeypatch.setattr(sys.modules["remembering"].Counting, "on_epoch_end", hang)
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, tmp_path / "run", config)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
