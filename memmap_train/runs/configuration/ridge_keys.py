"""The keys of the configuration that a ridge regression has no use for: refused, or without effect.

Takes a `TrainConfig`; pure functions, no TensorFlow.
"""

from dataclasses import replace

from ...errors import ConfigError, listed
from .batch_keys import ADDED_TERMS
from .config import TrainConfig

RIDGE = "ridge"
"""The value of `model`."""


def check_ridge(config: TrainConfig) -> None:
    """Check that a ridge regression can do what its configuration asks for.

    Keys that say how a net is trained (epochs, batches, learning rates, layers) have no effect and
    are no error.

    Raises
    ------
    ConfigError
        Another loss than "mse" is asked for, or terms are added to it; or there are callbacks,
        which would never be called.
    """
    added = [key for key in ADDED_TERMS if getattr(config, key)]
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
        precision=default.precision,
        eras_per_batch=0,
        rows_per_era=0,
        batch_size=default.batch_size,
        window_size=1,
        pool_batches=1,
        tensorboard=False,
    )
