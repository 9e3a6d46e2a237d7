"""Penalties beside a loss: the spread of a score over eras, and exposures to features."""

from typing import Any

import tensorflow as tf

from .era_correlations import unit_vectors

_LEAST = 1e-12
"""A variance, or a mean of squares, that counts as 0: the root of 0 has no gradient."""
_SAME = 1e-6
"""The variance of a feature that counts as constant, as a share of its mean square."""


def spread_over_eras(scores: Any, counts: Any) -> tuple[Any, Any]:
    """Return the standard deviation over eras of the scores of each target.

    Parameters
    ----------
    scores : tensor of float32, shape (eras, targets)
    counts : tensor of bool, shape (eras, targets)
        Scores that count.

    Returns
    -------
    deviations : tensor of float32, shape (targets,)
        Of the scores that count, by their number; 0, without a gradient, where fewer than two do.
    defined : tensor of bool, shape (targets,)
        Whether at least two scores count.
    """
    number = tf.reduce_sum(tf.cast(counts, tf.float32), axis=0)
    scores = tf.where(counts, scores, 0)
    mean = tf.reduce_sum(scores, axis=0) / tf.maximum(number, 1)
    deviations = tf.where(counts, scores - mean, 0)
    variance = tf.reduce_sum(tf.square(deviations), axis=0) / tf.maximum(number, 1)
    return _root(variance), number >= 2


def rms_exposures(predictions: Any, targets: Any, features: Any) -> tuple[Any, Any]:
    """Return the root mean square of the exposures of predictions, in each era.

    An exposure is the correlation of predictions with a feature; features that are constant in an
    era are left out of its mean.

    Parameters
    ----------
    predictions, targets : tensor of float32, shape (eras, rows, targets)
        Rows without a label of any target don't count.
    features : tensor of float32, shape (eras, rows, features)
        Without NaN.

    Returns
    -------
    exposures : tensor of float32, shape (eras, targets)
        0, without a gradient, where predictions or all features are constant.
    counts : tensor of bool, shape (eras, targets)
        Whether at least two rows of the era count, and a feature varies in them.
    """
    used = tf.reduce_any(tf.math.is_finite(targets), axis=-1)
    weights = tf.cast(used, tf.float32)[:, tf.newaxis]
    n_rows = tf.maximum(tf.reduce_sum(weights, axis=-1), 1)
    # Less the first row: constants become 0, and no digits are lost where sums are subtracted.
    features -= features[:, :1]
    sums, squares = tf.matmul(weights, features)[:, 0], tf.matmul(weights, features**2)[:, 0]
    spreads = squares - tf.square(sums) / n_rows
    varies = spreads > _SAME * squares
    n_features = tf.reduce_sum(tf.cast(varies, tf.float32), axis=-1, keepdims=True)

    predictions = tf.transpose(predictions, (0, 2, 1))
    own, _ = unit_vectors(predictions, tf.broadcast_to(used[:, tf.newaxis], tf.shape(predictions)))
    # Of shape (eras, targets, features): unit vectors have a mean of 0, so features needn't.
    products = tf.square(tf.matmul(own, features))
    shares = tf.where(varies, 1 / tf.where(varies, spreads, 1), 0)
    mean_squares = tf.linalg.matvec(products, shares) / tf.maximum(n_features, 1)
    counts = tf.broadcast_to(n_features >= 1, tf.shape(mean_squares))
    return _root(mean_squares), counts


def _root(values: Any) -> Any:
    """Return square roots; 0, without a gradient, of values that are almost 0."""
    is_positive = ~(values <= _LEAST)  # True for NaN, which shows that a training diverges
    return tf.where(is_positive, tf.sqrt(tf.where(is_positive, values, 1)), 0)
