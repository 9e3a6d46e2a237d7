"""Tests of one era's arrays on disk: written in pieces, opened, and damaged."""

import errno
import gc
import mmap
import os
import shutil
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from memmap_train.dataset.array_file import check_array, npy_header, open_array
from memmap_train.dataset.array_writer import ArrayWriter
from memmap_train.dataset.file_digest import FileStamp, digest_file
from memmap_train.errors import ShardError
from tests.support.errors import refused

Array = np.ndarray[Any, np.dtype[Any]]

FEATURES = np.arange(60, dtype="<f4").reshape(12, 5)

LAYOUTS = [
    FEATURES,
    np.arange(60, dtype="i1").reshape(12, 5),
    np.empty((12, 0), "<f4"),
    np.array([f"n{row:015x}".encode() for row in range(12)], "S16"),
    np.array([b"a"], "S1"),
    np.zeros((1, 4000), "i1"),
]


def write(path: Path, array: Array, pieces: int = 3) -> tuple[int, str]:
    writer = ArrayWriter(path, array.dtype, array.shape)
    for piece in np.array_split(array, pieces):
        writer.append(piece)
    assert writer.rows_written == len(array)
    return writer.finish()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return an undamaged file, which the test may damage."""
    write(tmp_path / "features.npy", FEATURES)
    return tmp_path / "features.npy"


def refuse_maps(monkeypatch: pytest.MonkeyPatch, *refused: int, number: int = errno.ENODEV) -> None:
    """Make memory maps with this access fail, as on some FUSE file systems."""
    make = mmap.mmap

    def map_or_refuse(descriptor: int, n_bytes: int, **options: Any) -> mmap.mmap:
        if options["access"] in refused:
            raise OSError(number, os.strerror(number))
        return make(descriptor, n_bytes, **options)

    monkeypatch.setattr(mmap, "mmap", map_or_refuse)


def open_features(file: Path) -> Array:
    return open_array(file, FEATURES.dtype, FEATURES.shape)


@pytest.mark.parametrize("array", LAYOUTS, ids=lambda array: f"{array.dtype.str}-{array.shape}")
def test_a_written_array_is_loaded_by_numpy_and_opened_unchanged(
    tmp_path: Path, array: Array
) -> None:
    path = tmp_path / "array.npy"
    size, digest = write(path, array)
    assert size == path.stat().st_size
    assert digest == digest_file(path)
    loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    opened = open_array(path, array.dtype, array.shape)
    for found in (loaded, opened):
        assert found.dtype == array.dtype
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found, array)
    check_array(path, array.dtype, array.shape)


@pytest.mark.parametrize("array", LAYOUTS, ids=lambda array: f"{array.dtype.str}-{array.shape}")
def test_files_equal_the_bytes_that_numpy_saves(tmp_path: Path, array: Array) -> None:
    write(tmp_path / "ours.npy", array)
    np.save(tmp_path / "numpys.npy", array, allow_pickle=False)
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "numpys.npy").read_bytes()


def test_headers_have_128_bytes_so_that_the_size_of_an_ids_file_gives_its_width() -> None:
    for dtype in ("<f4", "i1", "S1", "S4096"):
        for shape in ((1,), (7_309, 3_555), (10**9, 100_000)):
            assert len(npy_header(np.dtype(dtype), shape)) == 128


@given(st.lists(st.integers(0, 5), max_size=6))
def test_pieces_of_any_size_make_the_same_file(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    array = np.arange(sum(sizes) * 3, dtype="i1").reshape(-1, 3)
    path = tmp_path_factory.mktemp("pieces") / "array.npy"
    writer = ArrayWriter(path, array.dtype, array.shape)
    edges = np.cumsum([0, *sizes])
    for begin, end in pairwise(edges):
        writer.append(array[begin:end])
    size, digest = writer.finish()
    expected = npy_header(array.dtype, array.shape) + array.tobytes()
    assert path.read_bytes() == expected
    assert size == len(expected)
    assert digest == f"xxh3_128:{xxhash.xxh3_128(expected).hexdigest()}"


def test_open_writers_hold_no_file_descriptors(tmp_path: Path) -> None:
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("this system doesn't list open files")
    gc.collect()  # others' files close when they are collected
    before = len(list(descriptors.iterdir()))
    writers = [
        ArrayWriter(tmp_path / f"{i}.npy", FEATURES.dtype, FEATURES.shape) for i in range(50)
    ]
    for writer in writers:
        writer.append(FEATURES)
    assert len(list(descriptors.iterdir())) == before


def test_a_file_that_another_process_changed_is_not_finished(tmp_path: Path) -> None:
    path = tmp_path / "features.npy"
    writer = ArrayWriter(path, FEATURES.dtype, FEATURES.shape)
    writer.append(FEATURES)
    path.write_bytes(path.read_bytes() + b"x")
    with refused(ShardError, str(path), "expected 368 bytes", "found 369"):
        writer.finish()


def test_opened_arrays_are_read_only_and_outlive_their_file(file: Path) -> None:
    array = open_features(file)
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1
    file.unlink()
    np.testing.assert_array_equal(array, FEATURES)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for opening in (open_array, check_array):
        with refused(ShardError, str(tmp_path / "no.npy"), "missing"):
            opening(tmp_path / "no.npy", FEATURES.dtype, FEATURES.shape)


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    for opening in (open_array, check_array):
        with refused(ShardError, str(tmp_path)):
            opening(tmp_path, FEATURES.dtype, FEATURES.shape)


def test_a_file_in_the_place_of_the_shards_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "era-0001").write_text("a file")
    for opening in (open_array, check_array):
        with refused(ShardError, str(tmp_path)):
            opening(tmp_path / "era-0001" / "features.npy", FEATURES.dtype, FEATURES.shape)


@pytest.mark.parametrize("n_bytes", [0, 1, 60, 127, 128, 200, 367])
def test_a_file_cut_short_is_refused(file: Path, n_bytes: int) -> None:
    file.write_bytes(file.read_bytes()[:n_bytes])
    for opening in (open_array, check_array):
        with refused(ShardError, str(file)):
            opening(file, FEATURES.dtype, FEATURES.shape)


def test_a_truncated_or_too_long_file_is_reported_with_both_sizes(file: Path) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with refused(ShardError, "cut short", "expected 368 bytes", "found 367"):
        open_features(file)
    file.write_bytes(whole + b"\0")
    with refused(ShardError, "too long", "expected 368 bytes", "found 369"):
        open_features(file)


@pytest.mark.parametrize(
    "other",
    [
        FEATURES.astype("<f8"),
        FEATURES.astype(">f4"),
        FEATURES.astype("<i4"),
        np.asfortranarray(FEATURES),
        FEATURES.reshape(5, 12),
        FEATURES.reshape(12, 5, 1),
        FEATURES.ravel(),
        np.array([{}], object),
    ],
    ids=lambda array: f"{array.dtype.str}-{array.shape}",
)
def test_another_dtype_shape_or_order_is_refused(tmp_path: Path, other: Array) -> None:
    path = tmp_path / "features.npy"
    np.save(path, other)
    for opening in (open_array, check_array):
        with refused(ShardError, str(path), "expected '<f4' (12, 5)", other.dtype.str):
            opening(path, FEATURES.dtype, FEATURES.shape)


def test_no_flipped_byte_of_a_header_goes_unnoticed_or_ends_in_a_traceback(file: Path) -> None:
    good = file.read_bytes()
    for position in range(67):  # then a comma and padding, where other white space says the same
        for flip in (1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0xFF):
            damaged = bytearray(good)
            damaged[position] ^= flip
            file.write_bytes(damaged)
            with refused(ShardError, str(file)):
                open_features(file)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\x00",
        b"{",
        b"(" * 9000,
        b"-" * 9000 + b"1",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (12, 5), 'more': 1}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (-12, 5)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (12L, 5L)}",
        b"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (12, 5)}",
        b"{'descr': 5, 'fortran_order': 0, 'shape': '12'}",
        b"{'descr': 'a\\nb', 'fortran_order': False, 'shape': (12, 5)}",
        b"{'descr': '" + b"x" * 3000 + b"', 'fortran_order': False, 'shape': (12, 5)}",
        b"__import__('os').abort()",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': 0x" + b"F" * 4000 + b"}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"9" * 4000 + b", 5)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (12, 5), 'shape': (12, 5)}",
        b"{'descr': '\\d', 'fortran_order': False, 'shape': (12, 5)}",
    ],
    ids=lambda said: said[:40].decode("latin-1").strip(),
)
def test_a_malicious_header_is_refused(file: Path, said: bytes) -> None:
    header = b"\x93NUMPY\x01\x00" + len(said).to_bytes(2, "little") + said
    file.write_bytes(header + FEATURES.tobytes())
    with refused(ShardError, str(file)):
        open_features(file)


HEADER_BITS = b"0123456789 ()[]{}',:.-xeEj\\\n\x00\xff<>|fiTF"


def test_a_randomly_changed_header_is_refused_or_equivalent(file: Path) -> None:
    """4,000 headers with bytes flipped, replaced, cut out and put in."""
    good = file.read_bytes()
    random = np.random.default_rng([5, 1])
    n_accepted = 0
    for _ in range(4000):
        header = bytearray(good[:128])
        for _ in range(random.integers(1, 4)):
            place = int(random.integers(len(header)))
            match random.integers(4):
                case 0:
                    header[place] ^= 1 << int(random.integers(8))
                case 1:
                    header[place] = random.choice(list(HEADER_BITS))
                case 2:
                    del header[place : place + int(random.integers(1, 4))]
                case 3:
                    header[place:place] = bytes(random.choice(list(HEADER_BITS), 3).tolist())
        header[8:10] = (len(header) - 10).to_bytes(2, "little")
        file.write_bytes(header + good[128:])
        try:
            array = open_features(file)
        except ShardError as error:
            (_,) = str(error).split("\n")
            continue
        np.testing.assert_array_equal(array, FEATURES)
        np.testing.assert_array_equal(np.load(file), FEATURES)
        n_accepted += 1
    assert 20 < n_accepted < 2000


def test_an_equivalent_header_is_accepted(file: Path) -> None:
    data = file.read_bytes()[128:]
    for said in (
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (12, 5), }",
        b"{'descr':'<f4','fortran_order':False,'shape':(12,5)}\n",
        b"{ 'descr':  '<f4', 'fortran_order': False, 'shape': ( 12 , 5 ), }" + b" " * 200 + b"\n",
    ):
        file.write_bytes(b"\x93NUMPY\x01\x00" + len(said).to_bytes(2, "little") + said + data)
        np.testing.assert_array_equal(open_features(file), FEATURES)
        np.testing.assert_array_equal(np.load(file), FEATURES)


@given(arrays("u1", st.integers(0, 300)))
def test_arbitrary_bytes_never_end_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, content: Array
) -> None:
    path = tmp_path_factory.getbasetemp() / "anything.npy"
    path.write_bytes(content.tobytes())
    with refused(ShardError, str(path)):
        open_features(path)


def test_the_digest_covers_all_bytes_of_files_of_any_size(tmp_path: Path) -> None:
    for n_bytes in (0, 1, 8_000_000, 8_000_001):
        content = bytes(n_bytes - 1) + b"x" if n_bytes else b""
        path = tmp_path / "file"
        path.write_bytes(content)
        assert digest_file(path) == f"xxh3_128:{xxhash.xxh3_128(content).hexdigest()}"


@pytest.mark.parametrize(
    ("refused_maps", "is_mapped"),
    [((mmap.ACCESS_READ,), True), ((mmap.ACCESS_READ, mmap.ACCESS_COPY), False)],
    ids=["shared", "all"],
)
@pytest.mark.parametrize("array", LAYOUTS, ids=lambda array: f"{array.dtype.str}-{array.shape}")
def test_an_array_is_the_same_where_memory_maps_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    array: Array,
    refused_maps: tuple[int, ...],
    is_mapped: bool,
) -> None:
    write(tmp_path / "array.npy", array)
    before = (tmp_path / "array.npy").read_bytes()
    refuse_maps(monkeypatch, *refused_maps)
    found = open_array(tmp_path / "array.npy", array.dtype, array.shape)
    assert isinstance(found, np.memmap) == is_mapped
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(found, array)
    assert not found.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        found[:] = found[:]
    assert (tmp_path / "array.npy").read_bytes() == before


def test_too_few_addresses_for_a_map_do_not_fill_the_memory_instead(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_maps(monkeypatch, mmap.ACCESS_READ, mmap.ACCESS_COPY, number=errno.ENOMEM)
    with refused(ShardError, str(file), "ulimit"):
        open_features(file)


# -- the same file or another one ---------------------------------------------------------------

LONG_AGO = 10**18  # nanoseconds: the year 2001


def other_content(path: Path) -> bytes:
    return path.read_bytes()[:-1] + b"?"


def times_alone_decide(path: Path, stamp: FileStamp) -> bool:
    """Return whether a file with another content is recognized, because its times are trusted."""
    stamp._digest = "of something else"
    try:
        open_array(path, FEATURES.dtype, FEATURES.shape, stamp)
    except ShardError:
        return False
    return True


def test_a_file_with_unchanged_old_times_is_recognized_without_being_read(file: Path) -> None:
    os.utime(file, ns=(LONG_AGO, LONG_AGO))
    assert times_alone_decide(file, FileStamp(file.stat(), time.time_ns(), digest_file(file)))


def test_times_newer_than_the_clock_resolution_are_not_trusted(file: Path) -> None:
    """A change within the clock's resolution: the same times, size and inode, other content."""
    whole = digest_file(file)
    file.write_bytes(other_content(file))
    stamp = FileStamp(file.stat(), time.time_ns(), whole)
    with refused(ShardError, str(file), "another file than when", "--resume", "verify"):
        open_array(file, FEATURES.dtype, FEATURES.shape, stamp)


def test_times_later_than_the_stamp_are_not_trusted(file: Path) -> None:
    """The clock of a file server may be ahead."""
    asked = time.time_ns() - 10**12
    assert not times_alone_decide(file, FileStamp(file.stat(), asked, digest_file(file)))
    asked = time.time_ns() + 10**12
    assert times_alone_decide(file, FileStamp(file.stat(), asked, digest_file(file)))


def test_a_file_that_was_touched_or_copied_is_recognized_by_its_content(file: Path) -> None:
    os.utime(file, ns=(LONG_AGO, LONG_AGO))
    stamp = FileStamp(file.stat(), time.time_ns(), digest_file(file))
    copy = file.with_name("copy")
    shutil.copy2(file, copy)
    os.replace(copy, file)  # another inode, the same times but for that of the change
    opened = open_array(file, FEATURES.dtype, FEATURES.shape, stamp)
    np.testing.assert_array_equal(opened, FEATURES)
    os.utime(file, ns=(LONG_AGO, LONG_AGO + 1))
    opened = open_array(file, FEATURES.dtype, FEATURES.shape, stamp)
    np.testing.assert_array_equal(opened, FEATURES)
    assert times_alone_decide(file, stamp)  # from then on these times are known


@pytest.mark.parametrize("in_place", [True, False])
def test_another_file_is_refused_even_with_the_same_inode(file: Path, in_place: bool) -> None:
    """A new file often gets the inode number of one that was just removed."""
    whole, other = file.read_bytes(), other_content(file)
    for _ in range(500):
        file.write_bytes(whole)
        os.utime(file, ns=(LONG_AGO, LONG_AGO))
        stamp = FileStamp(file.stat(), time.time_ns(), digest_file(file))
        if not in_place:
            file.unlink()
        file.write_bytes(other)
        with refused(ShardError, str(file), "another file than when the dataset was opened"):
            open_array(file, FEATURES.dtype, FEATURES.shape, stamp)
