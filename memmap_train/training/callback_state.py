"""The states of the user's callbacks, and of random generators, for a checkpoint.

Takes callbacks by their names; returns their states as JSON and arrays. A callback with
`state_dict()` and `load_state_dict(state)`, as in PyTorch and Lightning, decides itself what
belongs to its state: JSON values and numpy arrays. Of any other, the plain attributes are taken.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np

from ..errors import ConfigError
from ..runs.checkpoints.attribute_state import (
    Packed,
    restore_attributes,
    restore_random_state,
    save_attributes,
    save_random_state,
    unsaved_attributes,
)
from ..runs.configuration.object_reference import user_code

Memory = list[dict[str, Packed]]
"""The states of the callbacks, in order, and last those of random generators; or nothing."""

_STATE_DICT = "state_dict()"  # the key of such a state; no attribute can be called so

_GIVEN = ("_model", "params")  # attributes that a callback has from the training loop
# Attributes that Keras's callbacks set when training begins: valid in this process only.
_OF_PROCESS = {
    keras.callbacks.CSVLogger: ("append", "append_header"),
    keras.callbacks.TensorBoard: ("_prev_summary_state",),
}


def states_of(callbacks: Mapping[str, Any]) -> Memory:
    """Return the states of callbacks and of random generators; empty without callbacks.

    Raises
    ------
    ConfigError
        A `state_dict` fails, or returns anything but JSON values and numpy arrays.
    """
    if not callbacks:
        return []
    states = [_state_of(name, callback) for name, callback in callbacks.items()]
    return [*states, save_random_state()]


def check_states(callbacks: Mapping[str, Any]) -> None:
    """Raise the ConfigError that `states_of` would raise for a `state_dict`."""
    for name, callback in callbacks.items():
        if _has_state_dict(callback):
            _state_of(name, callback)


def restore_callbacks(callbacks: Mapping[str, Any], memory: Memory) -> None:
    """Restore the states of callbacks and random generators that `states_of` returned.

    Raises
    ------
    ConfigError
        A `load_state_dict` fails, or is missing now.
    """
    *states, generators = memory
    # Not strict: checkpoints of earlier versions have one more, of the log for TensorBoard.
    for (name, callback), state in zip(callbacks.items(), states, strict=False):
        if _STATE_DICT not in state:
            left_out = _not_saved(callback)
            restore_attributes(callback, {key: state[key] for key in state if key not in left_out})
            continue
        if not _has_state_dict(callback):
            raise ConfigError(
                f"callbacks: {name}: the checkpoint holds what its state_dict returned, but it has "
                "no state_dict and load_state_dict any more; put them back, or begin a new run"
            )
        holder = SimpleNamespace()
        restore_attributes(holder, {"state": state[_STATE_DICT]})
        with user_code(f"callbacks: {name} failed in load_state_dict"):
            callback.load_state_dict(holder.state)
    restore_random_state(generators)


def attributes_not_saved(callbacks: Mapping[str, Any]) -> list[str]:
    """Return the attributes that `states_of` can't hold, as "callback: attribute"."""
    return [
        f"{name}: {attribute}"
        for name, callback in callbacks.items()
        if not _has_state_dict(callback)
        for attribute in unsaved_attributes(callback, but=_not_saved(callback))
    ]


def _state_of(name: str, callback: Any) -> dict[str, Packed]:
    if not _has_state_dict(callback):
        return save_attributes(callback, but=_not_saved(callback))
    with user_code(f"callbacks: {name} failed in state_dict"):
        state = callback.state_dict()
        fault = _fault(state)
    if fault is not None:
        raise ConfigError(
            f"callbacks: {name}: state_dict returned {fault}; expected JSON values (text, numbers, "
            "true, false, None, lists, and dicts by text) and numpy arrays"
        )
    return {_STATE_DICT: save_attributes(SimpleNamespace(state=state))["state"]}


def _has_state_dict(callback: Any) -> bool:
    methods = (getattr(callback, name, None) for name in ("state_dict", "load_state_dict"))
    return all(callable(method) for method in methods)


def _fault(value: Any, where: str = "") -> str | None:
    """Return the first part of a state that is neither a JSON value nor a numpy array.

    >>> _fault({"seen": [1, 2.5, None], "means": np.zeros(3)})
    >>> _fault({"seen": [1, {2}]})
    "a set at ['seen'][1]"
    """
    found = f"a {type(value).__name__}" + (f" at {where}" if where else "")
    if isinstance(value, np.ndarray | np.generic):
        return None if value.dtype.kind in "biufcSU" else f"{found} of {value.dtype}"
    if type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                return f"a key that is a {type(key).__name__} ({key!r:.40}) in {found}"
            if fault := _fault(item, f"{where}[{key!r:.40}]"):
                return fault
        return None
    if type(value) is list:
        faults = (_fault(item, f"{where}[{number}]") for number, item in enumerate(value))
        return next((fault for fault in faults if fault), None)
    return None if type(value) in (type(None), bool, int, float, str) else found


def _not_saved(callback: Any) -> tuple[str, ...]:
    """Return the attributes of a callback that a resumed training must not set."""
    found = (names for kind, names in _OF_PROCESS.items() if isinstance(callback, kind))
    return (*_GIVEN, *(name for names in found for name in names))
