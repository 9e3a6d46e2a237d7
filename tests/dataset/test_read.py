"""Tests of rows that are read into memory at once: every cell as the toy computes it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memmap_train as mt
from memmap_train.dataset import dataset as dataset_module
from memmap_train.errors import BatchError, DatasetError
from memmap_train.system.memory_budget import PROCESS_MEMORY
from tests.support.errors import refused
from tests.support.toy import feature_names, target_names, toy_features, toy_ids, toy_targets
from tests.support.toy_datasets import ERAS, FEATURE_SETS, N_FEATURES, N_TARGETS, MakeToy

STORES = ["float32", "int8"]


def expected(eras: list[str], *, nulls: bool = False) -> tuple[Any, Any]:
    """Return x and y of eras of the toy."""
    x = [toy_features(era, ERAS[era], N_FEATURES, "int8", nulls=nulls) for era in eras]
    y = [toy_targets(era, ERAS[era], N_TARGETS, nulls=nulls) for era in eras]
    return np.concatenate(x), np.concatenate(y)


@pytest.mark.parametrize("kind", ["", "nulls "])
@pytest.mark.parametrize("store", STORES)
def test_all_rows_are_read_in_the_order_of_the_dataset(
    toys: dict[str, Path], store: str, kind: str
) -> None:
    x, y, ids = mt.open_dataset(toys[kind + store]).read()
    expected_x, expected_y = expected(list(ERAS), nulls=bool(kind))
    assert x.dtype == y.dtype == np.float32
    np.testing.assert_array_equal(x, expected_x)
    np.testing.assert_array_equal(y, expected_y)
    assert ids is not None
    assert ids.tolist() == [i for era, rows in ERAS.items() for i in toy_ids(era, rows).tolist()]


@pytest.mark.parametrize("store", STORES)
def test_eras_features_and_targets_are_chosen_by_name(toys: dict[str, Path], store: str) -> None:
    dataset = mt.open_dataset(toys[store])
    names = feature_names(N_FEATURES)
    expected_x, expected_y = expected(["0002", "0010"])
    for features, columns in (
        ("small", sorted(names.index(name) for name in FEATURE_SETS["small"])),
        ("all", list(range(N_FEATURES))),
        ([names[5], names[0]], [5, 0]),
    ):
        x, y, _ = dataset.read(["0010", "0002"], features, [target_names(N_TARGETS)[2]])
        np.testing.assert_array_equal(x, expected_x[:, columns])
        np.testing.assert_array_equal(y, expected_y[:, [2]])
        assert x.flags.c_contiguous
        assert x.flags.writeable


def test_rows_are_decoded_in_blocks_of_any_size(
    toys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = mt.open_dataset(toys["int8"])
    whole = dataset.read()[0]
    for n_bytes in (1, 7 * N_FEATURES):
        monkeypatch.setattr(dataset_module, "_BLOCK_BYTES", n_bytes)
        np.testing.assert_array_equal(dataset.read()[0], whole)


def test_a_selection_reads_its_own_eras(toys: dict[str, Path]) -> None:
    part = mt.open_dataset(toys["float32"]).select(["0003", "X"])
    np.testing.assert_array_equal(part.read()[0], expected(["0003", "X"])[0])
    with refused(DatasetError, "no era '0001' among 2"):
        part.read(["0001"])


def test_a_manifest_without_targets_and_ids_describes_none(make_toy: MakeToy) -> None:
    path = make_toy({"0001": 3, "0002": 2}, n_targets=0, ids=False)
    x, y, ids = mt.open_dataset(path).read()
    assert (len(x), y.shape, ids) == (5, (5, 0), None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eras": ["0004"]}, "no era '0004' among 7"),
        ({"eras": []}, "no eras selected"),
        ({"features": "medum"}, "no feature set 'medum'"),
        ({"features": ["feature_q"]}, "no feature 'feature_q'"),
        ({"targets": ["target_q"]}, "no target 'target_q'"),
    ],
)
def test_unknown_names_are_refused_before_anything_is_read(
    toys: dict[str, Path], options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = mt.open_dataset(toys["float32"])
    monkeypatch.setattr(mt.Dataset, "_read_features", None)
    with refused(DatasetError, message):
        dataset.read(**options)


def test_arrays_larger_than_memory_are_refused(
    toys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = mt.open_dataset(toys["int8"])
    n_bytes = sum(ERAS.values()) * (N_FEATURES + N_TARGETS) * 4
    monkeypatch.setattr(PROCESS_MEMORY, "available", lambda: n_bytes - 1)
    with refused(BatchError, "12.4 kB as float32", "12.4 kB at most", "memmap_train.Batches"):
        dataset.read()
    dataset.read(["0001"])


@pytest.mark.parametrize("store", STORES)
def test_decoding_gives_the_same_bits_from_either_store(toys: dict[str, Path], store: str) -> None:
    dataset = mt.open_dataset(toys[store])
    stored = dataset["0003"].features
    found = dataset.decode(stored)
    assert found.tobytes() == toy_features("0003", ERAS["0003"], N_FEATURES, "int8").tobytes()
    out = np.empty_like(found)
    assert dataset.decode(stored, out) is out
    assert dataset.decode(stored[3]).tobytes() == found[3].tobytes()
