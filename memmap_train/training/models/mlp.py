"""The model "mlp": hidden layers one after another."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import keras

from ...runs.config import TrainConfig
from .heads import head

_NORMALIZATIONS: Mapping[str, Any] = MappingProxyType(
    {
        "none": None,
        "batch": keras.layers.BatchNormalization,
        "layer": keras.layers.LayerNormalization,
    }
)


def mlp(features: Any, n_targets: int, config: TrainConfig) -> Any:
    """Return the outputs, shape (rows, targets), for standardised features."""
    return head(n_targets, config)(hidden_layers(features, config))


def hidden_layers(x: Any, config: TrainConfig) -> Any:
    """Return the output of the last hidden layer, shape (rows, units)."""
    layers, kind = keras.layers, _NORMALIZATIONS[config.normalization]
    for number, units in enumerate(config.hidden, start=1):
        if kind is None:
            x = layers.Dense(units, activation=config.activation, name=f"hidden_{number}")(x)
        else:
            x = layers.Dense(units, name=f"hidden_{number}")(x)
            x = kind(name=f"normalised_{number}")(x)
            x = layers.Activation(config.activation, name=f"activation_{number}")(x)
        if config.dropout:
            x = layers.Dropout(config.dropout, name=f"dropout_{number}")(x)
    return x
