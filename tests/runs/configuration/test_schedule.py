"""The learning rate of each step: warm-up and schedules."""

import pytest

from memmap_train.errors import ConfigError
from memmap_train.runs.configuration.config import TrainConfig
from memmap_train.runs.configuration.schedule import check_schedule, scheduled_rate
from tests.support.errors import refused


@pytest.mark.parametrize("warmup_steps", [0, 1, 7])
@pytest.mark.parametrize("n_steps", [8, 100])
def test_a_rate_rises_to_the_highest_and_falls_almost_to_0(warmup_steps: int, n_steps: int) -> None:
    config = TrainConfig(warmup_steps=warmup_steps, schedule="cosine")
    rates = [scheduled_rate(step, n_steps, 0.5, config) for step in range(n_steps)]
    known = [rate for rate in rates if rate is not None]
    assert len(known) == n_steps
    top = max(warmup_steps - 1, 0)
    assert known[: top + 1] == sorted(known[: top + 1])
    assert known[top] == max(known) == 0.5
    assert known[top:] == sorted(known[top:], reverse=True)
    assert 0 < known[-1] <= 0.5
    assert scheduled_rate(n_steps, n_steps, 0.5, config) == pytest.approx(0, abs=1e-12)
    assert known[-1] < 0.001 or n_steps == 8


def test_a_constant_rate_is_left_alone_after_the_warm_up() -> None:
    assert scheduled_rate(0, 9, 0.5, TrainConfig(schedule="constant")) is None
    config = TrainConfig(warmup_steps=4, schedule="constant")
    assert [scheduled_rate(step, 9, 0.5, config) for step in range(6)] == [
        0.125,
        0.25,
        0.375,
        0.5,
        None,
        None,
    ]


def test_a_warm_up_must_end_before_the_run() -> None:
    check_schedule(TrainConfig(warmup_steps=9), 10)
    with refused(ConfigError, "warmup_steps: expected fewer than the 10 steps", "found 10"):
        check_schedule(TrainConfig(warmup_steps=10), 10)
