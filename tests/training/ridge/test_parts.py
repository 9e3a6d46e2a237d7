"""The parts of the training eras, and their blocks."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import memmap_train as mt
from memmap_train.errors import FoldError
from memmap_train.runs.folds.fold import Fold
from memmap_train.training.ridge.parts import blocks_of, inner_fold, parts_of
from tests.support.errors import refused

pytest_plugins = ["tests.support.training_fixtures"]


@pytest.mark.parametrize("by_era", [True, False])
def test_each_row_is_in_one_block_of_its_weight(by_era: bool) -> None:
    rows, weights = [3, 9, 2, 4], np.array([1.0, 1.0, 0.5, 0.5])
    blocks = blocks_of(rows, weights, 4, by_era=by_era)
    assert [block.low for block in blocks] == [0, *(block.high for block in blocks[:-1])]
    assert blocks[-1].high == sum(rows)
    of_rows = np.repeat(weights, rows)
    for block in blocks:
        assert block.high - block.low <= 4
        assert (of_rows[block.low : block.high] == block.weight).all()
    ends = np.cumsum(rows).tolist()
    if by_era:
        assert [block.high for block in blocks if block.ends_era] == ends
        assert all(not any(block.low < end < block.high for end in ends) for block in blocks)


def test_the_strength_is_chosen_inside_the_training_eras_with_the_embargo_of_the_run(
    sample: Path,
) -> None:
    dataset = mt.open_dataset(sample)
    train = dataset.select(dataset.eras[:20])
    fold = Fold(train.eras, dataset.eras[22:], (), 2)
    inner = inner_fold(train, fold, ["target"])
    assert (inner.train, inner.validation) == (train.eras[:14], train.eras[16:])
    parts = parts_of(train, inner)
    assert parts == (train.eras[:14], train.eras[16:], train.eras[14:16])
    assert sorted(era for part in parts for era in part) == sorted(train.eras)
    assert all(int(b) - int(a) > 2 for a, b in pairwise([inner.train[-1], inner.validation[0]]))


def test_too_few_eras_are_one_part(sample: Path) -> None:
    dataset = mt.open_dataset(sample)
    train = dataset.select(dataset.eras[:6])
    fold = Fold(train.eras, dataset.eras[22:], (), 8)
    with refused(FoldError, "validation_eras"):
        inner_fold(train, fold, ["target"])
    assert parts_of(train, None) == (train.eras,)
