"""The built-in models: features of 0 to 1 in, one output per target.

Made of Keras's own layers only, so that ``keras.models.load_model`` opens a saved one where this
package isn't installed.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import keras

from ..errors import ConfigError, listed, nearest
from ..runs.config import TrainConfig
from ..runs.lineage import SUFFIX
from ..runs.object_reference import is_reference
from ..runs.ridge_keys import RIDGE
from ..runs.target_transforms import TargetTransform
from ..system.resources import available_memory
from ..text import in_bytes
from .startup import wrong_backend
from .user_models import build_own

# Codes 0..4 in equal bins, as 0 … 1, have this mean and this standard deviation.
_FEATURE_MEAN = 0.5
_FEATURE_STD = 0.125**0.5
# Of a weight: float32, two numbers of the optimizer's, a copy of all three while a checkpoint is
# saved, and the best epoch's.
_TRAINED_BYTES = 28


def build(n_features: int, n_targets: int, config: TrainConfig) -> Any:
    """Make a built-in model, or one that the user's function builds.

    Parameters
    ----------
    n_features, n_targets : int
    config : TrainConfig
        The keys `model`, `model_params`, `hidden`, `activation`, `normalization`, `dropout` and
        `target_transform` are used.

    Returns
    -------
    keras.Model
        float32 (rows, features) to float32 (rows, targets); not compiled. Its first weights come
        from Keras's global seed (``keras.utils.set_random_seed``).

    Raises
    ------
    ConfigError
        There is no model of that name, or the user's own isn't one.
    """
    check_model_name(config.model)
    if is_reference(config.model):
        return build_own(n_features, n_targets, config)
    _check_size(n_features, n_targets, config)
    inputs = keras.Input((n_features,), name="features")
    x = keras.layers.Rescaling(
        1 / _FEATURE_STD, offset=-_FEATURE_MEAN / _FEATURE_STD, name="standardised"
    )(inputs)
    x = _BODIES[config.model](x, config)
    outputs = keras.layers.Dense(
        n_targets,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        bias_initializer=keras.initializers.Constant(
            TargetTransform.parse(config.target_transform).mean
        ),
        name="targets",
    )(x)
    model = keras.Model(inputs, outputs, name=config.model)
    if {weight.dtype for weight in model.weights} | {outputs.dtype} != {"float32"}:
        raise ConfigError(
            f"model: {config.model!r} computes in float32, but Keras's policy is "
            f"{keras.config.dtype_policy().name!r}; call "
            'keras.config.set_dtype_policy("float32"), or bring a model of your own'
        )
    return model


def _check_size(n_features: int, n_targets: int, config: TrainConfig) -> None:
    """Raise a ConfigError of one line if a built-in model doesn't fit into memory."""
    hidden = () if config.model in ("linear", RIDGE) else config.hidden
    n_weights = sum(a * b for a, b in pairwise((n_features, *hidden, n_targets)))
    if config.model == "resnet":
        n_weights += sum(units * units for units in hidden)
    needed, free = n_weights * _TRAINED_BYTES, available_memory()
    if needed > free:
        raise ConfigError(
            f"hidden: {listed(map(str, hidden))} make {n_weights:,} weights, which take "
            f"{in_bytes(needed)} to train; expected at most the {in_bytes(free)} that are free: "
            "choose smaller layers"
        )


def check_model_name(name: str) -> None:
    """Raise a ConfigError if there is no model of that name."""
    if name not in _BODIES and not is_reference(name) and not name.endswith(SUFFIX):
        raise ConfigError(
            f'model: expected {listed(_BODIES)}, "package.module:function" or a file ending in '
            f"{SUFFIX}, found {name!r}{nearest(name, _BODIES)}"
        )


def brings_model(config: TrainConfig) -> bool:
    """Return True if the model is the user's: built by a function or saved before."""
    return config.model not in _BODIES


def require_tensorflow() -> None:
    """Raise a ConfigError if Keras computes with something else, or in another type of number."""
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise wrong_backend(backend)
    if keras.config.floatx() != "float32":
        raise ConfigError(
            f"Keras's floatx is {keras.config.floatx()!r}, expected 'float32'; call "
            'keras.config.set_floatx("float32")'
        )


def _mlp(x: Any, config: TrainConfig) -> Any:
    layers, kind = keras.layers, _NORMALIZATIONS[config.normalization]
    for number, units in enumerate(config.hidden, start=1):
        if kind is None:
            x = layers.Dense(units, activation=config.activation, name=f"hidden_{number}")(x)
        else:
            x = layers.Dense(units, name=f"hidden_{number}")(x)
            x = kind(name=f"normalised_{number}")(x)
            x = layers.Activation(config.activation, name=f"activation_{number}")(x)
        if config.dropout:
            x = layers.Dropout(config.dropout, name=f"dropout_{number}")(x)
    return x


def _resnet(x: Any, config: TrainConfig) -> Any:
    layers = keras.layers
    if config.hidden:
        x = layers.Dense(config.hidden[0], name="stem")(x)
    for number, units in enumerate(config.hidden, start=1):
        y = layers.BatchNormalization(name=f"normalised_{number}")(x)
        y = layers.Dense(units, activation=config.activation, name=f"hidden_{number}")(y)
        if config.dropout:
            y = layers.Dropout(config.dropout, name=f"dropout_{number}")(y)
        y = layers.Dense(units, name=f"residual_{number}")(y)
        if x.shape[-1] != units:
            x = layers.Dense(units, use_bias=False, name=f"shortcut_{number}")(x)
        x = layers.Add(name=f"block_{number}")([x, y])
    return x


def _linear(x: Any, config: TrainConfig) -> Any:
    del config  # nothing of it concerns a linear model
    return x


_NORMALIZATIONS: Mapping[str, Any] = MappingProxyType(
    {
        "none": None,
        "batch": keras.layers.BatchNormalization,
        "layer": keras.layers.LayerNormalization,
    }
)
_BODIES: Mapping[str, Callable[[Any, TrainConfig], Any]] = MappingProxyType(
    {"mlp": _mlp, "linear": _linear, "resnet": _resnet, RIDGE: _linear}
)
