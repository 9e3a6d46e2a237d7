"""A Keras model as a list of numpy operations, as `numerai.export.model_upload` runs them.

Takes a model of layers that are known here, a graph or a sequence, nested or not; returns its
operations with the weights in them, or the layers that aren't known. Layers are recognised by their
exact class: a class that is derived from one may compute something else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import keras
import numpy as np

from .members import MeanOfMembers, MemberDense, MemberOutputs

Operation = tuple[str, tuple[int, ...], int, dict[str, Any]]
"""Name, slots that are read, slot that is written, parameters; arrays as numpy arrays."""
_Step = tuple[str, dict[str, Any]]
_layers = keras.layers
_FLOAT32 = "float32"
_COMPUTED = (_FLOAT32, "bfloat16", "float16")
"""What a layer with weights of float32 may compute in; its operation computes in float32."""


@dataclass(frozen=True, slots=True)
class NumpyOperations:
    """A model as numpy operations.

    Attributes
    ----------
    operations : tuple of Operation
        In the order in which they run. Slot 0 holds the features.
    output : int
        The slot with the outputs.
    unknown : tuple of str
        Layers that have no operation, such as "Conv1D 'conv'"; then nothing else counts.
    mixed_precision : tuple of str
        What layers with weights of float32 compute in, if it isn't float32, such as "bfloat16".
        The operations compute in float32.
    """

    operations: tuple[Operation, ...]
    output: int
    unknown: tuple[str, ...] = ()
    mixed_precision: tuple[str, ...] = ()


def numpy_operations(model: Any) -> NumpyOperations:
    """Return the operations of a model from (rows, features) to (rows, targets)."""
    tracer = _Tracer()
    if not tracer.is_graph(model):
        return NumpyOperations((), 0, (f"{type(model).__name__} {model.name!r}",))
    (output,) = tracer.trace(model, [0])
    unknown = tuple(dict.fromkeys(tracer.unknown))
    mixed = () if unknown else tuple(sorted(tracer.mixed))
    return NumpyOperations(tuple(tracer.operations), output, unknown, mixed)


class _Tracer:
    """Follows a graph from its outputs to its inputs, and notes the operations."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.unknown: list[str] = []
        self.mixed: set[str] = set()
        self._n_slots = 1
        inputs = keras.Input((1,))
        self._graphs = (keras.Sequential, type(keras.Model(inputs, inputs)))

    def is_graph(self, model: Any) -> bool:
        """Return True if a model is nothing but the graph of its layers."""
        return type(model) in self._graphs and bool(getattr(model, "inputs", None))

    def trace(self, model: Any, inputs: Sequence[int]) -> list[int]:
        """Note the operations of a model; return the slots of its outputs."""
        slots = {id(tensor): slot for tensor, slot in zip(model.inputs, inputs, strict=True)}
        waiting = list(model.outputs)
        while waiting:
            tensor = waiting[-1]
            if id(tensor) in slots:
                waiting.pop()
                continue
            history = tensor._keras_history
            node = history.operation._inbound_nodes[history.node_index]
            before = [other for other in node.input_tensors if id(other) not in slots]
            if before:
                waiting.extend(before)
                continue
            reads = [slots[id(other)] for other in node.input_tensors]
            for other, slot in zip(node.outputs, self._apply(node, reads), strict=True):
                slots[id(other)] = slot
        return [slots[id(tensor)] for tensor in model.outputs]

    def _apply(self, node: Any, reads: list[int]) -> list[int]:
        """Note the operations of one call of a layer; return the slots of its outputs."""
        layer = node.operation
        is_plain = all(value in (None, False) for value in node.arguments.kwargs.values())
        if is_plain and self.is_graph(layer):
            return self.trace(layer, reads)
        if type(layer) not in _OF_MEMBERS:
            is_plain &= all(len(t.shape) == 2 for t in (*node.input_tensors, *node.outputs))
        steps = _steps_of(layer) if is_plain and len(node.outputs) == 1 else None
        if steps is None:
            self.unknown.append(f"{type(layer).__name__} {layer.name!r}")
            return [self._new_slot() for _ in node.outputs]
        if layer.compute_dtype != _FLOAT32:
            self.mixed.add(layer.compute_dtype)
        if not steps:
            return reads[:1]
        for name, parameters in steps:
            writes = self._new_slot()
            self.operations.append((name, tuple(reads), writes, parameters))
            reads = [writes]
        return reads

    def _new_slot(self) -> int:
        self._n_slots += 1
        return self._n_slots - 1


def _steps_of(layer: Any) -> list[_Step] | None:
    """Return the operations of a layer, one after another; None if it isn't known."""
    steps_of = _STEPS.get(type(layer))
    if steps_of is None or layer.variable_dtype != _FLOAT32 or layer.compute_dtype not in _COMPUTED:
        return None
    return steps_of(layer)


def _dense(layer: Any) -> list[_Step] | None:
    activation = _activation(layer.activation)
    if activation is None or layer.quantization_mode is not None:
        return None
    bias = {"bias": _array(layer.bias)} if layer.use_bias else {}
    return [("dense", {"kernel": _array(layer.kernel), **bias}), *activation]


def _activation(function: Any) -> list[_Step] | None:
    """Return the operations of an activation, a function of Keras's or a layer."""
    if isinstance(function, keras.Layer):
        return _steps_of(function)
    names = [name for name in _ACTIVATIONS if getattr(keras.activations, name) is function]
    if not names:
        return None
    return [] if names[0] == "linear" else [("activation", {"function": names[0]})]


def _relu(layer: Any) -> list[_Step]:
    options: dict[str, Any] = {
        "slope": float(layer.negative_slope),
        "threshold": float(layer.threshold),
        "max_value": None if layer.max_value is None else float(layer.max_value),
    }
    return [("activation", {"function": "relu", **options})]


def _softmax(layer: Any) -> list[_Step] | None:
    return [("activation", {"function": "softmax"})] if layer.axis in (-1, 1) else None


def _rescaling(layer: Any) -> list[_Step] | None:
    scale, offset = np.float32(layer.scale), np.float32(layer.offset)
    if np.ndim(scale) > 1 or np.ndim(offset) > 1:
        return None
    return [("affine", {"scale": np.asarray(scale), "offset": np.asarray(offset)})]


def _batch_normalization(layer: Any) -> list[_Step] | None:
    if not _is_last(layer.axis):
        return None
    scale = 1 / np.sqrt(_array(layer.moving_variance).astype(np.float64) + layer.epsilon)
    if layer.scale:
        scale = scale * _array(layer.gamma)
    offset = -_array(layer.moving_mean) * scale
    if layer.center:
        offset = offset + _array(layer.beta)
    return [("affine", {"scale": scale.astype(np.float32), "offset": offset.astype(np.float32)})]


def _layer_normalization(layer: Any) -> list[_Step] | None:
    if not _is_last(layer.axis) or getattr(layer, "rms_scaling", False):
        return None
    return [("group_normalize", {"epsilon": float(layer.epsilon), **_scale_and_offset(layer)})]


def _group_normalization(layer: Any) -> list[_Step] | None:
    if not _is_last(layer.axis):
        return None
    options = {"epsilon": float(layer.epsilon), "n_groups": int(layer.groups)}
    return [("group_normalize", {**options, **_scale_and_offset(layer)})]


def _rms_normalization(layer: Any) -> list[_Step] | None:
    if not _is_last(layer.axis):
        return None
    scale = {"scale": _array(layer.scale)}
    return [("rms_normalize", {"epsilon": float(layer.epsilon), **scale})]


def _unit_normalization(layer: Any) -> list[_Step] | None:
    return [("unit_normalize", {"least": 1e-12})] if _is_last(layer.axis) else None


def _normalization(layer: Any) -> list[_Step] | None:
    mean = np.ravel(np.asarray(layer.mean, np.float32))
    variance = np.ravel(np.asarray(layer.variance, np.float32))
    deviation = np.maximum(np.sqrt(variance), np.float32(keras.config.epsilon()))
    if layer.invert:
        return [("affine", {"scale": deviation, "offset": mean})]
    return [("standardize", {"mean": mean, "deviation": deviation})]


def _member_dense(layer: Any) -> list[_Step]:
    weights = {
        "kernel": layer.kernel,
        "bias": layer.bias,
        "input_adapter": layer.input_adapter,
        "output_adapter": layer.output_adapter,
    }
    arrays = {name: _array(weight) for name, weight in weights.items() if weight is not None}
    return [("member_dense", arrays)]


def _member_outputs(layer: Any) -> list[_Step]:
    arrays = {"kernel": _array(layer.kernel), "bias": _array(layer.bias)}
    return [("member_outputs", arrays)]


def _concatenate(layer: Any) -> list[_Step] | None:
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

_OF_MEMBERS = (
    MemberDense,
    MemberOutputs,
    MeanOfMembers,
    _layers.Activation,
    _layers.Dropout,
)
"""Layers that compute the same of tensors of any shape, or that are made for those of members."""

_STEPS: Mapping[type, Callable[[Any], list[_Step] | None]] = MappingProxyType(
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
