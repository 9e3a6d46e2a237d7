"""Tests of row spaces: rows of many files by number, whatever their sizes, on any system."""

import errno
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import memmap_train as mt
from memmap_train.dataset.array_file import opened_array
from memmap_train.dataset.shard import Shard
from memmap_train.errors import ShardError
from memmap_train.loading import stitched_map
from memmap_train.loading.stitched_map import StitchedArray
from tests.support.toy_datasets import MakeToy

Array = npt.NDArray[Any]


class Files:
    """A file, as a shard shows it."""

    def __init__(self, path: Path, array: Array, header_bytes: int) -> None:
        self.path, self.n_rows, self._array, self._header = path, len(array), array, header_bytes

    def layout(self, array: str) -> Any:
        return self._array.dtype, self._array.shape

    def header_bytes(self, array: str) -> int:
        return self._header

    def file(self, array: str) -> Path:
        return self.path

    def opened(self, array: str) -> Any:
        return opened_array(self.path, self._array.dtype, self._array.shape)


def write(folder: Path, arrays: Sequence[Array], header_bytes: int = 128) -> list[Shard]:
    """Write arrays, with as many bytes before the data."""
    shards = []
    for number, array in enumerate(arrays):
        path = folder / f"{number}.npy"
        np.save(path, array)
        data = path.read_bytes()
        start = data[:8] + (header_bytes - 10).to_bytes(2, "little") + data[10:127]
        path.write_bytes(start[:127].ljust(header_bytes - 1) + b"\n" + data[128:])
        shards.append(Files(path, array, header_bytes))
    return shards  # type: ignore[return-value]


def arrays_of(rows: Sequence[int], n_columns: int, dtype: str) -> list[Array]:
    """Return arrays of random cells."""
    random = np.random.default_rng(len(rows))
    return [
        random.integers(-100, 100, (n_rows, n_columns)).astype(dtype, casting="unsafe")
        for n_rows in rows
    ]


def everything(
    space: StitchedArray, arrays: Sequence[Array]
) -> tuple[npt.NDArray[np.int64], Array]:
    """Return the numbers of all rows in a random order, and the rows."""
    numbers = np.concatenate(
        [space.first[era] + np.arange(len(array)) for era, array in enumerate(arrays)]
    )
    order = np.random.default_rng(0).permutation(len(numbers))
    return numbers[order], np.concatenate(arrays)[order]


def refuse(descriptor: int, n_bytes: int) -> None:
    """Refuse a map, as some file systems of FUSE do."""
    raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))


@pytest.fixture(params=["grid", "file by file", "header of 192 bytes", "unmapped"])
def opened(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path, Sequence[Array]], StitchedArray]:
    """Return a function that writes arrays and opens them in one of the ways there are."""
    kind = request.param

    def make(folder: Path, arrays: Sequence[Array]) -> StitchedArray:
        shards = write(folder, arrays, 192 if kind == "header of 192 bytes" else 128)
        if kind == "file by file":
            monkeypatch.setattr(stitched_map, "addresses_can_be_chosen", lambda: False)
        elif kind == "unmapped":
            monkeypatch.setattr(stitched_map, "map_file", refuse)
        space = stitched_map.stitched_array(shards, "features")
        assert type(space).__name__ == ("_Grid" if kind == "grid" else "_FileByFile")
        return space

    return make


def unmapped(space: StitchedArray) -> bool:
    """Return whether the files are read whenever their rows are asked for."""
    arrays = getattr(space, "_arrays", [None])
    return type(arrays[0]).__name__ == "_UnmappedRows"


# -- rows and columns -----------------------------------------------------------------------------


@given(
    rows=st.lists(st.integers(1, 60), min_size=1, max_size=12),
    n_columns=st.sampled_from([1, 2, 3, 5, 7, 16, 33, 100, 1024, 1050, 4096]),
    dtype=st.sampled_from(["<f4", "|i1"]),
)
def test_rows_of_any_width_lie_on_the_grid(
    tmp_path_factory: pytest.TempPathFactory, rows: list[int], n_columns: int, dtype: str
) -> None:
    arrays = arrays_of(rows, n_columns, dtype)
    space = stitched_map.stitched_array(write(tmp_path_factory.mktemp("files"), arrays), "features")
    assert type(space).__name__ == "_Grid"
    space.require(range(len(rows)))
    numbers, expected = everything(space, arrays)
    out = np.empty_like(expected)
    space.take(numbers, out)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", ["<f4", "|i1"])
@pytest.mark.parametrize(
    "columns", [slice(0, 700), slice(3, 4), [5], [699, 0], [*range(0, 700, 3)], [7] * 30]
)
def test_columns_are_read_in_the_given_order(
    opened: Any, tmp_path: Path, columns: Any, dtype: str
) -> None:
    columns = columns if isinstance(columns, slice) else np.array(columns)
    arrays = arrays_of([300, 1, 45, 900], 700, dtype)
    space = opened(tmp_path, arrays)
    space.require(range(4))
    numbers, expected = everything(space, arrays)
    for some in (slice(0, 0), slice(0, 1), slice(None)):
        out = np.empty((len(numbers[some]), expected[:, columns].shape[1]), dtype)
        space.take_columns(numbers[some], columns, out)
        np.testing.assert_array_equal(out, expected[some][:, columns])


def test_only_requested_eras_are_mapped(opened: Any, tmp_path: Path) -> None:
    arrays = arrays_of([3, 4, 5], 10, "<f4")
    space = opened(tmp_path, arrays)
    for name in ("0.npy", "2.npy"):
        (tmp_path / name).unlink()
    space.require([1])
    out = np.empty((4, 10), np.float32)
    space.take(space.first[1] + np.arange(4)[::-1], out)
    np.testing.assert_array_equal(out, arrays[1][::-1])
    with pytest.raises(ShardError, match=r"2\.npy: the file is missing"):
        space.require([1, 2])


def test_arrays_without_columns_have_rows(tmp_path: Path) -> None:
    arrays = arrays_of([3, 4], 0, "<f4")
    space = stitched_map.stitched_array(write(tmp_path, arrays), "targets")
    space.require([0, 1])
    numbers, expected = everything(space, arrays)
    space.take(numbers, np.empty_like(expected))
    (tmp_path / "1.npy").write_bytes(b"")
    with pytest.raises(ShardError, match=r"1\.npy"):
        space.require([1])


def test_threads_may_map_and_read_at_once(opened: Any, tmp_path: Path) -> None:
    arrays = arrays_of([20] * 200, 50, "<f4")
    space = opened(tmp_path, arrays)
    numbers, expected = everything(space, arrays)
    wrong: list[int] = []

    def work(first: int) -> None:
        eras = np.roll(np.arange(200), first)
        space.require(eras.tolist())
        out = np.empty_like(expected)
        space.take(numbers, out)
        wrong.extend(np.flatnonzero((out != expected).any(axis=1)).tolist())

    threads = [threading.Thread(target=work, args=(first,)) for first in range(0, 200, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert wrong == []


# -- what is given back, what isn't there ---------------------------------------------------------


def maps_below(folder: Path) -> int:
    return sum(str(folder) in line for line in Path("/proc/self/maps").read_text().splitlines())


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system doesn't tell")
def test_maps_end_with_their_array_and_hold_no_descriptor(tmp_path: Path) -> None:
    arrays = arrays_of([20] * 30, 50, "<f4")
    space = stitched_map.stitched_array(write(tmp_path, arrays), "features")
    descriptors = os.listdir("/proc/self/fd")
    assert maps_below(tmp_path) == 0
    space.require(range(30))
    assert maps_below(tmp_path) == 30
    assert os.listdir("/proc/self/fd") == descriptors
    del space
    gc.collect()
    assert maps_below(tmp_path) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
def test_with_few_addresses_files_are_mapped_one_by_one(make_toy: MakeToy) -> None:
    """As by `ulimit -v`: a thousand features and eras take more addresses than bytes."""
    path = make_toy({f"{era:04}": 2 for era in range(1, 300)}, n_features=319, store="int8")
    code = f"""
import resource, sys
import numpy as np
import memmap_train as mt
from memmap_train.loading.batches import Batches
dataset = mt.open_dataset({str(path)!r})
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
if sys.argv[1] == "limited":
    resource.setrlimit(resource.RLIMIT_AS, (used + 250_000_000,) * 2)
batches = Batches(dataset, batch_size=50, seed=0, window_size=1, pool_batches=2)
print(type(batches.reader._features).__name__, sum(float(x.sum()) for x, _ in batches))
"""
    found = [
        subprocess.run(
            [sys.executable, "-c", code, limit], capture_output=True, text=True, check=True
        ).stdout.split()
        for limit in ("free", "limited")
    ]
    assert [name for name, _ in found] == ["_Grid", "_FileByFile"]
    assert found[0][1] == found[1][1]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts maps")
def test_the_error_of_too_many_maps_names_the_setting(make_toy: MakeToy) -> None:
    """As by a small `vm.max_map_count`: here nearly all maps are taken before."""
    path = make_toy({f"{era:04}": 2 for era in range(1, 41)})
    code = f"""
import ctypes, mmap
import numpy.random
import memmap_train as mt
from memmap_train.loading.batches import Batches
batches = Batches(mt.open_dataset({str(path)!r}), batch_size=8, seed=0, window_size=1)
library = ctypes.CDLL(None)
most = int(open("/proc/sys/vm/max_map_count").read())
taken = mmap.mmap(-1, 4096 * (2 * most + 4))
first = ctypes.addressof(ctypes.c_char.from_buffer(taken))
place = 0  # every other page is protected: each is a map of its own
def protect(pages, access):
    return library.mprotect(ctypes.c_void_p(first + place), ctypes.c_size_t(4096 * pages), access)
while protect(1, 0) == 0:
    place += 2 * 4096
place -= 2 * 20 * 4096
assert protect(2 * 20, 3) == 0  # a few are given back
try:
    for step in range(len(batches)):
        batches[step]
except mt.MemmapTrainError as error:
    print(error)
"""
    if int(Path("/proc/sys/vm/max_map_count").read_text()) > 500_000:
        pytest.skip("this system allows so many maps that taking them all takes long")
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert "features.npy: can't be mapped" in said or "targets.npy: can't be mapped" in said
    assert "sudo sysctl -w vm.max_map_count=" in said
    assert "ulimit" not in said


def test_a_truncated_file_is_named_and_a_replaced_file_is_still_read(
    opened: Any, tmp_path: Path
) -> None:
    arrays = arrays_of([3, 4, 5], 10, "<f4")
    space = opened(tmp_path, arrays)
    space.require([0, 1, 2])
    other = tmp_path / "other"
    other.write_bytes(b"shorter")
    os.replace(other, tmp_path / "0.npy")
    (tmp_path / "1.npy").unlink()
    space.require([0, 1, 2])
    out = np.empty((3, 10), np.float32)
    if unmapped(space):
        with pytest.raises(ShardError, match=r"0\.npy"):
            space.take(space.first[0] + np.arange(3), out)
    else:
        space.take(space.first[0] + np.arange(3), out)
        np.testing.assert_array_equal(out, arrays[0])
    os.truncate(tmp_path / "2.npy", 200)
    space.require([0, 1])
    with pytest.raises(ShardError, match=r"2\.npy: the file has become shorter"):
        space.require([0, 1, 2])


def test_a_dataset_is_read_in_either_way(
    toys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read() -> list[bytes]:
        dataset = mt.open_dataset(toys["nulls int8"])
        batches = mt.Batches(dataset, batch_size=20, seed=5, window_size=4, pool_batches=3)
        return [array.tobytes() for batch in batches for array in batch]

    expected = read()
    monkeypatch.setattr(stitched_map, "addresses_can_be_chosen", lambda: False)
    assert read() == expected
    monkeypatch.setattr(stitched_map, "map_file", refuse)
    assert read() == expected
