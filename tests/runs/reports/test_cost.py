"""What a training costs, from measured times, and how that is told."""

from dataclasses import replace

import pytest

from memmap_train.runs.reports.cost import (
    FIRST_STEP,
    TRANSFORM,
    cost_text,
    scaled_cost,
    seconds_per_pool,
)
from tests.support.costs import COST


def test_a_pool_takes_what_its_steps_and_one_reading_take() -> None:
    seconds = [3.0, 3.0, 1.0, 1.0, 1.0] * 3  # two of five steps share the cores with a reading
    reading = [True, True, False, False, False] * 3
    assert seconds_per_pool(seconds, reading, 5) == 9
    assert seconds_per_pool(seconds[:13], reading[:13], 5) == 9
    assert seconds_per_pool(seconds[:4], reading[:4], 5) == 9
    assert seconds_per_pool(seconds[:2], reading[:2], 5) == 15  # nothing else is known
    assert seconds_per_pool(seconds[2:5], reading[2:5], 5) == 5


def test_the_text_has_the_seconds_of_an_epoch_and_of_all() -> None:
    lines = cost_text([COST]).splitlines()
    assert lines == [
        "probe       40 steps and 3 eras measured: 25,000 rows/s, waits for data 2%; features come "
        "from the page cache",
        "epoch       2 min: 2 min of training and 20 s of scoring",
        "total       20 min for all 10 epochs, with what is done once: first step 2.0 s, transform "
        "of targets 8.0 s",
        "peak        2.0 GB of memory without the page cache; checkpoints of 7.0 MB",
    ]
    assert COST.total_seconds == 1210
    with_baseline = cost_text([COST], 90.0).splitlines()
    assert with_baseline[2].startswith("total       22 min for all 10 epochs")
    assert with_baseline[2].endswith("transform of targets 8.0 s, baseline 2 min")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"unread_bytes": 6 * 10**9, "disk_bytes_per_second": 10**9},
            "6.0 GB of features are not in memory yet: the first epoch takes up to 6.0 s longer at "
            "1.0 GB/s",
        ),
        ({"unread_bytes": 6 * 10**9}, "not in memory yet: the first epoch takes longer"),
        ({"unread_bytes": None}, "from memory or from the disk, which isn't known here"),
        (
            {"fits": False, "unread_bytes": 10**10, "disk_bytes_per_second": 5 * 10**8},
            "in each epoch a part of 10.0 GB comes from the disk at 500.0 MB/s",
        ),
    ],
)
def test_it_says_where_features_come_from(changes: dict[str, int], said: str) -> None:
    assert said in cost_text([replace(COST, **changes)])  # type: ignore[arg-type]


def test_folds_cost_what_their_steps_and_rows_cost() -> None:
    half = scaled_cost(COST, steps=0.5, scored_rows=2.0, epochs=4)
    assert (half.training_seconds, half.scoring_seconds, half.epochs) == (50, 40, 4)
    assert half.once == {FIRST_STEP: 2.0, TRANSFORM: 4.0}
    text = cost_text([half, COST])
    assert "epoch       2 min: 50 s to 2 min of training and 20 s to 40 s of scoring" in text
    assert "for all 14 epochs of 2 models" in text
    assert "first step 4.0 s, transform of targets 12 s" in text


def test_memory_that_isnt_known_is_called_so() -> None:
    assert "peak        unknown" in cost_text([replace(COST, peak_bytes=None)])
