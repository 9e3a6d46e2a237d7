"""The numpy operations of each layer of Keras that can be computed without Keras.

Takes a layer; returns its operations, one after another, with its weights in them. Layers are
recognised by their exact class: a class that is derived from one may compute something else.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import keras
import numpy as np

from .members import MeanOfMembers, MemberDense, MemberOutputs
from .pairs import PairTerms

Step = tuple[str, dict[str, Any]]
"""The name of an operation and its parameters; arrays as numpy arrays."""

FLOAT32 = "float32"
_COMPUTED = (FLOAT32, "bfloat16", "float16")
"""What a layer with weights of float32 may compute in; its operation computes in float32."""

_layers = keras.layers


def steps_of(layer: Any) -> list[Step] | None:
    """Return the operations of a layer, one after another; None if it isn't known."""
    own_steps = _STEPS.get(type(layer))
    if own_steps is None or layer.variable_dtype != FLOAT32 or layer.compute_dtype not in _COMPUTED:
        return None
    return own_steps(layer)


def _dense(layer: Any) -> list[Step] | None:
    activation = _activation(layer.activation)
    if activation is None or layer.quantization_mode is not None:
        return None
    bias = {"bias": _array(layer.bias)} if layer.use_bias else {}
    return [("dense", {"kernel": _array(layer.kernel), **bias}), *activation]


def _activation(function: Any) -> list[Step] | None:
    """Return the operations of an activation, a function of Keras's or a layer."""
    if isinstance(function, keras.Layer):
        return steps_of(function)
    names = [name for name in _ACTIVATIONS if getattr(keras.activations, name) is function]
    if not names:
        return None
    return [] if names[0] == "linear" else [("activation", {"function": names[0]})]


def _relu(layer: Any) -> list[Step]:
    options: dict[str, Any] = {
        "slope": float(layer.negative_slope),
        "threshold": float(layer.threshold),
        "max_value": None if layer.max_value is None else float(layer.max_value),
    }
    return [("activation", {"function": "relu", **options})]


def _softmax(layer: Any) -> list[Step] | None:
    return [("activation", {"function": "softmax"})] if layer.axis in (-1, 1) else None


def _rescaling(layer: Any) -> list[Step] | None:
    scale, offset = np.float32(layer.scale), np.float32(layer.offset)
    if np.ndim(scale) > 1 or np.ndim(offset) > 1:
        return None
    return [("affine", {"scale": np.asarray(scale), "offset": np.asarray(offset)})]


def _batch_normalization(layer: Any) -> list[Step] | None:
    if not _is_last(layer.axis):
        return None
    scale = 1 / np.sqrt(_array(layer.moving_variance).astype(np.float64) + layer.epsilon)
    if layer.scale:
        scale = scale * _array(layer.gamma)
    offset = -_array(layer.moving_mean) * scale
    if layer.center:
        offset = offset + _array(layer.beta)
    return [("affine", {"scale": scale.astype(np.float32), "offset": offset.astype(np.float32)})]


def _layer_normalization(layer: Any) -> list[Step] | None:
    if not _is_last(layer.axis) or getattr(layer, "rms_scaling", False):
        return None
    return [("group_normalize", {"epsilon": float(layer.epsilon), **_scale_and_offset(layer)})]


def _group_normalization(layer: Any) -> list[Step] | None:
    if not _is_last(layer.axis):
        return None
    options = {"epsilon": float(layer.epsilon), "n_groups": int(layer.groups)}
    return [("group_normalize", {**options, **_scale_and_offset(layer)})]


def _rms_normalization(layer: Any) -> list[Step] | None:
    if not _is_last(layer.axis):
        return None
    scale = {"scale": _array(layer.scale)}
    return [("rms_normalize", {"epsilon": float(layer.epsilon), **scale})]


def _unit_normalization(layer: Any) -> list[Step] | None:
    return [("unit_normalize", {"least": 1e-12})] if _is_last(layer.axis) else None


def _normalization(layer: Any) -> list[Step] | None:
    mean = np.ravel(np.asarray(layer.mean, np.float32))
    variance = np.ravel(np.asarray(layer.variance, np.float32))
    deviation = np.maximum(np.sqrt(variance), np.float32(keras.config.epsilon()))
    if layer.invert:
        return [("affine", {"scale": deviation, "offset": mean})]
    return [("standardize", {"mean": mean, "deviation": deviation})]


def _member_dense(layer: Any) -> list[Step]:
    weights = {
        "kernel": layer.kernel,
        "bias": layer.bias,
        "input_adapter": layer.input_adapter,
        "output_adapter": layer.output_adapter,
    }
    arrays = {name: _array(weight) for name, weight in weights.items() if weight is not None}
    return [("member_dense", arrays)]


def _member_outputs(layer: Any) -> list[Step]:
    arrays = {"kernel": _array(layer.kernel), "bias": _array(layer.bias)}
    return [("member_outputs", arrays)]


def _concatenate(layer: Any) -> list[Step] | None:
    return [("concatenate", {})] if layer.axis in (-1, 1) else None


def _scale_and_offset(layer: Any) -> dict[str, Any]:
    found = {}
    if layer.scale:
        found["scale"] = _array(layer.gamma)
    if layer.center:
        found["offset"] = _array(layer.beta)
    return found


def _is_last(axis: Any) -> bool:
    return axis in (-1, 1) or list(np.atleast_1d(axis)) in ([-1], [1])


def _array(weight: Any) -> Any:
    return np.asarray(keras.ops.convert_to_numpy(weight), np.float32)


_ACTIVATIONS = (
    "linear",
    "celu",
    "elu",
    "exponential",
    "gelu",
    "hard_sigmoid",
    "hard_silu",
    "leaky_relu",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "tanh",
)

_NOTHING = (
    _layers.ActivityRegularization,
    _layers.AlphaDropout,
    _layers.Dropout,
    _layers.GaussianDropout,
    _layers.GaussianNoise,
    _layers.Identity,
)

OF_MEMBERS = (
    MemberDense,
    MemberOutputs,
    MeanOfMembers,
    _layers.Activation,
    _layers.Dropout,
)
"""Layers that compute the same of tensors of any shape, or that are made for those of members."""

_STEPS: Mapping[type, Callable[[Any], list[Step] | None]] = MappingProxyType(
    {
        _layers.Activation: lambda layer: _activation(layer.activation),
        _layers.Add: lambda layer: [("add", {})],
        _layers.Average: lambda layer: [("average", {})],
        _layers.BatchNormalization: _batch_normalization,
        _layers.Concatenate: _concatenate,
        _layers.Dense: _dense,
        _layers.ELU: lambda layer: [
            ("activation", {"function": "elu", "alpha": float(layer.alpha)})
        ],
        _layers.GroupNormalization: _group_normalization,
        _layers.LayerNormalization: _layer_normalization,
        _layers.LeakyReLU: lambda layer: [
            ("activation", {"function": "relu", "slope": float(layer.negative_slope)})
        ],
        _layers.Maximum: lambda layer: [("maximum", {})],
        MeanOfMembers: lambda layer: [("mean_of_members", {})],
        MemberDense: _member_dense,
        MemberOutputs: _member_outputs,
        PairTerms: lambda layer: [("pair_terms", {"weights": _array(layer.pair_weights())})],
        _layers.Minimum: lambda layer: [("minimum", {})],
        _layers.Multiply: lambda layer: [("multiply", {})],
        _layers.Normalization: _normalization,
        _layers.PReLU: lambda layer: [("leaky", {"slope": _array(layer.alpha)})],
        _layers.ReLU: _relu,
        _layers.RMSNormalization: _rms_normalization,
        _layers.Rescaling: _rescaling,
        _layers.Softmax: _softmax,
        _layers.Subtract: lambda layer: [("subtract", {})],
        _layers.UnitNormalization: _unit_normalization,
        **dict.fromkeys(_NOTHING, lambda layer: []),
    }
)
