"""Tests of `bench`: that what is measured is there, and that the advice follows from it."""

import json
import os
from typing import Any

import pytest

import memmap_train as mt
from memmap_train.loading.bench import bench, bench_text
from memmap_train.loading.gather import PoolReader
from memmap_train.loading.page_cache import read_ahead
from memmap_train.loading.rates import disk_rate, measure, read_bytes
from memmap_train.loading.stream import Stream
from memmap_train.loading.window_sampler import WindowSampler
from memmap_train.system.direct_io import can_read_directly
from memmap_train.system.memory_budget import PROCESS_MEMORY
from tests.support.page_cache import dropped
from tests.support.toy_datasets import MakeToy

pytestmark = pytest.mark.usefixtures("quick_rates")

ERAS = {f"{era:04}": 200 for era in range(1, 11)}


@pytest.fixture
def dataset(make_toy: MakeToy) -> mt.Dataset:
    return mt.open_dataset(make_toy(ERAS, n_features=60, dtype="float32"))


def check(found: dict[str, Any]) -> None:
    """Check that all rates are there and positive, and that the text shows each of them."""
    json.dumps(found)
    text = bench_text(found)
    for name, rate in found["rates"].items():
        assert rate["rows_per_second"] > 0
        # Of all cores at most, within the clocks' grain.
        used_cores = rate["cpu_seconds_per_million_rows"] * rate["rows_per_second"] / 1e6
        assert 0 <= used_cores < (os.cpu_count() or 1) + 1
        assert f"{rate['rows_per_second']:,.0f}" in text
        assert name in text
    assert found["memcpy_bytes_per_second"] > 10**7
    assert all(line in text for line in found["advice"])


def test_a_dataset_that_fits(dataset: mt.Dataset) -> None:
    read_ahead(dataset, dataset.eras)
    found = bench(dataset, batch_size=128)
    check(found)
    assert found["fits"]
    assert {"now", "in memory", "in memory, global shuffle"} <= found["rates"].keys()
    assert ("from the disk" in found["rates"]) == can_read_directly(
        dataset["0001"].file("features")
    )
    assert any("rows come from memory" in line for line in found["advice"])


def test_a_dataset_that_fits_and_isnt_in_memory_yet(dataset: mt.Dataset) -> None:
    if not dropped(dataset) or read_bytes() is None:
        pytest.skip("this file system keeps everything in memory, or doesn't tell what is read")
    found = bench(dataset, batch_size=128)
    assert any("rows came from the disk this time" in line for line in found["advice"])


def test_a_dataset_that_doesnt_fit_is_told_what_would_help(
    dataset: mt.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PROCESS_MEMORY, "available", lambda: 200_000)
    found = bench(dataset, batch_size=128)
    check(found)
    advice = " ".join(found["advice"])
    assert "the disk is the limit" in advice
    assert "an int8 store takes a quarter of it and fits" in advice
    assert "--feature-set medium" in advice


def test_batches_larger_than_the_data_and_no_targets_are_fine(make_toy: MakeToy) -> None:
    check(bench(mt.open_dataset(make_toy({"0001": 5}, n_targets=0)), batch_size=4096))


def test_a_feature_set_is_what_is_delivered(dataset: mt.Dataset) -> None:
    found = bench(dataset, batch_size=128, features="small")
    assert found["n_features"] == 3


def test_every_batch_of_a_measured_epoch_is_asked_for(
    dataset: mt.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rates are of rows that came: a stream that ended early would look fast."""
    asked: list[int] = []
    locate = WindowSampler.locate

    def noting(self: WindowSampler, step: int) -> Any:
        asked.append(step)
        return locate(self, step)

    monkeypatch.setattr(WindowSampler, "locate", noting)
    bench(dataset, batch_size=100)
    assert {step for step in asked if step < 20} == set(range(20))


def test_as_many_steps_are_measured_as_are_asked_for(
    dataset: mt.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = mt.Batches(dataset, batch_size=100, seed=0)
    asked: list[int] = []
    locate = WindowSampler.locate

    def noting(self: WindowSampler, step: int) -> Any:
        asked.append(step)
        return locate(self, step)

    monkeypatch.setattr(WindowSampler, "locate", noting)
    measure(batches, n_steps=2 * len(batches))
    assert set(range(40)) <= set(asked)


def test_measuring_holds_no_buffer_that_the_stream_could_use(
    dataset: mt.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = mt.Batches(dataset, batch_size=100, seed=0, window_size=16, pool_batches=4)
    free: list[int] = []
    start = Stream.__init__

    def noting(self: Stream, order: WindowSampler, reader: PoolReader, *arguments: Any) -> None:
        free.append(len(reader._memory._free))
        start(self, order, reader, *arguments)

    monkeypatch.setattr(Stream, "__init__", noting)
    measure(batches)
    assert free == [3]  # of features twice, of targets once


def test_no_files_have_no_rate() -> None:
    assert disk_rate([]) is None
