"""What an object remembers: its plain attributes, as JSON and arrays.  Imports numpy only.

Plain are numbers, text, None, paths, numpy's arrays and scalars, functions and classes that a
module has by their names, and lists, tuples and dicts of such. Attributes of any other kind are
passed over: a model, an open file, a lambda. Nothing is imported to recall one: what made it was
imported before. Python's and numpy's own random generators, which belong to no object, are
remembered as well.
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

_AS_THEY_ARE = (type(None), bool, int, float, str)


@dataclass(frozen=True, slots=True)
class Packed:
    """A plain value.

    Attributes
    ----------
    tree : any
        JSON-ready; a number under "array" or "scalar" is a position in `arrays`.
    arrays : list of ndarray
        Copies.
    """

    tree: Any
    arrays: list[npt.NDArray[Any]]


def remembered(thing: object, *, but: Collection[str] = ()) -> dict[str, Packed]:
    """Return the plain attributes of an object by their names.

    Parameters
    ----------
    thing : object
    but : collection of str
        Attributes to leave out.
    """
    found = {}
    for name, value in vars(thing).items():
        if name not in but:
            arrays: list[npt.NDArray[Any]] = []
            try:
                found[name] = Packed(_tree(value, arrays), arrays)
            except (TypeError, RecursionError):  # isn't plain, or holds itself
                continue
    return found


def passed_over(thing: object, *, but: Collection[str] = ()) -> list[str]:
    """Return the attributes of an object that may change and aren't plain.

    What the object's maker makes again (functions, modules) and what belongs to the process
    (whatever is to be closed, as files and writers of logs are) isn't among them.
    """
    plain = remembered(thing, but=but)
    return [
        name
        for name, value in vars(thing).items()
        if not (name in plain or name in but or _is_of_process(value))
    ]


def remembered_random() -> dict[str, Packed]:
    """Return the states of Python's and numpy's global random generators."""
    version, numbers, gauss = random.getstate()
    state = SimpleNamespace(
        python=(version, np.array(numbers, np.uint32), gauss),
        numpy=np.random.get_state(),  # noqa: NPY002
    )
    return remembered(state)


def recall_random(packed: Mapping[str, Packed]) -> None:
    """Take both generators back to what `remembered_random` returned."""
    state = SimpleNamespace()
    recall(state, packed)
    version, numbers, gauss = state.python
    random.setstate((version, tuple(map(int, numbers)), gauss))
    np.random.set_state(state.numpy)  # noqa: NPY002


def recall(thing: object, packed: Mapping[str, Packed]) -> None:
    """Set attributes of an object to what was remembered."""
    for name, value in packed.items():
        try:
            setattr(thing, name, _value(value.tree, value.arrays))
        except LookupError:  # of a function that isn't there any more
            continue


def _is_of_process(value: Any) -> bool:
    """Tell whether a value that isn't plain is made again in each process."""
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
    kind = type(value)  # not `isinstance`: what is derived from them may be anything
    if kind in _AS_THEY_ARE:
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
    """Return what an imported module has by a name, None if it has none."""
    return getattr(sys.modules.get(module), name, None) if module and name else None
