"""Keys that have no effect on a model: refused where they are set, left out of a sweep's trials.

Takes a `TrainConfig`; pure functions, no TensorFlow.
"""

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any

from ...errors import ConfigError, listed
from ..lineage import SUFFIX
from .config import TrainConfig
from .object_reference import is_reference
from .ridge_keys import RIDGE, without_steps

_MODELS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"normalization": ("mlp", "autoencoder"), "additive": ("mlp",)}
)
"""The models that a key has an effect on."""
_LAYERS = ("hidden", "activation", "dropout")
_OF_STEPS = (
    "learning_rate",
    "weight_decay",
    "plateau_factor",
    "seed",
    "memory",
    "checkpoint_steps",
    "checkpoint_minutes",
    "deterministic",
    "baseline",
)
"""Further keys that a ridge regression has no use for."""


def check_used(config: TrainConfig) -> None:
    """Check that no key is set that has no effect on the model.

    A ridge regression has no use for most keys, and refuses none of these. Nor does a model of the
    user's: the keys may be those that a saved one was built by.

    Raises
    ------
    ConfigError
        A key is neither at its default nor "none".
    """
    for key in _unused(config):
        value, models = getattr(config, key), _MODELS[key]
        raise ConfigError(
            f"{key}: expected 'none', found {value!r}, which has no effect on model = "
            f"{config.model!r}; leave it out, or train one of {listed(models)}"
        )


def with_used_keys(config: TrainConfig) -> TrainConfig:
    """Return a configuration in which keys that `check_used` refuses are at their defaults."""
    default = TrainConfig()
    return replace(config, **{key: getattr(default, key) for key in _unused(config)})


def identity_of_training(config: TrainConfig) -> str:
    """Return a text that two configurations share if keys without an effect set them apart.

    >>> first, second = (TrainConfig(model="ridge", dropout=value) for value in (0.1, 0.2))
    >>> identity_of_training(first) == identity_of_training(second)
    True
    """
    unused = [key for key, models in _MODELS.items() if config.model not in models]
    if config.model == RIDGE:
        config = without_steps(config)
        unused += _OF_STEPS
    if config.model in (RIDGE, "linear"):
        unused += _LAYERS
    values = config.to_dict()
    known = {key.name: values[key.name] for key in fields(config) if key.name not in unused}
    return json.dumps(known, sort_keys=True)


def _unused(config: TrainConfig) -> list[str]:
    default: Any = TrainConfig()
    if config.model == RIDGE or is_reference(config.model) or config.model.endswith(SUFFIX):
        return []
    return [
        key
        for key, models in _MODELS.items()
        if config.model not in models
        and getattr(config, key) not in ("none", getattr(default, key))
    ]
