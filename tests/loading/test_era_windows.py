"""Tests of how batches of eras are read, and of how well they shuffle by formula."""

from typing import Any

import numpy as np
import pytest

from memmap_train.loading.era_sampler import EraSampler
from memmap_train.loading.era_windows import choose_era_windows, shuffling_of_eras
from memmap_train.loading.shuffle_quality import WINDOW_BYTES, WindowChoice

WIDE: dict[str, Any] = {
    "block_rows": 512,
    "has_whole_eras": False,
    "batch_size": 8 * 512,
    "row_bytes": 3_555,
    "buffered_row_bytes": 3_619,
    "memory": 4_000_000_000,
    "window_bytes": WINDOW_BYTES,
    "from_disk": False,
}


def chosen(**changes: Any) -> WindowChoice:
    return choose_era_windows(**{**WIDE, **changes})


def test_a_window_is_read_at_full_speed_or_a_fourth_of_a_block() -> None:
    assert chosen().window_size == 128
    assert "262.1 kB, which are read at nearly full speed" in chosen().reasons[0]
    assert chosen(row_bytes=14_220).window_size == 32  # 455 kB; 19 rows would be cut
    narrow = chosen(row_bytes=780)
    assert narrow.window_size == 128
    assert "4 places of its era" in narrow.reasons[0]
    assert chosen(block_rows=3, batch_size=24).window_size == 1


def test_a_block_comes_from_fewer_places_where_the_disk_needs_large_requests() -> None:
    assert chosen(from_disk=True).window_size == 128
    assert chosen(from_disk=True, row_bytes=1_050).window_size == 256
    assert chosen(from_disk=True, window_bytes=2**20).window_size == 512
    slow = chosen(from_disk=True, window_bytes=2**22)
    assert (slow.window_size, slow.reasons[0]) == (512, "window: all 512 rows of a block")


def test_whole_eras_are_read_in_windows_that_bound_scratch_memory() -> None:
    whole: dict[str, Any] = {"has_whole_eras": True, "block_rows": 7_309, "batch_size": 8 * 7_309}
    assert chosen(**whole).window_size == 74
    assert chosen(**whole, row_bytes=10).window_size == 7_309


def test_pools_are_as_large_as_memory_allows_and_no_larger_than_useful() -> None:
    assert chosen().pool_batches == 16
    assert chosen().reasons[1] == "pool: 16 batches, which are read together"
    little = chosen(memory=100_000_000)
    assert little.pool_batches == 100_000_000 // (2 * 4096 * 3_619)
    assert little.reasons[1] == "pool: as large as 100.0 MB of memory for two of them allow"
    assert chosen(memory=1).pool_batches == 2
    assert chosen(batch_size=8 * 7_309).pool_batches == 4  # the first batch waits for its pool
    assert chosen(batch_size=10**6).pool_batches == 2


@pytest.mark.parametrize("rows_per_era", [10, 0])
@pytest.mark.parametrize("weights", ["rows", "equal"])
def test_shuffling_is_that_of_drawn_batches(rows_per_era: int, weights: str) -> None:
    rows = [20 + 3 * era for era in range(30)]
    sampler = EraSampler(
        {f"{era:04}": n for era, n in enumerate(rows)},
        eras_per_batch=3,
        rows_per_era=rows_per_era,
        weights=np.array(rows if weights == "rows" and rows_per_era else [1.0] * 30),
        window_size=4,
        pool_batches=1,
        drop_remainder=True,
        seed=0,
    )
    same = sizes = 0.0
    for step in range(sampler.steps_per_epoch * (20 if rows_per_era else 60)):
        place = sampler.locate(step)
        pool = sampler.pool(place.epoch, place.pool)
        real = np.ones(len(pool.eras), np.bool_) if pool.padding is None else ~pool.padding
        counts = np.bincount(pool.eras[real], pool.lengths[real])
        same += float((counts * (counts - 1)).sum())
        sizes += float(counts.sum() * (counts.sum() - 1))
    quality = shuffling_of_eras(sampler)
    assert quality.same_era_rate == pytest.approx(same / sizes, rel=0.03)
    total = sum(rows)
    ideal = sum(n * (n - 1) for n in rows) / (total * (total - 1))
    assert quality.ideal_same_era_rate == pytest.approx(ideal)
    assert quality.eras_per_batch == 3
    random = np.random.default_rng(0)
    era_of_row = np.repeat(np.arange(30), rows)
    drawn = [
        len(set(random.choice(era_of_row, quality.batch_size, replace=False).tolist()))
        for _ in range(300)
    ]
    assert quality.ideal_eras_per_batch == pytest.approx(np.mean(drawn), rel=0.03)
    assert quality.inflation() > 1.03
