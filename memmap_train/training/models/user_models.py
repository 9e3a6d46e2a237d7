"""Models of the user: built by a function, or saved before.

Takes the name in `model`; returns a Keras model that was checked to take (rows,
features), gives (rows, targets) in float32, and can be saved and opened again.
"""

import json
import os
import re
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import keras

from ...errors import ConfigError, listed
from ...runs.configuration.config import TrainConfig
from ...runs.configuration.object_reference import describe_error, resolve_reference, user_code
from ...runs.lineage import SUFFIX
from . import members  # noqa: F401  (registers the layers that saved models may have)


def build_own(n_features: int, n_targets: int, config: TrainConfig) -> Any:
    """Call the function that `model` names: ``function(n_features, n_targets, **model_params)``.

    Raises
    ------
    ConfigError
        It can't be found, it fails, or what it returns is no model, has other shapes, or can't be
        saved and opened again.
    """
    name = config.model
    function = resolve_reference("model", name)
    called = f"{name}({', '.join([str(n_features), str(n_targets), *_written(config)])})"
    if not callable(function):
        raise ConfigError(
            f"model: {name!r} is a {type(function).__name__}, expected a function "
            "build(n_features, n_targets, **params) that returns a keras.Model"
        )
    with user_code(f"model: {called} failed{_keras_2_hint()}"):
        model = function(n_features, n_targets, **config.model_params)
    if not isinstance(model, keras.Model):
        of_keras_2 = type(model).__module__.partition(".")[0] == "tf_keras"
        raise ConfigError(
            f"model: {called} returned a {type(model).__name__}"
            + (" of Keras 2 (tf_keras)" if of_keras_2 else "")
            + ", expected a keras.Model"
            + (" of Keras 3: build it with `import keras`" if of_keras_2 else "")
        )
    model = _with_shapes(model, called, n_features)
    _check_shapes(model, called, n_features, n_targets)
    # Now rather than after the first epoch.
    with (
        _temporary_folder(called) as folder,
        user_code(
            f"model: what {called} returned can't be saved and opened again (classes of your own "
            "need get_config and keras.saving.register_keras_serializable)"
        ),
    ):
        path = Path(folder) / f"model{SUFFIX}"
        model.save(path)
        keras.models.load_model(path, compile=False)
    return model


def _keras_2_hint() -> str:
    """Return the reason why `tf.keras` may fail in a Python caller's process."""
    if os.environ.get("TF_USE_LEGACY_KERAS") not in ("true", "True", "1"):
        return ""
    return " (TF_USE_LEGACY_KERAS makes tf.keras Keras 2; models here are Keras 3: `import keras`)"


def _temporary_folder(called: str) -> "tempfile.TemporaryDirectory[str]":
    try:
        return tempfile.TemporaryDirectory()
    except OSError as error:
        raise ConfigError(
            f"model: what {called} returned can't be tried to be saved: there is no temporary "
            f"folder to write to ({error.strerror}); set TMPDIR to one"
        ) from error


def open_saved(n_features: int, n_targets: int, path: Path, code: Sequence[str]) -> Any:
    """Open a saved model, weights and all, to train it further.

    Raises
    ------
    ConfigError
        It can't be opened (see `read_model`), or its shapes are others.
    """
    model = read_model(path, code)
    model = _with_shapes(model, str(path), n_features)
    _check_shapes(model, str(path), n_features, n_targets)
    return model


def read_model(path: Path, code: Sequence[str]) -> Any:
    """Read a saved model.

    Parameters
    ----------
    path : Path
    code : sequence of str
        The functions that built it, as "package.module:name": their modules are imported, since
        they may define its layers.

    Raises
    ------
    ConfigError
        It can't be opened: no such file, a damaged one, one of a newer Keras, or with layers that
        nothing defines.
    """
    missing = []
    for name in code:
        try:
            resolve_reference("model", name)
        except ConfigError as error:  # that counts only if its layers are needed
            missing.append(f"; {error}")
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # what its layers' own code raises, too
        why = _why_unreadable(path) or f"{describe_error(error)}{''.join(missing)}"
        raise ConfigError(f"model: {path}: it can't be opened as a saved model: {why}") from error


def _why_unreadable(path: Path) -> str | None:
    """Return the fault of a model's file, or None if the fault lies elsewhere."""
    try:
        with ZipFile(path) as archive:
            version = str(json.loads(archive.read("metadata.json"))["keras_version"])
            broken = archive.testzip()
    except OSError as error:
        return error.strerror or str(error)
    except (BadZipFile, KeyError, ValueError, TypeError, EOFError, zlib.error):
        return "damaged; train the model again"
    if broken is not None:
        return f"damaged ({broken}); train the model again"
    if _numbers(version) > _numbers(keras.__version__):
        return (
            f"it was saved by Keras {version}, and this is Keras {keras.__version__}; run `pip "
            f"install --upgrade 'keras>={version}'`"
        )
    return None


def _numbers(version: str) -> list[int]:
    """Return the numbers of a version.

    >>> _numbers("3.15.1"), _numbers("3.9.0.dev2024") > _numbers("3.10.0")
    ([3, 15, 1], False)
    """
    return [int(number) for number in re.findall(r"\d+", version)[:3]]


def _written(config: TrainConfig) -> list[str]:
    return [f"{name}={value!r}" for name, value in config.model_params.items()]


def _with_shapes(model: Any, called: str, n_features: int) -> Any:
    """Return a model with known shapes: the model itself, or one that wraps it."""
    if getattr(model, "inputs", None):
        return model
    inputs = keras.Input((n_features,), name="features")
    with user_code(f"model: {called}: the model fails on (rows, {n_features})"):
        outputs = model(inputs)
    return model if isinstance(model, keras.Sequential) else keras.Model(inputs, outputs)


def _check_shapes(model: Any, called: str, n_features: int, n_targets: int) -> None:
    expected = f"(rows, {n_features}) to (rows, {n_targets})"
    found = f"{_shape(model.input_shape)} to {_shape(model.output_shape)}"
    if found != expected:
        raise ConfigError(
            f"model: {called}: expected a model from {expected}, which is what features and "
            f"targets ask for, found one from {found}"
        )
    for name in ("input", "output"):
        structure = getattr(model, name, None)  # a Sequential that was never called has none
        if isinstance(structure, Mapping):
            raise ConfigError(
                f"model: {called}: expected one plain {name}, found {type(structure).__name__} of "
                f"{listed(structure)}; make the model of its tensor alone"
            )
    kind = keras.backend.standardize_dtype(model.inputs[0].dtype)
    if not kind.endswith(("float16", "float32", "float64")):
        raise ConfigError(
            f"model: {called}: expected inputs of float32, found {kind}, in which features between "
            "0 and 1 are all 0"
        )
    if not model.trainable_variables:
        raise ConfigError(f"model: {called}: none of its weights can be trained; expected some")
    half = [
        weight.path
        for weight in model.trainable_variables
        if keras.backend.standardize_dtype(weight.dtype) == "float16"
    ]
    if half:
        raise ConfigError(
            f"model: {called}: weights of float16 are too coarse to be trained: "
            f'{listed(half, 2)}; expected float32, which layers of dtype="mixed_float16" keep '
            "while they compute in float16"
        )
    dtype = model.outputs[0].dtype
    if dtype != "float32":
        raise ConfigError(
            f"model: {called}: expected outputs of float32, found {dtype}; end with "
            'a layer of dtype="float32"'
        )


def _shape(shape: Any) -> str:
    """Return a shape as text; a model with several inputs has several shapes.

    >>> _shape((None, 42))
    '(rows, 42)'
    """
    return str(shape).replace("None", "rows")
