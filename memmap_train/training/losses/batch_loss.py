"""The loss of a batch as a configuration asks for it: a main loss, and terms added to it.

Takes a configuration and the number of eras in a batch; returns a function of tensors.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from ...errors import ConfigError
from ...runs.configuration.batch_keys import CORRELATIONS
from ...runs.configuration.config import TrainConfig
from ...runs.configuration.object_reference import is_reference, resolve_reference, user_code
from .era_correlations import era_correlations
from .penalties import rms_exposures, spread_over_eras
from .row_losses import row_losses

OwnLoss = Callable[[Any, Any, Any], Any]
"""A loss of the user's: of predictions and targets of shape (eras, rows, targets) and features of
shape (eras, rows, features), a number for each target or one for all of them."""


class LossOfBatch(NamedTuple):
    """The loss of one batch.

    Attributes
    ----------
    mean : tensor of float32, shape ()
        What a step minimises, without what layers add.
    total, count : tensor of float32 and float64, shape ()
        The mean of an epoch is the sum of its totals by that of its counts.
    """

    mean: Any
    total: Any
    count: Any


class BatchLoss:
    """The loss of batches.

    Parameters
    ----------
    config : TrainConfig
        The keys `loss`, `target_weights`, `corr_weight`, `std_weight` and `exposure_weight` are
        used, and `eras_per_batch`: a batch of eras consists of contiguous blocks of equally many
        rows.

    Raises
    ------
    ConfigError
        There is no loss of the user's by that name.
    """

    def __init__(self, config: TrainConfig) -> None:
        self._config, self._n_eras = config, max(1, config.eras_per_batch)
        self._own: OwnLoss | None = None
        if is_reference(config.loss):
            self._own = resolve_reference("loss", config.loss)
            if not callable(self._own):
                raise ConfigError(
                    f"loss: {config.loss!r} is a {type(self._own).__name__}, expected a function "
                    "loss(predictions, targets, features) that returns a tensor"
                )

    def __call__(
        self, predictions: Any, targets: Any, features: Any, row_weights: Any = None
    ) -> LossOfBatch:
        """Return the loss of a batch.

        Parameters
        ----------
        predictions : tensor of float32, shape (eras x rows, targets)
            Or (eras x rows, members, targets), those of an ensemble: the loss is the mean of the
            losses of its members then, with all terms that are added.
        targets : tensor of float32, shape (eras x rows, targets)
            A target of NaN is no label: it adds nothing to the loss, and nothing to a gradient.
        features : tensor of float32, shape (eras x rows, features)
        row_weights : tensor of float32, shape (rows,), optional
            What the losses of rows are multiplied by, in a batch of rows; 1 in the mean.
        """
        config = self._config
        n_members = predictions.shape[1] if predictions.shape.rank == 3 else 1
        predictions, targets, features = (
            tf.reshape(values, (self._n_eras, -1, n_columns))
            for values, n_columns in (
                (predictions, n_members * targets.shape[1]),
                (targets, targets.shape[1]),
                (features, features.shape[1]),
            )
        )
        # Members count as further targets, whose labels and weights are the same once more.
        labels = targets if n_members == 1 else tf.tile(targets, (1, 1, n_members))
        if self._own is not None:
            main = self._of_own(self._own, predictions, targets, features)
        elif config.loss in CORRELATIONS:
            correlations, counts = era_correlations(config.loss, predictions, labels)
            main = self._of_cells(tf.where(counts, 1 - correlations, 0), counts)
        else:
            losses = row_losses(config.loss, predictions, labels)
            if row_weights is not None:
                losses *= row_weights[:, tf.newaxis]
            main = self._of_cells(losses, tf.math.is_finite(labels))
        if n_members > 1:
            main = LossOfBatch(main.mean, main.total / n_members, main.count / n_members)
        if not (config.corr_weight or config.std_weight or config.exposure_weight):
            return main
        mean = main.mean + self._added(predictions, labels, features)
        return LossOfBatch(mean, mean * tf.cast(main.count, tf.float32), main.count)

    def _added(self, predictions: Any, targets: Any, features: Any) -> Any:
        """Return the terms that are added to the main loss."""
        config, added = self._config, []
        if config.corr_weight or config.std_weight:
            kind = "pearson" if config.loss == "pearson" else "numerai_corr"
            correlations, counts = era_correlations(kind, predictions, targets)
            if config.corr_weight:
                lacking = self._of_cells(tf.where(counts, 1 - correlations, 0), counts).mean
                added.append(config.corr_weight * lacking)
            if config.std_weight:
                deviations, defined = spread_over_eras(correlations, counts)
                added.append(config.std_weight * self._of_cells(deviations, defined).mean)
        if config.exposure_weight:
            exposures, counts = rms_exposures(predictions, targets, features)
            added.append(config.exposure_weight * self._of_cells(exposures, counts).mean)
        return tf.add_n(added)

    def _of_cells(self, losses: Any, counts: Any) -> LossOfBatch:
        """Return the mean of losses, which are 0 where they don't count; targets come last."""
        weights = self._config.target_weights
        if not weights:
            total, count = tf.reduce_sum(losses), tf.math.count_nonzero(counts)
            mean = total / tf.cast(tf.maximum(count, 1), tf.float32)
            return LossOfBatch(mean, total, tf.cast(count, tf.float64))
        weights *= losses.shape[-1] // len(weights)  # once for each member
        total = tf.reduce_sum(losses * tf.constant(weights, tf.float32))
        n_of_target = tf.math.count_nonzero(counts, axis=list(range(counts.shape.rank - 1)))
        count = tf.reduce_sum(tf.cast(n_of_target, tf.float64) * weights)
        mean = total / tf.cast(tf.where(count > 0, count, 1), tf.float32)
        return LossOfBatch(mean, total, count)

    def _of_own(self, own: OwnLoss, predictions: Any, targets: Any, features: Any) -> LossOfBatch:
        """Return the user's loss; in the mean of an epoch it counts by labels."""
        weights, n_targets = self._config.target_weights, targets.shape[2]
        # It is called for each member of an ensemble by itself.
        members = tf.split(predictions, predictions.shape[2] // n_targets, axis=2)
        found = tf.stack([self._call_own(own, member, targets, features) for member in members])
        if weights:
            found = tf.reduce_sum(found * tf.constant(weights, tf.float32), axis=-1) / sum(weights)
        mean = tf.reduce_mean(found)
        n_labels = tf.math.count_nonzero(tf.math.is_finite(targets), dtype=tf.float64)
        count = n_labels * len(members)
        return LossOfBatch(mean, mean * tf.cast(count, tf.float32), count)

    def _call_own(self, own: OwnLoss, predictions: Any, targets: Any, features: Any) -> Any:
        """Return what the user's loss returns, in float32."""
        name, weights, n_targets = self._config.loss, self._config.target_weights, targets.shape[2]
        with user_code(f"loss: {name} failed"):
            found = tf.convert_to_tensor(own(predictions, targets, features))
        if not found.dtype.is_floating or found.shape not in ((), (n_targets,)):
            raise ConfigError(
                f"loss: {name} returned a tensor of {found.dtype.name} and shape {found.shape}, "
                f"expected float32 and shape ({n_targets},), a number for each target, or ()"
            )
        if weights and found.shape.rank == 0:
            raise ConfigError(
                f"loss: {name} returned one number for all targets, which target_weights can't "
                f"weigh; return a tensor of shape ({n_targets},), or leave target_weights out"
            )
        return tf.cast(found, tf.float32)


def try_loss(config: TrainConfig, n_features: int, n_targets: int) -> None:
    """Trace a loss of the user's on a batch's shapes, apart from the model.

    Raises
    ------
    ConfigError
        It can't be found, it fails, or it returns something else than a loss.
    """
    if not is_reference(config.loss):
        return
    of_targets = tf.TensorSpec((config.batch_size, n_targets), tf.float32)
    features = tf.TensorSpec((config.batch_size, n_features), tf.float32)
    loss_of = tf.function(BatchLoss(config), autograph=False)
    loss_of.get_concrete_function(of_targets, of_targets, features)
