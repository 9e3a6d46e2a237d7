"""Tests of the benchmarks of one era."""

import numpy as np
import pytest

from memmap_train.conversion.benchmarks.joined_era import fill


@pytest.mark.parametrize(
    ("keeps_stored", "expected"),
    [(False, [3.0, np.nan, np.nan, 5.0]), (True, [3.0, 20.0, 30.0, 5.0])],
)
def test_a_row_without_a_value_keeps_its_own_or_has_none(
    keeps_stored: bool, expected: list[float]
) -> None:
    """The third row is in a file, which has no value for it; the second one is in no file."""
    stored = np.array([10, 20, 30, np.nan], np.float32)
    one, other = np.array([3, np.nan], np.float32), np.array([5], np.float32)
    parts = [
        (np.array([0, -1, 1, -1]), one.__getitem__),
        (np.array([-1, -1, -1, 0]), other.__getitem__),
    ]
    found = fill(stored, parts, keeps_stored=keeps_stored)
    np.testing.assert_array_equal(found, np.array(expected, np.float32))
    np.testing.assert_array_equal(stored, np.array([10, 20, 30, np.nan], np.float32))
