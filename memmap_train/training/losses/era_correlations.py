"""Correlations of predictions with targets within each era of a batch, with gradients.

Values are shifted and scaled by each era's own range first, which changes no correlation: squares
of tiny or huge values neither vanish nor overflow in float32, and no norm is near 0.
"""

from typing import Any

import tensorflow as tf

_SAME = 2.0**-20
"""The range of values that count as equal, as a share of the largest: 8 to 16 steps of float32."""


def era_correlations(kind: str, predictions: Any, targets: Any) -> tuple[Any, Any]:
    """Return the correlation of each era and target, and which of them count.

    Parameters
    ----------
    kind : "pearson" or "numerai_corr"
        "numerai_corr" raises the centred predictions and the centred targets to the power 1.5,
        keeping their signs. That is Numerai's score for predictions that are normally distributed;
        for any others the score takes normally distributed ranks, which have no gradient.
    predictions, targets : tensor of float32, shape (eras, rows, targets)
        A target of NaN is no label.

    Returns
    -------
    correlations : tensor of float32, shape (eras, targets)
        0, without a gradient, where predictions or labels are all equal, or where there are fewer
        than two labels. NaN where a prediction is.
    counts : tensor of bool, shape (eras, targets)
        False where labels are all equal, or where there are fewer than two.
    """
    # Rows last: sums over the last axis are the fastest, and the most exact.
    targets, predictions = (tf.transpose(values, (0, 2, 1)) for values in (targets, predictions))
    labelled = tf.math.is_finite(targets)
    power = 1.5 if kind == "numerai_corr" else 1.0
    labels, counts = unit_vectors(targets, labelled, power)
    own, _ = unit_vectors(predictions, labelled, power)
    return tf.reduce_sum(own * labels, axis=-1), counts


def unit_vectors(values: Any, used: Any, power: float = 1.0) -> tuple[Any, Any]:
    """Return values that are centred and scaled to a length of 1, along the last axis.

    Parameters
    ----------
    values : tensor of float32, shape (…, rows)
    used : tensor of bool, of the same shape
        Rows that count.
    power : float
        The power that centred values are raised to, keeping their signs; they are centred again.

    Returns
    -------
    vectors : tensor of float32, of the same shape
        0 in rows that don't count, and in all rows where the values are all equal.
    differ : tensor of bool, shape (…)
        Whether the values aren't all equal; False where fewer than two rows count.
    """
    middle, reach, differ = _range(values, used)
    usable = used & differ[..., tf.newaxis]
    n_rows = tf.maximum(tf.reduce_sum(tf.cast(used, tf.float32), axis=-1, keepdims=True), 1)

    def centred(values: Any) -> Any:
        mean = tf.reduce_sum(values, axis=-1, keepdims=True) / n_rows
        return tf.where(usable, values - mean, 0)

    # Both of the range count as constants: a correlation doesn't depend on them.
    inside = (tf.where(usable, values, middle) - middle) / reach
    vectors = centred(inside)
    if power != 1:
        vectors = centred(tf.sign(vectors) * tf.pow(tf.abs(vectors), power))
    # From -1 to 1 at least before they are centred, so this sum is 2 or more.
    squares = tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True)
    return vectors / tf.sqrt(tf.where(differ[..., tf.newaxis], squares, 1)), differ


def _range(values: Any, used: Any) -> tuple[Any, Any, Any]:
    """Return the middle of the used values, half of their range, and whether they differ."""
    values = tf.stop_gradient(values)
    any_used = tf.reduce_any(used, axis=-1, keepdims=True)
    infinity = values.dtype.max
    low = tf.reduce_min(tf.where(used, values, infinity), axis=-1, keepdims=True)
    high = tf.reduce_max(tf.where(used, values, -infinity), axis=-1, keepdims=True)
    low, high = (tf.where(any_used, end, 0) for end in (low, high))
    reach = high / 2 - low / 2
    largest = tf.maximum(tf.abs(low), tf.abs(high))
    # True for what is no number, so that it shows: such a training diverges.
    differ = ~((high <= low) | (reach < _SAME / 2 * largest))
    return high / 2 + low / 2, tf.where(differ, reach, 1), tf.squeeze(differ, axis=-1)
