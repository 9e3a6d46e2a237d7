"""Tests of the reader: a pool's windows, copied from maps to their places in a buffer."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import memmap_train as mt
from memmap_train.dataset.direct_array import DirectArray
from memmap_train.errors import ShardError
from memmap_train.loading.gather import PoolReader
from memmap_train.loading.sampler import Pool
from tests.support.toy import toy_features, toy_targets
from tests.support.toy_datasets import ERAS, N_FEATURES, N_TARGETS, MakeToy


def make_pool(windows: list[tuple[int, int, int]], seed: int = 0) -> Pool:
    """Return the pool of windows (era, start, length), its rows at random places."""
    eras, starts, lengths = np.array(sorted(windows), np.int64).T
    places = np.random.default_rng(seed).permutation(int(lengths.sum()))
    return Pool(eras.astype(np.int32), starts, lengths, places)


def expected(pool: Pool) -> tuple[Any, Any]:
    """Return what the toy of floats says of a pool's rows, at their places."""
    eras = list(ERAS)
    x = np.empty((pool.n_rows, N_FEATURES), np.float32)
    y = np.empty((pool.n_rows, N_TARGETS), np.float32)
    first = 0
    for era, start, length in zip(pool.eras, pool.starts, pool.lengths, strict=True):
        to = pool.places[first : first + length]
        rows = np.arange(start, start + length)
        x[to] = toy_features(eras[era], rows, N_FEATURES, "float32")
        y[to] = toy_targets(eras[era], rows, N_TARGETS)
        first += length
    return x, y


def fill_all(reader: PoolReader, pool: Pool, x: Any, y: Any) -> None:
    """Fill a pool's arrays."""
    for fill in reader.fills(pool, x, y, 2):
        fill()


# Windows of one row and of many, neighbours and others, in the toy's eras of 40 and 77 rows.
windows = st.lists(
    st.tuples(st.sampled_from([0, 2]), st.integers(0, 3), st.sampled_from([1, 2, 8, 10])),
    min_size=1,
    max_size=8,
    unique_by=lambda window: window[:2],
).map(lambda found: [(era, tenth * 10, length) for era, tenth, length in found])


@given(windows, st.integers(1, 4))
def test_every_row_of_a_pool_is_gathered_to_its_position_in_parts_of_any_size(
    toys: dict[str, Path], windows: list[tuple[int, int, int]], n_parts: int
) -> None:
    reader = PoolReader(mt.open_dataset(toys["coordinates"]), None, None)
    pool = make_pool(windows, seed=len(windows))
    x, y = reader.buffers(pool.n_rows)
    x[:], y[:] = -1, -1
    fills = reader.fills(pool, x, y, n_parts)
    for number in np.random.default_rng(n_parts).permutation(len(fills)):
        fills[number]()
    expected_x, expected_y = expected(pool)
    np.testing.assert_array_equal(x, expected_x)
    np.testing.assert_array_equal(y, expected_y)


def test_parts_write_no_position_twice(toys: dict[str, Path]) -> None:
    """Nor does the order matter in which they are done: threads do them at once."""
    reader = PoolReader(mt.open_dataset(toys["coordinates"]), None, None, direct_eras=[0])
    pool = make_pool([(0, 0, 10), (0, 20, 13), (2, 5, 9), (2, 60, 17)])
    touched = np.zeros(pool.n_rows, np.int64)
    for number in range(len(reader.fills(pool, *reader.buffers(pool.n_rows), 3))):
        x, y = reader.buffers(pool.n_rows)
        x[:], y[:] = -1, -1
        reader.fills(pool, x, y, 3)[number]()
        touched += (x != -1).all(axis=1)
        touched += 100 * (y != -1).all(axis=1)
    assert set(touched) == {101}


@pytest.mark.parametrize("direct_eras", [(), (0, 2), (2,)])
def test_padding_has_features_and_no_targets(
    toys: dict[str, Path], direct_eras: tuple[int, ...]
) -> None:
    reader = PoolReader(mt.open_dataset(toys["coordinates"]), None, None, direct_eras)
    pool = make_pool([(0, 0, 20), (0, 0, 12), (0, 20, 20), (2, 8, 30)])
    pool = replace(pool, padding=np.array([True, False, False, False]))
    x, y = reader.buffers(pool.n_rows)
    fill_all(reader, pool, x, y)
    expected_x, expected_y = expected(pool)
    is_padding = np.zeros(pool.n_rows, np.bool_)
    is_padding[pool.places[:12]] = True  # sorted: the shorter window is the first one
    np.testing.assert_array_equal(x, expected_x)
    np.testing.assert_array_equal(y[~is_padding], expected_y[~is_padding])
    assert np.isnan(y[is_padding]).all()
    part = pool.only(5, 40)
    assert part.padding is not None
    of_rows = np.repeat(part.padding, part.lengths)
    assert of_rows[np.argsort(part.places)].tolist() == is_padding[5:40].tolist()


def test_rows_that_repeat_the_window_before_are_read_once(
    toys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[int, int]] = []
    rows = DirectArray.rows

    def noted(self: DirectArray, start: int, stop: int) -> Any:
        read.append((start, stop))
        return rows(self, start, stop)

    monkeypatch.setattr(DirectArray, "rows", noted)
    reader = PoolReader(mt.open_dataset(toys["coordinates"]), None, None, [0, 2])
    eras, starts, lengths = np.array([[0, 0, 0, 2, 2], [0, 0, 20, 20, 20], [20, 9, 20, 9, 30]])
    pool = Pool(eras.astype(np.int32), starts, lengths, np.arange(88)[::-1].copy())
    x, y = reader.buffers(88)
    for fill in reader.fills(pool, x, y, 1):
        fill()
    assert read == [(0, 40), (20, 50)]  # of each era once, and neighbours together
    np.testing.assert_array_equal(x, expected(pool)[0])


@pytest.mark.parametrize("store", ["float32", "int8"])
def test_announcing_does_not_change_what_is_read(toys: dict[str, Path], store: str) -> None:
    """Whether the windows are in memory or not: their pages are dropped for the second time."""
    dataset = mt.open_dataset(toys[store])
    pool = make_pool([(0, 0, 30), (2, 10, 50), (6, 0, 1)])
    found = []
    for _ in range(2):
        reader = PoolReader(dataset, None, None)
        reader.announce(pool)
        x, y = reader.buffers(pool.n_rows)
        fill_all(reader, pool, x, y)
        found.append((reader.decode(x).tobytes(), y.tobytes()))
        if hasattr(os, "posix_fadvise"):
            for path in toys[store].glob("era-*/features.npy"):
                file = os.open(path, os.O_RDONLY)
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(file)
    assert found[0] == found[1]


def test_a_missing_file_is_announced_in_silence_and_named_when_read(make_toy: MakeToy) -> None:
    path = make_toy(n_features=N_FEATURES, n_targets=N_TARGETS, dtype="float32")
    reader = PoolReader(mt.open_dataset(path), None, None)
    (path / "era-0003" / "features.npy").unlink()
    pool = make_pool([(0, 0, 10), (2, 0, 10)])
    reader.announce(pool)
    x, y = reader.buffers(pool.n_rows)
    with pytest.raises(ShardError, match=r"era-0003.features\.npy"):
        fill_all(reader, pool, x, y)
    rest = make_pool([(0, 0, 10), (3, 0, 10)])
    fill_all(reader, rest, x, y)
    np.testing.assert_array_equal(x, expected(rest)[0])
