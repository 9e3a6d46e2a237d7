"""The keys of the configuration that a ridge regression has no use for: refused, or without effect.

Takes a `TrainConfig`; pure functions, no TensorFlow.
"""

import math
from dataclasses import replace
from typing import Any

from ..errors import ConfigError, listed, nearest, shown
from .config import TrainConfig

RIDGE = "ridge"
"""The value of `model`."""
_STRENGTH = "strength"
_ADDED = ("corr_weight", "std_weight", "exposure_weight")


def check_ridge(config: TrainConfig) -> None:
    """Check that a ridge regression can do what its configuration asks for.

    Keys that say how a net is trained (epochs, batches, learning rates, layers) have no effect and
    are no error.

    Raises
    ------
    ConfigError
        Another loss than "mse" is asked for, or terms are added to it; there are callbacks, which
        would never be called; or `model_params` has another key than "strength".
    """
    added = [key for key in _ADDED if getattr(config, key)]
    if config.loss != "mse" or added:
        found = [f"loss = {config.loss!r}"] if config.loss != "mse" else []
        found += [f"{key} = {getattr(config, key):g}" for key in added]
        raise ConfigError(
            f"loss: a ridge regression minimises squared errors; expected loss = 'mse' and no "
            f"terms added, found {' and '.join(found)}; leave that out, or train another model"
        )
    if config.callbacks:
        raise ConfigError(
            f"callbacks: a ridge regression has no epochs or steps to call them in; expected none, "
            f"found {listed(config.callbacks)}; leave callbacks out, or train another model"
        )
    for name in config.model_params:
        if name != _STRENGTH:
            raise ConfigError(
                f"model_params: a ridge regression has only {_STRENGTH!r}, found {name!r:.60}"
                f"{nearest(name, [_STRENGTH])}"
            )
    strength_of(config)


def strength_of(config: TrainConfig) -> float | None:
    """Return the strength that the configuration fixes; None: it is to be chosen."""
    if _STRENGTH not in config.model_params:
        return None
    value: Any = config.model_params[_STRENGTH]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value < math.inf:
        raise ConfigError(
            f"model_params.{_STRENGTH}: expected a number above 0, found {shown(value)}; leave it "
            "out, and it is chosen inside the training eras"
        )
    return float(value)


def without_steps(config: TrainConfig) -> TrainConfig:
    """Return the configuration of a ridge regression with keys of a net's steps as they count.

    A finished run isn't trained further because more epochs are asked for.
    """
    default = TrainConfig()
    return replace(
        config,
        epochs=1,
        patience=0,
        plateau_patience=0,
        validation_steps=0,
        warmup_steps=0,
        schedule=default.schedule,
        eras_per_batch=0,
        rows_per_era=0,
        batch_size=default.batch_size,
        window_size=1,
        pool_batches=1,
        tensorboard=False,
    )
