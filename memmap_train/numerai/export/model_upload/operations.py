"""A model as a list of numpy operations, run over blocks of rows.

Takes operations, made from a Keras model, and float32 features of shape (rows, features); returns
float32 outputs of shape (rows, targets). Slot 0 holds the features; each operation reads slots and
writes one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .activations import activated
from .arrays import unpacked

if TYPE_CHECKING:
    import numpy.typing as npt

    Float32 = npt.NDArray[np.float32]
    Operation = tuple[str, tuple[int, ...], int, dict[str, Any]]
    """Name in `OPERATIONS`, slots that are read, the slot that is written, parameters."""


def run_operations(operations: list[Operation], output: int, features: Float32) -> Float32:
    """Return the content of the slot `output` after all operations."""
    last_use = {slot: step for step, (_, reads, _, _) in enumerate(operations) for slot in reads}
    last_use[output] = len(operations)
    slots = {0: features}
    for step, (name, reads, writes, parameters) in enumerate(operations):
        values = {
            key: unpacked(value) if isinstance(value, tuple) else value
            for key, value in parameters.items()
        }
        slots[writes] = OPERATIONS[name](*(slots[slot] for slot in reads), **values)
        for slot in set(reads):
            if last_use[slot] == step:
                del slots[slot]
    return slots[output]


def dense(x: Float32, kernel: Float32, bias: Float32 | None = None) -> Float32:
    """Return x times a matrix, plus a vector."""
    product = x @ kernel
    if bias is not None:
        product += bias
    return product


def affine(x: Float32, scale: Float32, offset: Float32) -> Any:
    """Return x * scale + offset."""
    product = x * scale
    product += offset
    return product


def standardized(x: Float32, mean: Float32, deviation: Float32) -> Float32:
    """Return (x - mean) / deviation."""
    rest = x - mean
    rest /= deviation
    return rest


def group_normalized(
    x: Float32,
    epsilon: float,
    n_groups: int = 1,
    scale: Float32 | None = None,
    offset: Float32 | None = None,
) -> Any:
    """Return each row, or each of its groups of units, with mean 0 and variance 1; then affine."""
    parts = x.reshape(len(x), n_groups, -1)
    rest = parts - parts.mean(axis=2, keepdims=True)
    variance = np.mean(rest * rest, axis=2, keepdims=True)
    rest /= np.sqrt(variance + np.float32(epsilon))
    found = rest.reshape(x.shape)
    if scale is not None:
        found *= scale
    if offset is not None:
        found += offset
    return found


def rms_normalized(x: Float32, epsilon: float, scale: Float32 | None = None) -> Any:
    """Return each row divided by the root of its mean square, times a vector."""
    mean_square = np.mean(x * x, axis=1, keepdims=True)
    found = x / np.sqrt(mean_square + np.float32(epsilon))
    return found if scale is None else found * scale


def unit_normalized(x: Float32, least: float) -> Any:
    """Return each row with length 1; the square of the length counts as `least` at least."""
    square = np.sum(x * x, axis=1, keepdims=True)
    return x / np.sqrt(np.maximum(square, np.float32(least)))


def leaky(x: Float32, slope: Float32) -> Any:
    """Return x above 0, and a slope of each unit times x below."""
    return np.where(x > 0, x, slope * x)


def member_dense(
    x: Float32,
    kernel: Float32,
    bias: Float32,
    output_adapter: Float32,
    input_adapter: Float32 | None = None,
) -> Float32:
    """Return (x * r_m) W * s_m + b_m of each member m, shape (members, rows, units).

    Without r_m, x is the same for all members.
    """
    if input_adapter is None:
        found: Float32 = (x @ kernel) * output_adapter[:, None]
    else:
        found = np.matmul(x, kernel * input_adapter[:, :, None] * output_adapter[:, None])
    found += bias[:, None]
    return found


def member_outputs(x: Float32, kernel: Float32, bias: Float32) -> Any:
    """Return x W_m + b_m of each member m of (members, rows, inputs), with rows first."""
    return np.swapaxes(x @ kernel + bias[:, None], 0, 1)


def pair_terms(x: Float32, weights: Float32) -> Float32:
    """Return the sums of w_ij x_i x_j, for weights of shape (targets, features, features)."""
    return np.stack([np.sum((x @ of_target) * x, axis=1) for of_target in weights], axis=1)


def mean_of(*inputs: Float32) -> Any:
    """Return the mean of arrays."""
    return sum(inputs[1:], inputs[0]) / np.float32(len(inputs))


def product_of(*inputs: Float32) -> Any:
    """Return the product of arrays."""
    found = inputs[0]
    for other in inputs[1:]:
        found = found * other
    return found


def largest_of(*inputs: Float32) -> Float32:
    """Return the largest of arrays, place by place."""
    found = inputs[0]
    for other in inputs[1:]:
        found = np.maximum(found, other)
    return found


def smallest_of(*inputs: Float32) -> Float32:
    """Return the smallest of arrays, place by place."""
    found = inputs[0]
    for other in inputs[1:]:
        found = np.minimum(found, other)
    return found


OPERATIONS: dict[str, Any] = {
    "activation": lambda x, function, **options: activated(function, x, **options),
    "add": lambda *inputs: sum(inputs[1:], inputs[0]),
    "affine": affine,
    "average": mean_of,
    "concatenate": lambda *inputs: np.concatenate(inputs, axis=1),
    "dense": dense,
    "group_normalize": group_normalized,
    "leaky": leaky,
    "maximum": largest_of,
    "mean_of_members": lambda x: x.mean(axis=1),
    "member_dense": member_dense,
    "member_outputs": member_outputs,
    "minimum": smallest_of,
    "multiply": product_of,
    "pair_terms": pair_terms,
    "rms_normalize": rms_normalized,
    "standardize": standardized,
    "subtract": lambda a, b: a - b,
    "unit_normalize": unit_normalized,
}
"""The operations by name. Parameters that are tuples are packed arrays."""
