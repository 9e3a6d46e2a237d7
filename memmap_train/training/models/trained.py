"""What a step trains: a model, and what is computed of it in training alone.

Takes a model that predicts; returns the same layers with the outputs that losses are computed from.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from ...runs.configuration.config import TrainConfig
from ...runs.configuration.model_params import built_in_params
from ..losses.batch_loss import LossOfBatch
from .autoencoder import training_outputs
from .members import MeanOfMembers
from .precision import layers_in

LossOf = Callable[..., LossOfBatch]
_MAIN = "predictions"


class TrainedModel:
    """A model in training.

    Parameters
    ----------
    model : keras.Model
    n_targets : int
    config : TrainConfig
        The keys `model`, `model_params`, `activation`, `target_transform`, `eras_per_batch` and
        `rows_per_era` are used.

    Attributes
    ----------
    graph : keras.Model
        The model itself, or its layers with other outputs, and with further layers: all variables
        that a step changes belong to it.
    """

    def __init__(self, model: Any, n_targets: int, config: TrainConfig) -> None:
        self.graph, self._weights = model, dict[str, float]()
        self._may_be_padded = bool(config.eras_per_batch) and not config.rows_per_era
        if config.model == "autoencoder":
            params = built_in_params(config.model, config.model_params)
            weights = {
                "errors": params["reconstruction_weight"],
                "auxiliary": params["target_weight"],
            }
            with layers_in(config.precision):
                others = training_outputs(model, n_targets, config)
            if others:
                self.graph = keras.Model(model.input, {_MAIN: model.outputs[0], **others})
            self._weights = {name: weights[name] for name in others}
        elif model.layers and isinstance(model.layers[-1], MeanOfMembers):
            self.graph = keras.Model(model.input, model.layers[-1].input)

    def losses(
        self, loss_of: LossOf, features: Any, targets: Any, *row_weights: Any
    ) -> tuple[LossOfBatch, list[Any]]:
        """Return the loss of a batch, and the losses that the model adds to it."""
        outputs = self.graph(features, training=True)
        # Penalties of layers, if any: each may be a number for every row, whose sum counts, as for
        # Keras's `fit`.
        added = [tf.reduce_sum(tf.cast(extra, tf.float32)) for extra in self.graph.losses]
        for name, weight in self._weights.items():
            if name == "errors":
                found = self._mean_of_rows(outputs[name], targets)
            else:
                found = loss_of(outputs[name], targets, features, *row_weights).mean
            added.append(weight * found)
        predictions = outputs[_MAIN] if self._weights else outputs
        return loss_of(predictions, targets, features, *row_weights), added

    def _mean_of_rows(self, values: Any, targets: Any) -> Any:
        """Return the mean over rows, without those that may only fill up an era."""
        if not self._may_be_padded:
            return tf.reduce_mean(values)
        counts = tf.cast(tf.reduce_any(tf.math.is_finite(targets), axis=1), tf.float32)
        return tf.reduce_sum(values * counts) / tf.maximum(tf.reduce_sum(counts), 1)
