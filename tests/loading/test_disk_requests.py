"""Tests of windows that are read by one request."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memmap_train.loading.disk_requests import requests_of
from memmap_train.loading.sampler import Pool

KB = 1024


def found(windows: Sequence[tuple[int, int, int]], row_bytes: int) -> list[Any]:
    """Return era, start and stop of the requests for windows (era, start, length)."""
    requests = requests_of(pool_of(windows), np.arange(len(windows)), row_bytes)
    columns = (requests.eras, requests.starts, requests.stops)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def pool_of(windows: Sequence[tuple[int, int, int]]) -> Pool:
    eras, starts, lengths = np.array(windows, np.int64).reshape(-1, 3).T
    return Pool(eras.astype(np.int32), starts, lengths, np.arange(int(lengths.sum())))


def test_windows_are_joined_across_a_small_gap() -> None:
    assert found([(0, 0, 1), (0, 33, 1), (0, 67, 2)], 4 * KB) == [(0, 0, 34), (0, 67, 69)]
    assert found([(0, 0, 5), (0, 5, 5), (1, 10, 5)], 4 * KB) == [(0, 0, 10), (1, 10, 15)]
    assert found([(0, 9, 3), (3, 9, 3)], 1) == [(0, 9, 12), (3, 9, 12)]
    assert found([], 100) == []


def test_windows_that_lie_within_others_are_not_read_again() -> None:
    assert found([(0, 4, 40), (0, 4, 7), (0, 30, 20)], 100) == [(0, 4, 50)]


def test_windows_against_the_order_of_the_file_are_read_by_themselves() -> None:
    assert found([(0, 20, 5), (0, 10, 5)], 100) == [(0, 20, 25), (0, 10, 15)]


def test_a_request_is_limited() -> None:
    """A section of a file has 1 MB; windows chosen by default have 256 kB."""
    windows = [(0, row, 64) for row in range(0, 1024, 64)]
    assert found(windows, 4 * KB) == [(0, first, first + 256) for first in range(0, 1024, 256)]
    with_gaps = windows[::2]
    assert found(with_gaps, 4 * KB) == [(0, row, row + 64) for row in range(0, 1024, 128)]


windows = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 300), st.integers(1, 40)), max_size=20
).map(lambda found: sorted(found, key=lambda window: window[0]))


@given(windows, st.sampled_from([1, 4 * KB, 40 * KB, 400 * KB]))
def test_each_window_lies_in_its_request(
    windows: list[tuple[int, int, int]], row_bytes: int
) -> None:
    requests = requests_of(pool_of(windows), np.arange(len(windows)), row_bytes)
    ends = [*requests.firsts[1:].tolist(), len(windows)]
    n_windows = 0
    for number, end in enumerate(ends if windows else []):
        of_request = windows[int(requests.firsts[number]) : end]
        n_windows += len(of_request)
        assert {era for era, _, _ in of_request} == {requests.eras[number]}
        assert min(start for _, start, _ in of_request) == requests.starts[number]
        assert max(start + length for _, start, length in of_request) == requests.stops[number]
    assert n_windows == len(windows)
