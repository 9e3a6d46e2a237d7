"""Tests of what is read from memory and what from the disk."""

import gc
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import memmap_train as mt
from memmap_train.loading import placement
from memmap_train.loading.placement import Placement, efficient_bytes, placement_of
from memmap_train.loading.shuffle_quality import WINDOW_BYTES
from memmap_train.system.direct_io import can_read_directly
from memmap_train.system.memory_budget import MemoryBudget
from tests.support.toy_datasets import MakeToy

GB = 10**9


@pytest.fixture
def dataset(make_toy: MakeToy) -> mt.Dataset:
    return mt.open_dataset(make_toy({f"{era:04}": 5 for era in range(1, 101)}, n_features=8))


@pytest.mark.parametrize(("available", "fits"), [(100, False), (12_400, False), (12_600, True)])
def test_a_dataset_fits_if_it_takes_four_fifths_of_the_memory(
    dataset: mt.Dataset, available: int, fits: bool
) -> None:
    n_bytes = dataset.feature_bytes
    scaled = available * n_bytes // 10_000
    assert Placement(n_bytes, scaled).fits == fits
    budget = MemoryBudget(lambda: available)
    assert placement_of(dataset, budget).available == available


def test_planned_buffers_reduce_available_memory(dataset: mt.Dataset) -> None:
    """Two `Batches` of one process, for training and for validation say, share the memory."""
    budget = MemoryBudget(lambda: GB)
    options: dict[str, Any] = {"batch_size": 20, "seed": 0, "window_size": 1, "pool_batches": 8}
    first = mt.Batches(dataset, **options, memory_budget=budget)
    assert placement_of(dataset, budget).available == GB - 2 * first.pool_bytes
    second = mt.Batches(dataset, **options, memory_budget=budget)
    assert second.placement.available == GB - 2 * first.pool_bytes
    assert placement_of(dataset, budget).available == GB - 4 * first.pool_bytes
    for batch in first:  # the buffers are made: the system counts them as used
        del batch
    assert placement_of(dataset, budget).available == GB - 2 * second.pool_bytes
    del first, second
    gc.collect()
    assert placement_of(dataset, budget).available == GB


@pytest.mark.parametrize(
    ("features", "available", "buffers"), [(1, 10, 5), (6, 10, 4), (8, 10, 2), (9, 10, 5)]
)
def test_buffers_leave_memory_for_features_that_fit(
    features: int, available: int, buffers: int
) -> None:
    assert Placement(features * GB, available * GB).buffer_bytes == buffers * GB


def test_a_dataset_that_fits_is_left_to_the_page_cache(dataset: mt.Dataset) -> None:
    assert Placement(10 * GB, 20 * GB).direct_eras(dataset, GB) == ()


@pytest.mark.parametrize(
    ("available", "share"), [(5 * GB, 0.175), (2 * GB, 0.025), (GB, 0.0), (0, 0.0)]
)
def test_as_many_eras_of_a_larger_dataset_stay_in_memory_as_fit(
    dataset: mt.Dataset, available: int, share: float
) -> None:
    if not can_read_directly(dataset["0001"].file("features")):
        pytest.skip("this file system can't read past the page cache")
    direct = Placement(10 * GB, available).direct_eras(dataset, GB)
    assert len(direct) == pytest.approx(100 * (1 - share), abs=1)
    kept = sorted(set(range(100)) - set(direct))
    gaps = {b - a for a, b in pairwise(kept)}
    assert all(abs(gap - 1 / share) < 1 for gap in gaps)  # evenly spread


def test_without_direct_reads_every_file_is_mapped(
    dataset: mt.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "can_read_directly", lambda path: False)
    assert Placement(10 * GB, GB).direct_eras(dataset, 0) == ()
    assert Placement(10 * GB, GB).window_bytes(dataset) == WINDOW_BYTES


@pytest.mark.parametrize("n_bytes", [0, 10, 5000, 3_000_000])
def test_requests_to_the_disk_are_powers_of_two(tmp_path: Path, n_bytes: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(n_bytes))
    found = efficient_bytes(path)
    assert WINDOW_BYTES <= found <= 2**22
    assert found.bit_count() == 1
