"""The model "resnet": residual blocks with batch normalisation, of two layers each."""

from typing import Any

import keras

from ...runs.configuration.config import TrainConfig
from .heads import head


def resnet(features: Any, n_targets: int, config: TrainConfig) -> Any:
    """Return the outputs, shape (rows, targets), for standardised features."""
    layers, x = keras.layers, features
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
    return head(n_targets, config)(x)
