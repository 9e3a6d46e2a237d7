"""A loss that the user brings: trained with, resumed, and what is said of its faults."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memmap_train.errors import ConfigError
from memmap_train.training.train import dry_run, train_run
from tests.support.errors import refused
from tests.support.training_data import Script, small_config
from tests.support.training_runs import interrupt, read_csv, results, weights

pytest_plugins = ["tests.support.training_fixtures"]

LOSSES = """
import tensorflow as tf


def squared(predictions, targets, features):
    labelled = tf.math.is_finite(targets)
    error = tf.where(labelled, targets, predictions) - predictions
    n = tf.math.count_nonzero(labelled, axis=(0, 1))
    return tf.reduce_sum(error**2, axis=(0, 1)) / tf.cast(tf.maximum(n, 1), tf.float32)


def of_three_eras(predictions, targets, features):
    return tf.reduce_mean(predictions[2])


def later(predictions, targets, features):
    tf.debugging.assert_less(tf.reduce_mean(predictions), 0.0, "positive")
    return squared(predictions, targets, features)
"""


@pytest.fixture
def losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a module with losses of a user's."""
    (tmp_path / "losses_of_a_user.py").write_text(LOSSES)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "losses_of_a_user", raising=False)
    return "losses_of_a_user"


def test_a_users_loss_trains_and_is_resumed_to_the_bit(
    losses: str, sample: Path, tmp_path: Path
) -> None:
    config = small_config(loss=f"{losses}:squared")
    train_run(sample, tmp_path / "built in", small_config())
    train_run(sample, tmp_path / "whole", config)
    for own, built_in in zip(
        weights(tmp_path / "whole"), weights(tmp_path / "built in"), strict=True
    ):
        np.testing.assert_allclose(own, built_in, atol=1e-3)
    of_own, of_built_in = (
        [float(row["loss"]) for row in read_csv(tmp_path / name / "history.csv")]
        for name in ("whole", "built in")
    )
    np.testing.assert_allclose(of_own, of_built_in, rtol=1e-3)
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, tmp_path / "run", config, report=Script("step 18", interrupt))
    script = Script()
    train_run(sample, tmp_path / "run", config, resume=True, report=script)
    assert script.warnings == []
    assert results(tmp_path / "run") == results(tmp_path / "whole")


def test_a_users_loss_that_has_changed_is_reported(
    losses: str, sample: Path, tmp_path: Path
) -> None:
    config, run = small_config(loss=f"{losses}:squared"), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, run, config, report=Script("step 3", interrupt))
    assert json.loads((run / "config.json").read_text())["own_code_version"]
    (tmp_path / f"{losses}.py").write_text(LOSSES + "\nchanged = True\n")
    script = Script()
    train_run(sample, run, config, resume=True, report=script)
    (warning,) = script.warnings
    assert "own code" in warning


def test_a_faulty_loss_is_refused_before_there_is_a_run(
    losses: str, sample: Path, tmp_path: Path
) -> None:
    for command in (train_run, dry_run):
        with refused(ConfigError, f"loss: {losses}:of_three_eras failed", "line 13"):
            command(sample, tmp_path / "run", small_config(loss=f"{losses}:of_three_eras"))
        with refused(ConfigError, "loss: 'losses_of_nobody:f' can't be imported"):
            command(sample, tmp_path / "run", small_config(loss="losses_of_nobody:f"))
    assert not (tmp_path / "run").exists()


def test_a_loss_that_fails_later_ends_the_run_in_one_line(
    losses: str, sample: Path, tmp_path: Path
) -> None:
    with refused(ConfigError, f"loss: {losses}:later fails", "positive", "change the loss"):
        train_run(sample, tmp_path / "run", small_config(loss=f"{losses}:later"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target_weights": (1.0, 2.0)}, "target_weights: expected 1"),
        ({"loss": "pearson"}, "eras_per_batch: expected 1 or more with loss = 'pearson'"),
        ({"std_weight": 0.1}, "eras_per_batch: expected 2 or more with std_weight"),
        ({"loss": "mine:f", "era_weights": "equal"}, "era_weights: expected 'rows' with batches"),
        ({"rows_per_era": 8}, "rows_per_era: expected 0 in batches of rows, found 8"),
    ],
)
def test_a_loss_that_doesnt_suit_the_run_is_refused(
    changes: dict[str, Any], said: str, sample: Path, tmp_path: Path
) -> None:
    for command in (train_run, dry_run):
        with refused(ConfigError, said):
            command(sample, tmp_path / "run", small_config(**changes))
    assert not (tmp_path / "run").exists()


def test_weights_of_targets_change_what_is_learned(sample: Path, tmp_path: Path) -> None:
    targets = ("target", "target_beta_20")
    found = {}
    for name, chosen in {"equal": (), "ones": (1.0, 1.0), "main": (1.0, 0.0)}.items():
        config = small_config(targets=targets, target_weights=chosen, epochs=1)
        train_run(sample, tmp_path / name, config)
        found[name] = weights(tmp_path / name)
        shutil.rmtree(tmp_path / name)
    for equal, ones in zip(found["equal"], found["ones"], strict=True):
        np.testing.assert_allclose(equal, ones, atol=1e-4)
    assert np.abs(found["equal"][0] - found["main"][0]).max() > 1e-3
