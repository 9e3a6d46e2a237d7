"""The loss of an ensemble's members is the mean of their losses."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from memmap_train.runs.configuration.config import TrainConfig
from memmap_train.training.losses.batch_loss import BatchLoss, LossOfBatch

N_ERAS, N_ROWS, N_MEMBERS = 3, 8, 4

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "mse": {},
    "weighted rows": {"era_weights": "equal"},
    "huber of weighted targets": {"loss": "huber", "target_weights": (1.0, 0.25)},
    "correlations": {"loss": "numerai_corr", "eras_per_batch": N_ERAS},
    "all terms": {
        "eras_per_batch": N_ERAS,
        "corr_weight": 0.3,
        "std_weight": 0.7,
        "exposure_weight": 2.0,
        "target_weights": (1.0, 0.5),
    },
    "a user's loss": {"loss": "loss_of_members:spread", "eras_per_batch": N_ERAS},
    "a user's loss of weighted targets": {
        "loss": "loss_of_members:spread",
        "target_weights": (1.0, 0.5),
    },
}

OWN = """
import tensorflow as tf


def spread(predictions, targets, features):
    assert predictions.shape == targets.shape
    known = tf.where(tf.math.is_finite(targets), targets, predictions)
    of_eras = tf.reduce_mean((predictions - known) ** 2, axis=1)
    return tf.math.reduce_std(of_eras, axis=0) + tf.reduce_mean(of_eras, axis=0)
"""


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_loss_of_members_is_the_mean_of_their_losses(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loss_of_members.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "loss_of_members", raising=False)
    generator = np.random.default_rng([5])
    n = N_ERAS * N_ROWS
    targets = generator.choice([0, 0.25, 0.5, 1], (n, 2)).astype(np.float32)
    targets[generator.random(targets.shape) < 0.2] = np.nan
    features = generator.random((n, 4), np.float32)
    members = generator.random((n, N_MEMBERS, 2), np.float32)
    loss_of = BatchLoss(TrainConfig(**CONFIGURATIONS[name]))
    weights = [tf.constant(generator.random(n), tf.float32)] if name == "weighted rows" else []

    def computed(predictions: Any) -> tuple[LossOfBatch, Any]:
        with tf.GradientTape() as tape:
            variable = tf.Variable(predictions)
            loss = loss_of(variable, tf.constant(targets), tf.constant(features), *weights)
        return loss, tape.gradient(loss.mean, variable).numpy()

    together, gradient = computed(members)
    single = [computed(members[:, number]) for number in range(N_MEMBERS)]
    means = [float(loss.mean) for loss, _ in single]
    assert len({round(mean, 5) for mean in means}) == N_MEMBERS
    assert float(together.mean) == pytest.approx(np.mean(means), rel=1e-5)
    total = np.mean([float(loss.total) for loss, _ in single])
    assert float(together.total) == pytest.approx(total, rel=1e-5)
    assert float(together.count) == float(single[0][0].count) > 1
    for number, (_, of_member) in enumerate(single):
        np.testing.assert_allclose(gradient[:, number] * N_MEMBERS, of_member, atol=1e-5)
