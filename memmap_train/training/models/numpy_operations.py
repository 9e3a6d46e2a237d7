"""A Keras model as a list of numpy operations, as `numerai.export.model_upload` runs them.

Takes a model of layers that `numpy_layers` knows, a graph or a sequence, nested or not; returns its
operations with the weights in them, or the layers that aren't known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from .numpy_layers import FLOAT32, OF_MEMBERS, steps_of

Operation = tuple[str, tuple[int, ...], int, dict[str, Any]]
"""Name, slots that are read, slot that is written, parameters; arrays as numpy arrays."""


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
        if type(layer) not in OF_MEMBERS:
            is_plain &= all(len(t.shape) == 2 for t in (*node.input_tensors, *node.outputs))
        steps = steps_of(layer) if is_plain and len(node.outputs) == 1 else None
        if steps is None:
            self.unknown.append(f"{type(layer).__name__} {layer.name!r}")
            return [self._new_slot() for _ in node.outputs]
        if layer.compute_dtype != FLOAT32:
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
