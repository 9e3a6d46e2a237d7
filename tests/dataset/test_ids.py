"""Tests of ids that are ordered and found among others, against Python's dictionaries."""

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from memmap_train.dataset.ids import order_of, positions_in_sorted, positions_of, repeated_ids

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
    place = {text: position for position, text in enumerate(sorted(known))}
    found = positions_in_sorted(as_ids(wanted, width), as_ids(sorted(known)))
    assert found.tolist() == [place.get(text, -1) for text in wanted]


@given(IDS)
def test_repeated_ids_are_those_that_are_counted_twice(texts: list[str]) -> None:
    expected = sorted({text.encode() for text in texts if texts.count(text) > 1})
    assert repeated_ids(as_ids(texts)).tolist() == expected


@given(IDS)
def test_the_order_of_ids_sorts_them(texts: list[str]) -> None:
    ids = as_ids(texts)
    assert ids[order_of(ids)].tolist() == sorted(ids.tolist())
