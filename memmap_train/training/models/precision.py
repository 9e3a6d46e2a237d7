"""The precision of built-in models: what their layers compute in, and whether that pays here.

Takes the key `precision` of a configuration; lets layers be built with this policy, apart from the
policy of Keras's that the caller's process has.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import keras
import tensorflow as tf

from ...errors import ConfigError
from ...runs.configuration.config import TrainConfig
from ...system.cpu import cpu_features

_FLOAT32 = TrainConfig().precision
# Instructions by which oneDNN multiplies matrices, and the compute capability of NVIDIA's GPUs.
_INSTRUCTIONS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "mixed_bfloat16": frozenset(("avx512_bf16", "amx_bf16", "bf16")),
        "mixed_float16": frozenset(("avx512_fp16", "amx_fp16")),
    }
)
_CAPABILITY: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"mixed_bfloat16": (8, 0), "mixed_float16": (7, 0)}
)


@contextmanager
def layers_in(precision: str) -> Iterator[None]:
    """Give layers that are made in this block a policy; the caller's counts again after it."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def compute_in_float32(model: Any) -> None:
    """Let all layers of a model compute in float32, whatever they were made for."""
    for layer in model._flatten_layers():
        layer.dtype_policy = _FLOAT32


def check_precision(config: TrainConfig, *, is_built_in: bool) -> None:
    """Raise a ConfigError if a precision is asked for that the model wouldn't be built in."""
    if config.precision != _FLOAT32 and not is_built_in:
        raise ConfigError(
            f"precision: expected {_FLOAT32!r} with model = {config.model!r}, whose layers say "
            f"themselves what they compute in, found {config.precision!r}; leave it out, or make "
            f"the layers of your model with dtype={config.precision!r}"
        )


def precision_line(precision: str) -> str | None:
    """Return what a model computes in and whether that is slow here; None for float32."""
    if precision == _FLOAT32:
        return None
    line = f"{precision}: hidden layers compute in {precision.removeprefix('mixed_')}"
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        found = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability")
        is_slow = found is not None and tuple(found) < _CAPABILITY[precision]
        device = "GPU"
    else:
        features = cpu_features()
        is_slow = features is not None and features.isdisjoint(_INSTRUCTIONS[precision])
        device = "CPU"
    if not is_slow:
        return line
    return f"{line}, for which this {device} has no instructions: steps will be slower, not faster"
