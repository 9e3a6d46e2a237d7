"""The model "mlp": hidden layers one after another, and beside them terms of the features."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import keras

from ...runs.configuration.config import TrainConfig
from ...runs.configuration.defaults import MAX_BATCH_SIZE
from ...runs.configuration.target_transforms import TargetTransform
from .heads import head
from .pairs import PairTerms

_NORMALIZATIONS: Mapping[str, Any] = MappingProxyType(
    {
        "none": None,
        "batch": keras.layers.BatchNormalization,
        "layer": keras.layers.LayerNormalization,
    }
)

# Adam moves each weight by about the learning rate at every step, however little a batch tells of
# it: these factors make the outputs move as little. A step is relative to the noise of the
# gradient, which falls with the root of a batch's rows. Products of weights have two such factors.
_HIDDEN_SHARE, _LINEAR_SHARE, _SQUARES_SHARE = 0.7, 1.2, 70.0  # of a target's deviation
_PAIRS_SHARE = 18_000.0  # divided by the number of pairs, which all add to the noise
_FIRST_GATE = 0.02
_UNDECAYED = ("linear_terms", "gated_squares", "square_terms", "pair_terms")


def mlp(features: Any, n_targets: int, config: TrainConfig) -> Any:
    """Return the outputs, shape (rows, targets), for standardised features."""
    hidden = hidden_layers(features, config)
    if config.additive == "none":
        return head(n_targets, config)(hidden)
    layers, noise = keras.layers, (config.batch_size or MAX_BATCH_SIZE) ** -0.5
    scale = TargetTransform.parse(config.target_transform).std

    def part(outputs: Any, share: float, name: str) -> Any:
        return layers.Rescaling(scale * share, dtype="float32", name=name)(outputs)

    parts = [
        head(n_targets, config)(part(hidden, _HIDDEN_SHARE * noise, "hidden_share")),
        part(_terms(n_targets, "linear_terms")(features), _LINEAR_SHARE * noise, "linear_share"),
    ]
    if config.additive in ("quadratic", "pairs"):
        squares = layers.Multiply(dtype="float32", name="squares")([features, features])
        # A product of two weights for each feature, both of which begin small: few of them grow.
        gated = layers.BatchNormalization(
            center=False,
            gamma_initializer=keras.initializers.Constant(_FIRST_GATE),
            dtype="float32",
            name="gated_squares",
        )(squares)
        terms = _terms(n_targets, "square_terms")(gated)
        parts.append(part(terms, _SQUARES_SHARE * noise**2, "squares_share"))
    if config.additive == "pairs":
        terms = PairTerms(n_targets, _FIRST_GATE, dtype="float32", name="pair_terms")(features)
        n_features = features.shape[-1]
        share = _PAIRS_SHARE / max(n_features * (n_features - 1) / 2, 1)
        parts.append(part(terms, share * noise**2, "pairs_share"))
    return layers.Add(dtype="float32", name="sum")(parts)


def undecayed(model: Any) -> list[Any]:
    """Return the weights of a model's additive terms: weight decay would shrink rare large ones.

    Of a model that `mlp` hasn't made there are none.
    """
    return [
        weight
        for layer in model.layers
        if layer.name in _UNDECAYED
        for weight in layer.trainable_weights
    ]


def _terms(n_targets: int, name: str) -> Any:
    return keras.layers.Dense(
        n_targets, use_bias=False, kernel_initializer="zeros", dtype="float32", name=name
    )


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
