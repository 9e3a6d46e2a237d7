"""Tests of writing with direct I/O: the same files where it is supported and where it isn't."""

import errno
import os
import sys
import threading
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import example, given
from hypothesis import strategies as st

from memmap_train.dataset.array_file import npy_header
from memmap_train.dataset.array_writer import ArrayWriter
from memmap_train.dataset.file_digest import digest_file
from memmap_train.system.direct_io import BLOCK_BYTES
from memmap_train.system.disk_writer import DiskWriter
from tests.support.files import files_limited_to

BUFFER_BYTES = 4 * BLOCK_BYTES


def random_bytes(n: int) -> bytes:
    return np.random.default_rng(n).bytes(n)


def refuse_opening(path: str, flags: int) -> int:
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)


def open_for_reading(path: str, flags: int) -> int:
    """Open a file as on a file system that accepts the flag and refuses to write."""
    return os.open(path, os.O_RDONLY)


@pytest.fixture(params=["as it is", "no flag", "refused when opened", "refused when written"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make direct writes work as on this system, be unknown, or be refused by the file system."""
    if request.param == "no flag":
        monkeypatch.delattr(os, "O_DIRECT", raising=False)
    elif request.param == "refused when opened":
        monkeypatch.setattr("memmap_train.system.disk_writer._open_directly", refuse_opening)
    elif request.param == "refused when written":
        monkeypatch.setattr("memmap_train.system.disk_writer._UNKNOWN", (errno.EBADF,))
        monkeypatch.setattr("memmap_train.system.disk_writer._open_directly", open_for_reading)
    return str(request.param)


def test_blocks_land_at_their_offsets_in_any_order(tmp_path: Path, system: str) -> None:
    path, content = tmp_path / "file", random_bytes(20 * BLOCK_BYTES)
    path.write_bytes(b"")
    edges = [0, 1, 4, 5, 9, 10, 13, 16, 20]
    with closing(DiskWriter(2, BUFFER_BYTES)) as disk:
        futures = []
        for begin, end in reversed(list(pairwise(edges))):
            piece = content[begin * BLOCK_BYTES : end * BLOCK_BYTES]
            buffer = disk.take()
            assert len(buffer) == BUFFER_BYTES
            buffer[: len(piece)] = piece
            futures.append(disk.write(path, begin * BLOCK_BYTES, buffer, len(piece)))
        for future in futures:
            future.result()
    assert path.read_bytes() == content


def test_closing_waits_for_all_submitted_blocks(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    disk = DiskWriter(8, BUFFER_BYTES)
    for number in range(8):
        buffer = disk.take()
        buffer[:] = bytes([number]) * BUFFER_BYTES
        disk.write(path, number * BUFFER_BYTES, buffer, BUFFER_BYTES)
    disk.close()
    assert path.read_bytes() == b"".join(bytes([number]) * BUFFER_BYTES for number in range(8))
    assert [t.name for t in threading.enumerate() if t.name.startswith("disk")] == []


def test_the_number_of_buffers_in_use_never_exceeds_the_limit() -> None:
    with closing(DiskWriter(2, BUFFER_BYTES)) as disk:
        first, second = disk.take(), disk.take()
        taken: list[memoryview] = []
        waiting = threading.Thread(target=lambda: taken.append(disk.take()))
        waiting.start()
        waiting.join(0.05)
        assert taken == []
        disk.give_back(first)
        waiting.join()
        assert taken[0] is first
        disk.give_back(second)


def test_a_failed_write_is_reported_and_its_buffer_is_returned(tmp_path: Path) -> None:
    with closing(DiskWriter(1, BUFFER_BYTES)) as disk:
        for _ in range(3):
            future = disk.write(tmp_path / "absent", 0, disk.take(), BLOCK_BYTES)
            with pytest.raises(FileNotFoundError) as caught:
                future.result()
            assert caught.value.filename == tmp_path / "absent"
        disk.give_back(disk.take())


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
@pytest.mark.parametrize("limit", [BLOCK_BYTES, BLOCK_BYTES + 100, 2 * BLOCK_BYTES - 1])
def test_a_partial_write_is_reported(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    with closing(DiskWriter(1, BUFFER_BYTES)) as disk:
        buffer = disk.take()
        with files_limited_to(limit), pytest.raises(OSError, match="too large") as caught:
            disk.write(path, 0, buffer, 3 * BLOCK_BYTES).result()
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == path


# -- arrays ---------------------------------------------------------------------------------------


def written(
    path: Path | None, array: Any, edges: list[int], reserved: list[bool]
) -> tuple[int, str]:
    """Write an array in pieces, some of them filled in the disk's own buffers."""
    with closing(DiskWriter(2, array[0].nbytes * 1000 + BLOCK_BYTES)) as disk:
        writer = ArrayWriter(path, array.dtype, array.shape, disk)
        for (begin, end), is_reserved in zip(pairwise(edges), reserved, strict=False):
            if is_reserved:
                with writer.reserve(end - begin) as part:
                    assert part.shape == array[begin:end].shape
                    part[:] = array[begin:end]
            else:
                writer.append(array[begin:end])
            assert writer.rows_written == end
        return writer.finish()


@given(
    pieces=st.lists(st.integers(0, 700), min_size=1, max_size=8),
    reserved=st.lists(st.booleans(), min_size=8, max_size=8),
    width=st.integers(1, 40),
    dtype=st.sampled_from(["<f4", "i1"]),
)
@example(pieces=[0, 1], reserved=[True] * 8, width=1, dtype="i1")
@example(pieces=[31, 32, 1, 1000], reserved=[True, False] * 4, width=32, dtype="<f4")
def test_pieces_of_any_size_make_the_same_file(
    tmp_path_factory: pytest.TempPathFactory,
    pieces: list[int],
    reserved: list[bool],
    width: int,
    dtype: str,
) -> None:
    rng = np.random.default_rng(sum(pieces))
    array = rng.integers(0, 5, (sum(pieces) + 1, width)).astype(dtype)
    path = tmp_path_factory.mktemp("pieces") / "array.npy"
    edges = [0, *np.cumsum(pieces).tolist(), len(array)]
    size, digest = written(path, array, edges, [*reserved[: len(pieces)], False])
    expected = npy_header(array.dtype, array.shape) + array.tobytes()
    assert path.read_bytes() == expected
    assert size == len(expected)
    assert digest == f"xxh3_128:{xxhash.xxh3_128(expected).hexdigest()}"
    assert written(None, array, edges, [*reserved[: len(pieces)], True]) == (size, digest)


def test_arrays_are_the_same_on_every_system(tmp_path: Path, system: str) -> None:
    array = np.random.default_rng(0).random((5000, 33)).astype("<f4")
    path = tmp_path / "array.npy"
    size, digest = written(path, array, [0, 1000, 1100, 2100, 4200, 5000], [True, False] * 3)
    np.testing.assert_array_equal(np.load(path), array)
    assert (size, digest) == (path.stat().st_size, digest_file(path))


def test_a_reservation_that_is_not_filled_writes_nothing(tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((3000, 8)).astype("<f4")
    path = tmp_path / "array.npy"
    with closing(DiskWriter(1, 100_000)) as disk:
        writer = ArrayWriter(path, array.dtype, array.shape, disk)
        writer.append(array[:1000])
        for _ in range(3):
            with pytest.raises(ValueError, match="broadcast"), writer.reserve(2000) as part:
                part[:] = array
        with writer.reserve(2000) as part:
            part[:] = array[1000:]
        writer.finish()
    np.testing.assert_array_equal(np.load(path), array)


def test_a_disk_error_ends_the_writing_of_an_array(tmp_path: Path) -> None:
    array = np.zeros((3000, 8), "<f4")
    path = tmp_path / "array.npy"
    with closing(DiskWriter(2, 100_000)) as disk:
        writer = ArrayWriter(path, array.dtype, array.shape, disk)
        path.unlink()
        writer.append(array[:2000])
        with pytest.raises(FileNotFoundError):
            finish(writer, array[2000:])


def finish(writer: ArrayWriter, rest: Any) -> None:
    """Append the last rows and finish, of which either may raise the disk's error."""
    writer.append(rest)
    writer.finish()
