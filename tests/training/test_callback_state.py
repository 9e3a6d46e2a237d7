"""Tests of what callbacks remember over an interruption: plain attributes, or their own state."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memmap_train.errors import ConfigError
from memmap_train.runs.checkpoints.attribute_state import (
    Packed,
    restore_attributes,
    save_attributes,
    unsaved_attributes,
)
from memmap_train.training.callback_state import restore_callbacks, states_of
from memmap_train.training.callbacks import Callbacks
from tests.support.errors import refused

# -- attributes -----------------------------------------------------------------------------------


def told_apart(value: Any) -> str:
    """Return what tells values and their types apart."""
    if isinstance(value, dict):
        return f"dict {[(told_apart(k), told_apart(v)) for k, v in value.items()]}"
    if isinstance(value, list | tuple):
        return f"{type(value)} {[told_apart(item) for item in value]}"
    if isinstance(value, np.ndarray | np.generic):
        return f"{type(value)} {value.dtype} {value.shape} {value.tolist()}"
    return f"{type(value)} {value!r}"


NUMBERS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
ARRAYS = st.sampled_from(
    [
        np.zeros((2, 0), np.float32),
        np.arange(6, dtype=np.int8).reshape(2, 3).T,
        np.array(7.5),
        np.float32(0.1),
        np.int64(-3),
        np.array([b"ab", b"c"]),
        np.array(["é", ""]),
        np.bool_(True),
        Path("a/b"),
        len,
        told_apart,
        Packed,
    ]
)
VALUES = st.recursive(
    NUMBERS | ARRAYS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


def test_a_missing_function_is_left_as_it_is() -> None:
    thing = SimpleNamespace(f=1, n=1)
    restore_attributes(thing, {"f": Packed({"named": ["gone", "f"]}, []), "n": Packed(2, [])})
    assert (thing.f, thing.n) == (1, 2)


@given(value=VALUES)
def test_plain_values_are_restored(value: Any) -> None:
    packed = save_attributes(SimpleNamespace(it=value))["it"]
    tree = json.loads(json.dumps(packed.tree))
    other = SimpleNamespace(it=None)
    restore_attributes(other, {"it": Packed(tree, packed.arrays)})
    assert told_apart(other.it) == told_apart(value)


def test_captured_values_are_copies() -> None:
    array = np.zeros(3)
    thing = SimpleNamespace(arrays=[array])
    packed = save_attributes(thing)
    array[0] = 1
    restore_attributes(thing, packed)
    thing.arrays[0][1] = 2
    restore_attributes(thing, packed)
    assert thing.arrays[0].tolist() == [0, 0, 0]


def test_attributes_that_are_not_plain_are_skipped() -> None:
    circle: list[Any] = []
    circle.append(circle)
    thing = SimpleNamespace(
        a={1, 2},
        b=[object()],
        c=lambda: 1,
        d=circle,
        e=np.array([object()]),
        f={"x": {1}},
        params=1,
        n=5,
    )
    assert list(save_attributes(thing, but=["params"])) == ["n"]


def test_objects_that_a_process_makes_for_itself_are_not_reported_as_lost(tmp_path: Path) -> None:
    with open(tmp_path / "log.csv", "w") as file:
        thing = SimpleNamespace(
            file=file,
            writer=csv.writer(file),
            writers={"train": file, "other": [file]},
            path=tmp_path,
            module=math,
            function=lambda: 1,
            numbers=(number for number in range(3)),
            generator=np.random.default_rng(0),
            mixed={"train": file, "other": {1}},
        )
        assert unsaved_attributes(thing) == ["numbers", "generator", "mixed"]


def test_objects_of_keras_for_tensorboard_are_not_reported_as_lost(
    tmp_path: Path,
) -> None:
    made = {
        "batches": keras.callbacks.TensorBoard(tmp_path, update_freq="batch"),
        "epochs": keras.callbacks.TensorBoard(tmp_path),
    }
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    callbacks = Callbacks(made, model, keras.optimizers.Adam(), {"epochs": 2, "steps": 3})
    callbacks.train_begin([])
    assert callbacks.forgotten() == []


# -- state_dict -----------------------------------------------------------------------------------


def with_state(value: Any, load: Callable[[Any], None] = lambda state: None) -> Any:
    return SimpleNamespace(state_dict=lambda: value, load_state_dict=load, plain=1)


def test_a_state_dict_comes_back_as_it_was_and_attributes_dont() -> None:
    state: dict[str, Any] = {
        "a": np.arange(3.0),
        "b": {"c": [1, None, True, 0.5, "x"]},
        "d": np.float32(0.1),
    }
    loaded: list[Any] = []
    memory = states_of({"mine:A": with_state(state)})
    state["a"] += 1
    other = with_state({}, loaded.append)
    other.plain = 2
    restore_callbacks({"mine:A": other}, memory)
    state["a"] -= 1
    assert [told_apart(found) for found in loaded] == [told_apart(state)]
    assert other.plain == 2


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({1, 2}, "returned a set"),
        ({"a": [0, {"b": (1,)}]}, "a tuple at ['a'][1]['b']"),
        ({"a": {3: 1}}, "a key that is a int (3) in a dict at ['a']"),
        ({"a": np.array([object()])}, "a ndarray at ['a'] of object"),
        ({"a": Path("b")}, "a PosixPath at ['a']"),
    ],
)
def test_a_state_that_is_neither_json_nor_arrays_is_refused(state: Any, said: str) -> None:
    with refused(ConfigError, "callbacks: mine:A: state_dict", said, "JSON values"):
        states_of({"mine:A": with_state(state)})


def test_a_state_dict_that_fails_or_has_gone_is_told_in_one_line() -> None:
    def fail(state: Any = None) -> None:
        raise OSError("no\nmore")

    failing = SimpleNamespace(state_dict=fail, load_state_dict=fail)
    with refused(ConfigError, "callbacks: mine:A failed in state_dict: OSError: no more"):
        states_of({"mine:A": failing})
    memory = states_of({"mine:A": with_state({})})
    with refused(ConfigError, "callbacks: mine:A failed in load_state_dict: OSError: no more"):
        restore_callbacks({"mine:A": failing}, memory)
    with refused(ConfigError, "callbacks: mine:A", "no state_dict and load_state_dict any more"):
        restore_callbacks({"mine:A": SimpleNamespace()}, memory)
