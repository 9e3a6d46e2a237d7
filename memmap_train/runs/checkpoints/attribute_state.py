"""The plain attributes of an object, saved as JSON and arrays, and restored. Imports numpy only.

Plain values are numbers, text, None, paths, numpy's arrays and scalars, functions and classes that
a module has under their names, and lists, tuples and dicts of these. Attributes with other values
aren't saved: a model, an open file, a lambda. No module is imported to restore a value. Python's
and numpy's global random generators, which belong to no object, can be saved as well.
"""

import random
import sys
from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

_JSON_TYPES = (type(None), bool, int, float, str)


@dataclass(frozen=True, slots=True)
class Packed:
    """A plain value as JSON and arrays.

    Attributes
    ----------
    tree : any
        The value as JSON has it; a number under "array" or "scalar" is an index into `arrays`.
    arrays : list of ndarray
        Copies of the arrays and of numpy's scalars.
    """

    tree: Any
    arrays: list[npt.NDArray[Any]]


def save_attributes(thing: object, *, but: Collection[str] = ()) -> dict[str, Packed]:
    """Return the plain attributes of an object, by name.

    Parameters
    ----------
    thing : object
        The object.
    but : collection of str
        Names of attributes to leave out.
    """
    found = {}
    for name, value in vars(thing).items():
        if name not in but:
            arrays: list[npt.NDArray[Any]] = []
            try:
                found[name] = Packed(_tree(value, arrays), arrays)
            except (TypeError, RecursionError):  # not plain, or contains itself
                continue
    return found


def unsaved_attributes(thing: object, *, but: Collection[str] = ()) -> list[str]:
    """Return the names of attributes that may change and that `save_attributes` leaves out.

    Functions and modules aren't among them, since the code that makes the object sets them again;
    nor are files, writers of logs and other things to be closed, which belong to a process.
    """
    plain = save_attributes(thing, but=but)
    return [
        name
        for name, value in vars(thing).items()
        if not (name in plain or name in but or _is_of_process(value))
    ]


def save_random_state() -> dict[str, Packed]:
    """Return the states of Python's and numpy's global random generators."""
    version, numbers, gauss = random.getstate()
    state = SimpleNamespace(
        python=(version, np.array(numbers, np.uint32), gauss),
        numpy=np.random.get_state(),  # noqa: NPY002
    )
    return save_attributes(state)


def restore_random_state(packed: Mapping[str, Packed]) -> None:
    """Set both generators to a state that `save_random_state` returned."""
    state = SimpleNamespace()
    restore_attributes(state, packed)
    version, numbers, gauss = state.python
    random.setstate((version, tuple(map(int, numbers)), gauss))
    np.random.set_state(state.numpy)  # noqa: NPY002


def restore_attributes(thing: object, packed: Mapping[str, Packed]) -> None:
    """Set attributes of an object to the values that were saved."""
    for name, value in packed.items():
        try:
            setattr(thing, name, _value(value.tree, value.arrays))
        except LookupError:  # a function that no longer exists
            continue


def _is_of_process(value: Any) -> bool:
    """Return True for a value that isn't plain and that each process makes again itself."""
    if type(value) in (list, tuple, dict):
        items = value.values() if isinstance(value, dict) else value
        return all(_is_of_process(item) for item in items)
    is_open = hasattr(value, "writerow") or hasattr(value, "close")
    return (
        callable(value)
        or isinstance(value, ModuleType)
        or (is_open and not isinstance(value, Generator))
    )


def _tree(value: Any, arrays: list[npt.NDArray[Any]]) -> Any:
    kind = type(value)  # not `isinstance`: a derived class may hold anything
    if kind in _JSON_TYPES:
        return value
    if isinstance(value, Path):
        return {"path": str(value)}
    if kind in (list, tuple):
        return {kind.__name__: [_tree(item, arrays) for item in value]}
    if kind is dict:
        return {"dict": [[_tree(k, arrays), _tree(v, arrays)] for k, v in value.items()]}
    is_array = kind is np.ndarray
    if (is_array or isinstance(value, np.generic)) and value.dtype.kind in "biufcSU":
        arrays.append(np.array(value))
        return {"array" if is_array else "scalar": len(arrays) - 1}
    named = [getattr(value, "__module__", None), getattr(value, "__qualname__", None)]
    if callable(value) and _named(*named) is value:
        return {"named": named}
    raise TypeError(f"a {kind.__name__} isn't plain")


def _value(tree: Any, arrays: list[npt.NDArray[Any]]) -> Any:
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    if kind == "named":
        found = _named(*content)
        if found is None:
            raise LookupError
        return found
    if kind == "path":
        return Path(content)
    if kind == "array":
        return arrays[content].copy()
    if kind == "scalar":
        return arrays[content][()]
    if kind == "dict":
        return {_value(k, arrays): _value(v, arrays) for k, v in content}
    items = [_value(item, arrays) for item in content]
    return items if kind == "list" else tuple(items)


def _named(module: Any, name: Any) -> Any:
    """Return the object that an imported module has under a name, or None."""
    return getattr(sys.modules.get(module), name, None) if module and name else None
