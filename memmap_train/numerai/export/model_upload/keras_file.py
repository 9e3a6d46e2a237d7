"""A model that only Keras can run: opened from the bytes of its file, in the runner's process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

_NO_DEFAULT = object()


def opened_model(
    content: bytes, classes: dict[str, Any], defaults: dict[str, dict[str, Any]]
) -> Any:
    """Return a saved model.

    Parameters
    ----------
    content : bytes
        A .keras file.
    classes : dict of str to class
        Layers that aren't Keras's own, by their registered names.
    defaults : dict of str to dict
        Of each class the default values of its arguments in the Keras that saved the model.
    """
    import io
    import json
    import tempfile
    import zipfile
    from pathlib import Path

    import keras

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(path, "w") as target:
            for name in source.namelist():
                part = source.read(name)
                if name == "config.json":
                    part = json.dumps(understood(json.loads(part), classes, defaults)).encode()
                target.writestr(name, part)
        return keras.models.load_model(path, custom_objects=classes, compile=False)


def understood(value: Any, classes: dict[str, Any], defaults: dict[str, dict[str, Any]]) -> Any:
    """Return a configuration without arguments that are unknown here and have their defaults."""
    if isinstance(value, list):
        return [understood(part, classes, defaults) for part in value]
    if not isinstance(value, dict):
        return value
    found = {name: understood(part, classes, defaults) for name, part in value.items()}
    of_class = defaults.get(f"{found.get('module')}.{found.get('class_name')}")
    known = _arguments_of(found, classes) if of_class else None
    if of_class and known and isinstance(found.get("config"), dict):
        found["config"] = {
            name: part
            for name, part in found["config"].items()
            if name in known or part != of_class.get(name, _NO_DEFAULT)
        }
    return found


def outputs_of(model: Any, block: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return a model's outputs for a block of rows."""
    return np.asarray(model(block, training=False), np.float32)


def _arguments_of(described: dict[str, Any], classes: dict[str, Any]) -> set[str] | None:
    """Return the names of all arguments of an object's class; None if it can't be found."""
    import importlib
    import inspect

    kind = classes.get(described.get("registered_name") or "")
    if kind is None:
        try:
            kind = getattr(importlib.import_module(described["module"]), described["class_name"])
        except (ImportError, AttributeError):
            return None
    return {
        name
        for base in getattr(kind, "__mro__", ())[:-1]
        for name in inspect.signature(base.__init__).parameters
    }
