"""Losses of single rows: squared, absolute and Huber errors of labelled cells."""

from typing import Any

import tensorflow as tf

# Errors beyond one bin of a target (bins are 0.25 apart) count linearly. With Keras's delta of 1,
# which no error reaches, "huber" would be half of "mse".
_HUBER_DELTA = 0.25


def row_losses(kind: str, predictions: Any, targets: Any) -> Any:
    """Return the loss of each cell.

    Parameters
    ----------
    kind : "mse", "mae" or "huber"
    predictions, targets : tensor of float32, of one shape
        A target of NaN is no label.

    Returns
    -------
    tensor of float32, of the same shape
        0 where there is no label, and no gradient there.
    """
    # Before the subtraction: the gradient of a NaN that is masked later is NaN all the same.
    error = tf.where(tf.math.is_finite(targets), targets, predictions) - predictions
    if kind == "mae":
        return tf.abs(error)
    if kind == "huber":
        size = tf.abs(error)
        linear = _HUBER_DELTA * (size - 0.5 * _HUBER_DELTA)
        return tf.where(size < _HUBER_DELTA, 0.5 * tf.square(error), linear)
    return tf.square(error)
