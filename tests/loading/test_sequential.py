"""Tests of rows in order, block by block, from memory and from the disk itself."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import memmap_train as mt
from memmap_train.errors import ShardError
from memmap_train.loading.sequential import SequentialReader
from memmap_train.system.direct_io import can_read_directly
from tests.support.toy_datasets import N_FEATURES, MakeToy


def all_rows(dataset: mt.Dataset) -> Any:
    """Return the features of all eras, decoded."""
    stored = np.concatenate([dataset[era].features for era in dataset.eras])
    return dataset.decode(stored, np.empty(stored.shape, np.float32))


@pytest.mark.parametrize("past_cache", [False, True])
@pytest.mark.parametrize("columns", [None, (0, 1, 2), (5, 0)])
@pytest.mark.parametrize("store", ["float32", "nulls int8"])
@given(n_rows=st.integers(1, 300), steps=st.lists(st.integers(0, 257), min_size=1, max_size=5))
def test_blocks_hold_the_rows_that_were_asked_for(
    toys: dict[str, Path],
    store: str,
    columns: tuple[int, ...] | None,
    past_cache: bool,
    n_rows: int,
    steps: list[int],
) -> None:
    dataset = mt.open_dataset(toys[store])
    if past_cache and not can_read_directly(dataset["0001"].file("features")):
        pytest.skip("this file system knows no direct reads")
    expected = all_rows(dataset)
    if columns is not None:
        expected = expected[:, columns]
    blocks = SequentialReader(dataset, columns, past_cache=past_cache, step_bytes=7 * N_FEATURES)
    for low in steps:
        block = np.full((n_rows, expected.shape[1]), -1, np.float32)
        blocks.fill(block, low)
        there = expected[low : low + n_rows]
        np.testing.assert_array_equal(block[: len(there)], there)
        assert (block[len(there) :] == -1).all()


@pytest.mark.parametrize("store", ["float32", "int8"])
def test_a_file_that_is_cut_while_it_is_open_is_named(make_toy: MakeToy, store: str) -> None:
    path = make_toy(store=store)
    dataset = mt.open_dataset(path)
    blocks = SequentialReader(dataset, None, past_cache=False)
    block = np.empty((10, len(dataset.feature_names)), np.float32)
    blocks.fill(block, 0)
    os.truncate(path / "era-0001" / "features.npy", 200)
    with pytest.raises(ShardError, match=r"era-0001.features\.npy: the file has become shorter"):
        blocks.fill(block, 20)
    blocks.fill(block, 50)
    blocks.close()
    (path / "era-0003" / "features.npy").unlink()
    with pytest.raises(ShardError, match=r"era-0003.features\.npy: the file is missing"):
        blocks.fill(block, 50)
