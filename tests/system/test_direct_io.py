"""Tests of rows that are read with direct I/O."""

import errno
import gc
import os
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memmap_train.dataset.direct_array import DirectArray
from memmap_train.dataset.file_digest import FileStamp, digest_file
from memmap_train.errors import ShardError
from memmap_train.loading.page_cache import drop, resident_bytes
from memmap_train.system.direct_io import can_read_directly
from tests.support.errors import refused

N_ROWS, N_COLUMNS = 1000, 37


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("direct") / "features.npy"
    np.save(path, np.arange(N_ROWS * N_COLUMNS, dtype=np.float32).reshape(N_ROWS, N_COLUMNS))
    if not can_read_directly(path):
        pytest.skip("this file system can't read past the page cache")
    return path


def opened(path: Path) -> DirectArray:
    return DirectArray(path, np.dtype(np.float32), (N_ROWS, N_COLUMNS))


@given(st.integers(0, N_ROWS - 1), st.integers(1, N_ROWS))
def test_direct_reads_return_the_rows_of_the_file(path: Path, start: int, n_rows: int) -> None:
    stop = min(N_ROWS, start + n_rows)
    rows = opened(path).rows(start, stop)
    np.testing.assert_array_equal(rows, np.load(path)[start:stop])


def test_codes_are_read_as_int8(tmp_path: Path, path: Path) -> None:
    codes = np.random.default_rng(0).integers(0, 5, (99, 1050)).astype(np.int8)
    np.save(tmp_path / "codes.npy", codes)
    array = DirectArray(
        tmp_path / "codes.npy",
        codes.dtype,
        codes.shape,
    )
    np.testing.assert_array_equal(array.rows(7, 98), codes[7:98])


def test_a_file_that_shrinks_or_is_emptied_is_named(tmp_path: Path, path: Path) -> None:
    for size in (path.stat().st_size - 5000, 4096, 0):
        copy = tmp_path / "features.npy"
        copy.write_bytes(path.read_bytes())
        array = opened(copy)
        os.truncate(copy, size)
        with pytest.raises(ShardError, match=r"features\.npy: the file has become shorter"):
            array.rows(N_ROWS - 100, N_ROWS)


def test_another_file_of_the_same_name_is_refused(tmp_path: Path, path: Path) -> None:
    copy = tmp_path / "features.npy"
    copy.write_bytes(path.read_bytes())
    stamp = FileStamp(copy.stat(), time.time_ns(), digest_file(copy))
    DirectArray(copy, np.dtype(np.float32), (N_ROWS, N_COLUMNS), stamp)
    copy.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ShardError, match="another file than when the dataset was opened"):
        DirectArray(copy, np.dtype(np.float32), (N_ROWS, N_COLUMNS), stamp)


def test_direct_reads_do_not_fill_the_page_cache(tmp_path: Path, path: Path) -> None:
    """The page cache holds nothing of a file that was dropped from it and read."""
    copy = tmp_path / "features.npy"
    copy.write_bytes(path.read_bytes())
    os.sync()
    array = opened(copy)
    drop([copy])
    if resident_bytes(copy):
        pytest.skip("this file system keeps what it is asked to drop")
    array.rows(0, N_ROWS)
    assert resident_bytes(copy) == 0


def test_a_file_is_closed_when_it_is_dropped(path: Path) -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("this system doesn't list open files")
    gc.collect()
    array = opened(path)
    assert n_open(path) == 1
    del array
    gc.collect()
    assert n_open(path) == 0


def n_open(path: Path) -> int:
    """Return the number of descriptors that this process has open on a file."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # that of the listing itself
            found += os.readlink(descriptor) == str(path)
    return found


def test_refusing_a_file_that_is_not_an_array_leaves_no_descriptor_open(tmp_path: Path) -> None:
    (tmp_path / "features.npy").write_bytes(b"no array at all")
    with pytest.raises(ShardError, match=r"not a \.npy file"):
        opened(tmp_path / "features.npy")


def test_a_file_system_without_direct_reads_is_read_through_the_page_cache(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, command: int, flags: int) -> int:
        assert flags & os.O_DIRECT
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("fcntl.fcntl", refuse)
    array = opened(path)
    for start, stop in ((0, N_ROWS), (3, 4), (N_ROWS - 5, N_ROWS)):
        np.testing.assert_array_equal(array.rows(start, stop), np.load(path)[start:stop])


def test_a_file_that_cannot_be_reopened_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "dup", refuse)
    with refused(ShardError, str(path), "Too many open files"):
        opened(path)


def test_a_missing_file_cannot_be_read_directly(tmp_path: Path) -> None:
    assert not can_read_directly(tmp_path / "nothing")
