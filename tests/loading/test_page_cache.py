"""Tests of what is in memory: asked, brought there, dropped again."""

import errno
import os
from pathlib import Path

import pytest

import memmap_train as mt
from memmap_train.errors import ShardError
from memmap_train.loading import page_cache, placement
from memmap_train.loading.bench import bench
from memmap_train.loading.page_cache import (
    describe_status,
    eras_that_fit,
    read_ahead,
    resident,
    resident_bytes,
    status_text,
)
from memmap_train.system.memory_budget import PROCESS_MEMORY
from tests.support.page_cache import dropped, feature_files
from tests.support.toy_datasets import MakeToy

ERAS = {f"{era:04}": 100 for era in range(1, 9)}


@pytest.fixture
def dataset(make_toy: MakeToy) -> mt.Dataset:
    return mt.open_dataset(make_toy(ERAS, n_features=100))


def test_what_was_read_is_in_memory_until_it_is_dropped(dataset: mt.Dataset) -> None:
    for file in feature_files(dataset):
        file.read_bytes()
    here, total = resident(dataset)["features"]
    assert here is not None
    assert here == total == sum(file.stat().st_size for file in feature_files(dataset))
    if not dropped(dataset):
        pytest.skip("this file system keeps everything in memory")
    assert resident(dataset)["features"] == (0, total)
    assert resident(dataset)["targets"][0]


def test_reading_ahead_brings_just_the_eras_that_are_asked_for(dataset: mt.Dataset) -> None:
    if not dropped(dataset):
        pytest.skip("this file system keeps everything in memory")
    told: list[tuple[int, int]] = []
    n_bytes = read_ahead(dataset, dataset.eras[2:5], lambda what, *done: told.append(done))
    of_era = [resident_bytes(file) for file in feature_files(dataset)]
    assert [bool(n) for n in of_era] == [False, False, True, True, True, False, False, False]
    assert told[-1] == (n_bytes, n_bytes)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_an_empty_file_has_nothing_in_memory(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert resident_bytes(tmp_path / "empty") == 0


def test_a_file_that_vanishes_is_named(dataset: mt.Dataset) -> None:
    feature_files(dataset)[3].unlink()
    with pytest.raises(ShardError, match=r"era-0004.features\.npy: can't be read: No such file"):
        read_ahead(dataset, dataset.eras)


def test_a_file_that_cannot_be_read_is_named_by_status_and_bench(dataset: mt.Dataset) -> None:
    file = feature_files(dataset)[3]
    file.unlink()
    file.mkdir()
    for asking in (describe_status, lambda dataset: bench(dataset, batch_size=10)):
        with pytest.raises(ShardError, match=r"era-0004.features\.npy: can't be read: Is a dir"):
            asking(dataset)


def test_of_files_that_cant_be_mapped_it_cant_be_told(
    dataset: mt.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, n_bytes: int) -> None:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    monkeypatch.setattr(page_cache, "map_file", refuse)
    assert resident(dataset)["features"][0] is None
    assert "can't be told here" in status_text(describe_status(dataset))


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owner here")
def test_the_owner_of_a_read_only_file_is_told(
    dataset: mt.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = feature_files(dataset)[0]
    file.read_bytes()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write all
    assert resident_bytes(file) == file.stat().st_size
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    assert resident_bytes(file) is None


@pytest.mark.parametrize(("available", "fits"), [(10**9, True), (1000, False)])
def test_the_status_says_what_fits(
    dataset: mt.Dataset, monkeypatch: pytest.MonkeyPatch, available: int, fits: bool
) -> None:
    monkeypatch.setattr(PROCESS_MEMORY, "available", lambda: available)
    monkeypatch.setattr(placement, "can_read_directly", lambda path: True)
    status = describe_status(dataset)
    assert status["fits"] == fits
    assert status["eras_that_fit"] == len(eras_that_fit(dataset)) == (len(ERAS) if fits else 0)
    text = status_text(status)
    assert ("the features fit" in text) == fits
    assert ("too little for all features" in text) == (not fits)
