"""Targets that the caller holds come in batches as those of files do."""

from pathlib import Path

import numpy as np
import pytest

import memmap_train as mt
from memmap_train.errors import BatchError
from memmap_train.loading.held_rows import HeldRows
from tests.support.errors import refused


@pytest.mark.parametrize("columns", [None, ["target_1", "target_0"], ["target_2"]])
@pytest.mark.parametrize("window_size", [1, 8])
def test_batches_have_the_targets_that_are_held(
    toys: dict[str, Path], columns: list[str] | None, window_size: int
) -> None:
    dataset = mt.open_dataset(toys["int8"])
    names = dataset.target_names
    if columns is not None:
        columns = [names[int(name[-1])] for name in columns]
    batches = mt.Batches(
        dataset, batch_size=20, seed=3, targets=columns, window_size=window_size, pool_batches=3
    )
    expected = [(x.copy(), y.copy()) for x, y in batches.epoch(1)]
    held = np.concatenate([np.asarray(shard.targets) for shard in dataset.values()])
    if columns is not None:
        held = held[:, [names.index(name) for name in columns]]
    batches.reader.hold_targets(-np.ascontiguousarray(held))
    for (x, y), (of_files, labels) in zip(batches.epoch(1), expected, strict=True):
        np.testing.assert_array_equal(x, of_files)
        np.testing.assert_array_equal(y, -labels)
    step = len(batches) + 1
    np.testing.assert_array_equal(batches[step][1], -expected[1][1])


def test_held_targets_read_no_files_of_targets(toys: dict[str, Path]) -> None:
    dataset = mt.open_dataset(toys["float32"])
    batches = mt.Batches(dataset, batch_size=20, seed=0, targets=[dataset.target_names[0]])
    batches.reader.hold_targets(np.full((dataset.n_rows, 1), 7, np.float32))
    batches.reader.map_targets()
    assert all((y == 7).all() for _, y in batches)


def test_some_columns_can_be_taken() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    held, out = HeldRows([1, 3], rows), np.empty((2, 2), np.float32)
    assert held.first.tolist() == [0, 1]
    held.take_columns(np.array([3, 0]), np.array([2, 0]), out)
    np.testing.assert_array_equal(out, [[11, 9], [2, 0]])


def test_other_shapes_are_refused(toys: dict[str, Path]) -> None:
    dataset = mt.open_dataset(toys["float32"])
    reader = mt.Batches(dataset, batch_size=20, seed=0).reader
    with refused(BatchError, "rows: expected 3 columns", "found shape"):
        reader.hold_targets(np.zeros((dataset.n_rows, 2), np.float32))
    with refused(BatchError, "rows: expected shape", "all rows of all eras"):
        reader.hold_targets(np.zeros((dataset.n_rows - 1, 3), np.float32))
