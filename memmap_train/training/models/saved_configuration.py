"""The configuration inside a .keras file: what another version of Keras needs to know about it.

Takes the bytes of a .keras file; returns plain values.
"""

import importlib
import inspect
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import keras

_PLAIN = (bool, int, float, str, type(None))


def argument_defaults(content: bytes) -> dict[str, dict[str, Any]]:
    """Return the default values of the arguments of all classes that a model consists of.

    An older Keras doesn't know some of these arguments, and refuses them even where they have
    their defaults, and so change nothing.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    dict of str to dict
        By the class's name with its module, as the file has it, such as "keras.layers.Dense"; only
        numbers, texts and None.
    """
    found = {}
    for value in _objects(_configuration(content)):
        kind = _class_of(value)
        if kind is not None:
            found[f"{value['module']}.{value['class_name']}"] = _defaults_of(kind)
    return found


def has_own_code(content: bytes) -> bool:
    """Return True if a model needs classes or functions that aren't Keras's."""
    return any(
        str(value["module"]).partition(".")[0] != "keras"
        for value in _objects(_configuration(content))
    )


def _configuration(content: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return json.loads(archive.read("config.json"))


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the descriptions of all objects within a configuration."""
    if isinstance(value, dict):
        if "class_name" in value and "module" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _objects(part)


def _class_of(value: dict[str, Any]) -> type | None:
    """Return the class of a described object, None if it can't be found by its name."""
    kind = keras.saving.get_registered_object(value.get("registered_name") or "")
    if kind is None and value["module"] is not None:
        try:
            kind = getattr(importlib.import_module(value["module"]), value["class_name"], None)
        except ImportError:
            return None
    return kind if isinstance(kind, type) else None


def _defaults_of(kind: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    makers = [vars(base)["__init__"] for base in kind.__mro__[:-1] if "__init__" in vars(base)]
    for maker in reversed(makers):
        for name, parameter in inspect.signature(maker).parameters.items():
            if type(parameter.default) in _PLAIN:
                found[name] = parameter.default
    return found
