"""Keras's activations in numpy, float32 to float32.

Each takes an array of shape (rows, units), which it may not write to, and returns an array.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Float32 = npt.NDArray[np.float32]

# A rational approximation of erf on [-4, 4] to float32's precision, odd powers over even ones.
# Source: Eigen's generic_fast_erf_float (Eigen/src/Core/MathFunctionsImpl.h), as XLA has it too.
_ERF_ABOVE = (
    -2.72614225801306e-10,
    2.77068142495902e-08,
    -2.10102402082508e-06,
    -5.69250639462346e-05,
    -7.34990630326855e-04,
    -2.95459980854025e-03,
    -1.60960333262415e-02,
)
_ERF_BELOW = (
    -1.45660718464996e-05,
    -2.13374055278905e-04,
    -1.68282697438203e-03,
    -7.37332916720468e-03,
    -1.42647390514189e-02,
)
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def activated(name: str, x: Float32, **options: Any) -> Float32:
    """Return an activation by its name in `ACTIVATIONS`."""
    with np.errstate(over="ignore", under="ignore"):  # exp(-x) of large numbers is inf, as in Keras
        return np.asarray(ACTIVATIONS[name](x, **options), np.float32)


def erf(x: Float32) -> Any:
    """Return the error function to 4e-7."""
    bounded = np.clip(x, -4, 4)
    square = bounded * bounded
    above, below = np.zeros_like(x), np.zeros_like(x)
    for coefficient in _ERF_ABOVE:
        above = above * square + np.float32(coefficient)
    for coefficient in _ERF_BELOW:
        below = below * square + np.float32(coefficient)
    return bounded * above / below


def sigmoid(x: Float32) -> Any:
    """Return 1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def softplus(x: Float32) -> Any:
    """Return log(1 + exp(x))."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def relu(
    x: Float32, slope: float = 0.0, threshold: float = 0.0, max_value: float | None = None
) -> Any:
    """Return x above a threshold, at most `max_value`, and `slope` times the distance below it."""
    found = np.where(x >= threshold, x, np.float32(0))
    if slope:
        found = np.where(x >= threshold, x, np.float32(slope) * (x - np.float32(threshold)))
    return found if max_value is None else np.minimum(found, np.float32(max_value))


def elu(x: Float32, alpha: float = 1.0) -> Any:
    """Return x above 0, and alpha (exp(x) - 1) below."""
    return np.where(x > 0, x, np.float32(alpha) * np.expm1(np.minimum(x, 0)))


def gelu(x: Float32, approximate: bool = False) -> Any:
    """Return x times the normal distribution's share below it."""
    if approximate:
        inner = np.float32(0.7978845608028654) * (x + np.float32(0.044715) * x * x * x)
        return np.float32(0.5) * x * (1 + np.tanh(inner))
    return np.float32(0.5) * x * (1 + erf(x * np.float32(0.7071067811865476)))


def softmax(x: Float32) -> Any:
    """Return the exponentials of each row, divided by their sum."""
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def log_softmax(x: Float32) -> Any:
    """Return the logarithm of `softmax`, without its underflow."""
    rest = x - x.max(axis=1, keepdims=True)
    return rest - np.log(np.exp(rest).sum(axis=1, keepdims=True))


def hard_sigmoid(x: Float32) -> Any:
    """Return x / 6 + 0.5, between 0 and 1."""
    return np.clip(x + 3, 0, 6) / np.float32(6)


ACTIVATIONS: dict[str, Any] = {
    "celu": elu,  # for alpha = 1, which is what Keras's function has
    "elu": elu,
    "exponential": lambda x: np.exp(x),
    "gelu": gelu,
    "hard_sigmoid": hard_sigmoid,
    "hard_silu": lambda x: x * hard_sigmoid(x),
    "leaky_relu": lambda x: relu(x, slope=0.2),
    "linear": lambda x: x,
    "log_softmax": log_softmax,
    "mish": lambda x: x * np.tanh(softplus(x)),
    "relu": relu,
    "relu6": lambda x: relu(x, max_value=6.0),
    "selu": lambda x: np.float32(_SELU_SCALE) * elu(x, _SELU_ALPHA),
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "softmax": softmax,
    "softplus": softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "tanh": lambda x: np.tanh(x),
}
"""The functions of ``keras.activations`` by name."""
