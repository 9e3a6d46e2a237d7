"""Losses of single rows, and their sums over the labels of a batch of rows."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from memmap_train.runs.configuration.config import TrainConfig
from memmap_train.training.losses.batch_loss import BatchLoss, LossOfBatch
from memmap_train.training.losses.row_losses import row_losses
from tests.support.training_data import numpy_loss


def some_targets(rows: int, columns: int) -> npt.NDArray[np.float32]:
    generator = np.random.default_rng([0])
    targets = generator.choice([0, 0.25, 0.5, 0.75, 1], (rows, columns)).astype(np.float32)
    targets[generator.random(targets.shape) < 0.3] = np.nan
    return targets


def loss_of(kind: str, predictions: Any, targets: Any) -> LossOfBatch:
    loss: Any = kind
    features = tf.zeros((len(targets), 1))
    return BatchLoss(TrainConfig(loss=loss))(predictions, tf.constant(targets), features)


@pytest.mark.parametrize("kind", ["mse", "mae", "huber"])
def test_the_loss_is_that_of_labelled_cells(kind: str) -> None:
    predictions = np.random.default_rng([1]).normal(0.5, 0.5, (50, 3)).astype(np.float32)
    targets = some_targets(50, 3)
    expected, n_labels = numpy_loss(kind, predictions, targets)
    loss = loss_of(kind, tf.constant(predictions), targets)
    assert float(loss.total) == pytest.approx(expected, rel=1e-6)
    assert float(loss.mean) == pytest.approx(expected / n_labels, rel=1e-6)
    assert float(loss.count) == n_labels
    assert 0 < n_labels < targets.size


def test_labels_beyond_the_whole_numbers_of_float32_are_counted() -> None:
    n_rows = 2**24 + 100
    targets = np.zeros((n_rows, 1), np.float32)
    targets[:: 2**20] = np.nan
    count = loss_of("mse", tf.zeros((n_rows, 1)), targets).count
    assert float(count) == n_rows - 17
    assert int(np.float32(n_rows - 17)) != n_rows - 17


@pytest.mark.parametrize("kind", ["mse", "mae", "huber"])
def test_missing_labels_have_no_gradient(kind: str) -> None:
    predictions = tf.Variable(np.full((50, 3), 0.4, np.float32))
    targets = some_targets(50, 3)
    with tf.GradientTape() as tape:
        losses = row_losses(kind, predictions, tf.constant(targets))
    gradient = tape.gradient(losses, predictions).numpy()
    assert not losses.numpy()[np.isnan(targets)].any()
    assert np.isfinite(gradient).all()
    assert not gradient[np.isnan(targets)].any()
    assert gradient[~np.isnan(targets)].all()
