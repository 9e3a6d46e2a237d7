"""Keys of the loss that don't suit each other, the targets or the batches."""

from dataclasses import replace
from typing import Any

import pytest

from memmap_train.errors import ConfigError
from memmap_train.runs.configuration.batch_keys import check_batches_and_loss
from memmap_train.runs.configuration.config import TrainConfig
from tests.support.errors import refused


def test_the_size_of_batches_of_eras_follows_from_them() -> None:
    for size in (32, TrainConfig().batch_size):
        check_batches_and_loss(TrainConfig(eras_per_batch=4, rows_per_era=8, batch_size=size))
    with refused(ConfigError, "batch_size: expected 32 with", "found 64", "leave it out"):
        check_batches_and_loss(TrainConfig(eras_per_batch=4, rows_per_era=8, batch_size=64))
    with refused(ConfigError, "rows_per_era: expected 0 in batches of rows", "found 8"):
        check_batches_and_loss(TrainConfig(rows_per_era=8))


def test_there_must_be_a_weight_for_each_target() -> None:
    for weights in ((), (1.0,)):
        check_batches_and_loss(TrainConfig(target_weights=weights))
    check_batches_and_loss(TrainConfig(targets=("a", "b"), target_weights=(1.0, 0.5)))
    with refused(ConfigError, "target_weights: expected 2", "'a', 'b'", "found 1"):
        check_batches_and_loss(TrainConfig(targets=("a", "b"), target_weights=(1.0,)))


@pytest.mark.parametrize(
    ("changes", "least", "named"),
    [
        ({"loss": "pearson"}, 1, "with loss = 'pearson'"),
        ({"loss": "numerai_corr"}, 1, "with loss = 'numerai_corr'"),
        ({"corr_weight": 0.1}, 1, "with corr_weight above 0"),
        ({"exposure_weight": 0.1}, 1, "with exposure_weight above 0"),
        ({"std_weight": 0.1}, 2, "with std_weight above 0"),
        ({"loss": "pearson", "std_weight": 0.1}, 2, "loss = 'pearson' and std_weight above 0"),
    ],
)
def test_what_is_computed_within_eras_needs_batches_of_them(
    changes: dict[str, Any], least: int, named: str
) -> None:
    config = TrainConfig(**changes)
    for eras_per_batch in range(least):
        with refused(
            ConfigError,
            f"eras_per_batch: expected {least} or more",
            named,
            f"found {eras_per_batch}",
        ):
            check_batches_and_loss(replace(config, eras_per_batch=eras_per_batch))
    check_batches_and_loss(replace(config, eras_per_batch=least))


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "mine:loss"])
def test_a_loss_of_rows_takes_any_batches(loss: str) -> None:
    for eras_per_batch in (0, 1, 8):
        check_batches_and_loss(TrainConfig(loss=loss, eras_per_batch=eras_per_batch))
