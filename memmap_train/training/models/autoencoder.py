"""The model "autoencoder": an mlp on the features and a denoising autoencoder's bottleneck.

The decoder and the auxiliary outputs belong to the training alone, not to the model that predicts
and is saved.

Notes
-----
Source: the winning model of Kaggle's "Jane Street Market Prediction" (2021), as Numerai's forum
describes it (forum.numer.ai/t/4338).
"""

from typing import Any

import keras

from ...runs.configuration.config import TrainConfig
from ...runs.configuration.model_params import built_in_params
from .heads import head
from .mlp import hidden_layers


def autoencoder(features: Any, n_targets: int, config: TrainConfig) -> Any:
    """Return the outputs, shape (rows, targets), for standardised features."""
    params, layers = built_in_params("autoencoder", config.model_params), keras.layers
    noisy = layers.GaussianNoise(params["noise"], name="noise")(features)
    code = layers.Dense(params["bottleneck"], activation=config.activation, name="bottleneck")(
        noisy
    )
    x = layers.Concatenate(name="features_and_bottleneck")([features, code])
    return head(n_targets, config)(hidden_layers(x, config))


def training_outputs(model: Any, n_targets: int, config: TrainConfig) -> dict[str, Any]:
    """Return what training computes besides the outputs of a model that `autoencoder` has made.

    Returns
    -------
    dict of str to tensor
        "errors", shape (rows,): the mean squared error of each row's decoded features, compared
        with the standardised ones without noise. "auxiliary", shape (rows, targets): predictions
        from the decoded features. What has no weight is left out.
    """
    params, layers = built_in_params("autoencoder", config.model_params), keras.layers
    found: dict[str, Any] = {}
    features = model.get_layer("standardised").output
    code = model.get_layer("bottleneck").output
    decoded = layers.Dense(features.shape[-1], dtype="float32", name="decoder")(code)
    if params["reconstruction_weight"]:
        found["errors"] = keras.ops.mean(keras.ops.square(decoded - features), axis=-1)
    if params["target_weight"]:
        x = layers.Dense(params["bottleneck"], activation=config.activation, name="auxiliary")(
            decoded
        )
        found["auxiliary"] = head(n_targets, config, name="auxiliary_targets")(x)
    return found
