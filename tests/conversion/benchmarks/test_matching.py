"""Tests of ids matched with those of files, against Python's dictionaries."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memmap_train.conversion.benchmarks.matching import fill, positions_of, repeated, sorting

IDS = st.lists(st.text("abz", min_size=1, max_size=3), max_size=12)


def as_ids(texts: list[str], width: int = 3) -> npt.NDArray[np.bytes_]:
    return np.array([text.encode() for text in texts], f"S{width}")


@given(wanted=IDS, known=IDS.map(lambda texts: list(dict.fromkeys(texts))), width=st.integers(3, 5))
def test_positions_are_those_of_a_dictionary(
    wanted: list[str], known: list[str], width: int
) -> None:
    place = {text: position for position, text in enumerate(known)}
    found = positions_of(as_ids(wanted, width), as_ids(known))
    assert found.tolist() == [place.get(text, -1) for text in wanted]


@given(IDS)
def test_repeated_ids_are_those_that_are_counted_twice(texts: list[str]) -> None:
    expected = sorted({text.encode() for text in texts if texts.count(text) > 1})
    assert repeated(as_ids(texts)).tolist() == expected


@given(IDS)
def test_sorting_sorts(texts: list[str]) -> None:
    ids = as_ids(texts)
    assert ids[sorting(ids)].tolist() == sorted(ids.tolist())


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
