"""One era on disk: its arrays written, opened and checked.

A shard is a folder of plain `.npy` files (numpy's format 1.0, C order, little endian):
`features.npy`, `targets.npy`, `counts.npy` (which codes each feature has in how many rows) and,
where the source has ids, `ids.npy`. Nothing here knows a manifest or another era. Files are only
ever written beside their final name and published by renaming the folder: a shard is whole or
absent, and is never rewritten in place (a file that shrinks under a map would kill its readers).
"""

import errno
import io
import mmap
import os
import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import lru_cache
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import ShardError
from ..system.checksum import Checksum
from ..system.disk_writer import BLOCK_BYTES, DiskWriter
from ..system.durable import sync_file
from ..system.resources import most_maps

Array = npt.NDArray[np.generic]

ARRAY_NAMES = ("features", "targets", "ids", "counts")
N_COUNTS = 6
"""Columns of `counts`: rows that hold code 0, 1, 2, 3, 4, and rows where it is missing."""
HEADER_BYTES = 128  # of the files that this package writes; others' headers are parsed
MAX_HEADER_BYTES = 4096
_HEADER = re.compile(
    rb"\{ *'descr': *('[\w<>=|]*'), *'fortran_order': *(True|False), *"
    rb"'shape': *\(([0-9, ]*)\),? *\}[ \n]*"
)
DIGEST_BYTES = 1_000_000  # of a buffer: read and hashed at once, within a core's own cache
_CLOCK_STEP = 2_000_000_000  # nanoseconds between two times that a file system tells apart (FAT)


@lru_cache(maxsize=256)
def npy_header(dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> bytes:
    """Return the bytes that stand before the data in a C-ordered `.npy` file (format 1.0)."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer,
        {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": False,
            "shape": shape,
        },
    )
    header = buffer.getvalue()
    assert len(header) == HEADER_BYTES  # numpy pads to 64, so that the shape may grow
    return header


class ArrayWriter:
    """Writes one `.npy` file front to back from many pieces, and digests what it writes.

    No descriptor is held between pieces: any number of eras can be under way at once.

    Parameters
    ----------
    path : Path or None
        A file that doesn't exist yet; None to digest the rows and write nothing.
    dtype : numpy.dtype
    shape : tuple of int
        The whole array's shape; known before the first row.
    disk : DiskWriter, optional
        Takes large arrays past the page cache; without it, rows are written when they come.
    """

    def __init__(
        self,
        path: Path | None,
        dtype: np.dtype[np.generic],
        shape: tuple[int, ...],
        disk: DiskWriter | None = None,
    ) -> None:
        self._path, self._dtype, self._shape, self._disk = path, dtype, shape, disk
        header = npy_header(dtype, shape)
        self._header_bytes = len(header)
        self._row_bytes = dtype.itemsize * prod(shape[1:])
        self._digest = Checksum(header)
        self._rows_written = 0
        self._rest = header  # of what is to be written: less than a block of the disk
        self._handed_over = 0  # bytes before it, written or about to be
        self._writing: list[Future[None]] = []
        if path is not None:
            path.write_bytes(b"" if disk else header)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Of the rows."""
        return self._dtype

    @property
    def rows_written(self) -> int:
        """Rows written so far."""
        return self._rows_written

    def append(self, rows: Array) -> None:
        """Write the next rows: an array of the writer's dtype, C order, shape (n, …)."""
        assert rows.dtype == self._dtype
        assert rows.shape[1:] == self._shape[1:]
        assert rows.flags.c_contiguous
        assert self._rows_written + len(rows) <= self._shape[0]
        if rows.nbytes and self._disk is not None:
            at_once = max(1, (self._disk.buffer_bytes - BLOCK_BYTES) // self._row_bytes)
            for first in range(0, len(rows), at_once):
                some = rows[first : first + at_once]
                with self.reserve(len(some)) as reserved:
                    np.copyto(reserved, some)
            return
        if rows.nbytes:
            view = rows.reshape(-1).view(np.uint8).data
            self._digest.update(view)
            if self._path is not None:
                with open(self._path, "r+b", buffering=0) as file:
                    file.seek(0, os.SEEK_END)
                    while view:
                        view = view[file.write(view) :]
        self._rows_written += len(rows)

    @contextmanager
    def reserve(self, n_rows: int) -> Iterator[Array]:
        """Yield an array of shape (n_rows, …) for the next rows; it is written when the block ends.

        For a writer with a `disk`: what is filled is what the disk reads. `n_rows` rows and a
        block of the disk must fit into one of its buffers.
        """
        assert self._disk is not None
        assert self._rows_written + n_rows <= self._shape[0]
        for future in self._writing:
            if future.done():
                future.result()  # raises what it ran into
        self._writing = [future for future in self._writing if not future.done()]
        buffer = self._disk.take()
        try:
            begin, end = len(self._rest), len(self._rest) + n_rows * self._row_bytes
            buffer[:begin] = self._rest
            rows = buffer[begin:end]
            yield np.frombuffer(rows, self._dtype).reshape(n_rows, *self._shape[1:])
            self._digest.update(rows)
            self._rows_written += n_rows
            if self._path is None:
                end = begin
            whole = end - end % BLOCK_BYTES
            self._rest = bytes(buffer[whole:end])
        except BaseException:
            self._disk.give_back(buffer)
            raise
        if whole:
            assert self._path is not None
            self._writing.append(self._disk.write(self._path, self._handed_over, buffer, whole))
            self._handed_over += whole
        else:
            self._disk.give_back(buffer)

    def finish(self) -> tuple[int, str]:
        """Make the file durable; return its size in bytes and its digest.

        Raises
        ------
        ShardError
            The file isn't as long as what was written: somebody else touched it.
        """
        assert self._rows_written == self._shape[0]
        expected = self._header_bytes + self._dtype.itemsize * int(np.prod(self._shape))
        if self._path is not None:
            for future in self._writing:
                future.result()
            with open(self._path, "r+b") as file:
                if self._disk is not None:
                    file.seek(self._handed_over)
                    file.write(self._rest)
                    file.flush()
                size = os.fstat(file.fileno()).st_size
                sync_file(file.fileno())
            if size != expected:
                raise ShardError(f"{self._path}: expected {expected:,} bytes, found {size:,}")
        return expected, self._digest.text


class FileStamp:
    """What a file is recognized by when it is opened again: its times, or else its digest.

    A file with the same times has the same content, unless it was changed so soon after it was
    looked at that the clock hadn't moved on. Where the times differ (a file was touched or copied),
    or were too fresh to mean anything, the content decides. Inode numbers take no part: some
    network file systems give the same file another one, and others give a new file the number of
    one that was removed a moment ago.

    Parameters
    ----------
    status : os.stat_result
        Of the file.
    asked : int
        `time.time_ns()` before the system was asked for it.
    digest : str
        Of the file, as the manifest has it.
    """

    __slots__ = ("_digest", "_times")

    def __init__(self, status: os.stat_result, asked: int, digest: str) -> None:
        self._digest = digest
        self._times = _settled_times(status, asked)

    def check(self, file: io.FileIO, path: Path) -> None:
        """Raise a ShardError if an open file has another content; thread-safe."""
        asked = time.time_ns()
        status = os.fstat(file.fileno())
        if self._times == _times(status):
            return
        file.seek(0)
        if _digest_of(file) != self._digest:
            raise ShardError(
                f"{path}: another file than when the dataset was opened: it was updated or changed "
                "meanwhile; open it again (a run resumes with --resume); `memmap-train verify` "
                "lists all that is wrong"
            )
        self._times = _settled_times(status, asked)  # from here on these are known


def _times(status: os.stat_result) -> tuple[int, int]:
    """Return when a file's content, and anything of it, was changed, in nanoseconds."""
    if sys.platform == "win32":  # where the other time is that of its creation
        return status.st_mtime_ns, status.st_mtime_ns
    return status.st_mtime_ns, status.st_ctime_ns


def _settled_times(status: os.stat_result, asked: int) -> tuple[int, int] | None:
    """Return a file's times, unless a change right after they were asked for could repeat them.

    A change sets both times to the present, so one that lies well back is enough.
    """
    times = _times(status)
    return times if min(times) < asked - _CLOCK_STEP else None


@contextmanager
def opened_array(
    path: Path,
    dtype: np.dtype[np.generic],
    shape: tuple[int, ...],
    stamp: FileStamp | None = None,
) -> Iterator[tuple[io.FileIO, int]]:
    """Open one `.npy` file after checking that it holds what is expected.

    Parameters
    ----------
    path : Path
    dtype : numpy.dtype
    shape : tuple of int
        What the manifest says the file holds.
    stamp : FileStamp, optional
        Of the file that was there when the manifest was read.

    Returns
    -------
    file : io.FileIO
    offset : int
        Where its data begin.

    Raises
    ------
    ShardError
        The file is missing, cut short, too long, another one than before, or holds another dtype
        or shape.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            advise(file.fileno(), "RANDOM")  # the header alone: no megabytes ahead of it
            offset = _check_file(file, path, dtype, shape)
            if stamp is not None:
                stamp.check(file, path)
            yield file, offset
    except OSError as error:
        raise _explained(error, path) from None


def open_array(
    path: Path,
    dtype: np.dtype[np.generic],
    shape: tuple[int, ...],
    stamp: FileStamp | None = None,
) -> Array:
    """Map one `.npy` file read-only, after the checks of `opened_array`.

    Where the file system refuses shared maps, the map is a private one. Where it refuses all maps,
    the array is read into memory.
    """
    with opened_array(path, dtype, shape, stamp) as (file, offset):
        array: Array | None = None
        for mode in ("r", "c"):
            try:
                array = np.memmap(file, dtype=dtype, mode=mode, offset=offset, shape=shape)
                break
            except OSError as error:
                if error.errno == errno.ENOMEM:
                    raise
        if array is None:
            array = np.empty(shape, dtype)
            file.seek(offset)
            read_into(file, array)
        array.flags.writeable = False
        return array


def advise(descriptor: int, advice: str, start: int = 0, n_bytes: int = 0) -> None:
    """Tell the kernel how a part of an open file will be read, where it can be told.

    Parameters
    ----------
    descriptor : int
    advice : {"RANDOM", "SEQUENTIAL", "WILLNEED", "DONTNEED"}
    start, n_bytes : int
        By default the whole file.
    """
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):  # some kernels and sandboxes know the call and refuse it
            os.posix_fadvise(descriptor, start, n_bytes, getattr(os, f"POSIX_FADV_{advice}"))


def map_file(descriptor: int, n_bytes: int) -> mmap.mmap:
    """Map the first bytes of an open file read-only, without keeping a descriptor if possible.

    The map is a private one where systems make a difference: more file systems allow it.

    Raises
    ------
    OSError
        The file system allows no maps, or the process may not have as many addresses.
    """
    if not hasattr(mmap, "MAP_PRIVATE"):  # on Windows
        return mmap.mmap(descriptor, n_bytes, access=mmap.ACCESS_READ)
    options = {"trackfd": False} if sys.version_info >= (3, 13) else {}
    return mmap.mmap(descriptor, n_bytes, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ, **options)


def read_into(file: io.FileIO, out: Array) -> None:
    """Fill an array, in C order, with the bytes that follow in a file.

    Raises
    ------
    ShardError
        The file ends before.
    """
    left = out.reshape(-1).view(np.uint8).data
    while left:
        n_bytes = file.readinto(left)
        if not n_bytes:
            raise become_shorter(Path(os.fsdecode(file.name)))
        left = left[n_bytes:]


def check_array(path: Path, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> int:
    """Check one `.npy` file as `opened_array` does; return where its data begin."""
    with opened_array(path, dtype, shape) as (_, offset):
        return offset


def become_shorter(path: Path) -> ShardError:
    """Return the error for a file that was whole when it was opened."""
    return ShardError(
        f"{path}: the file has become shorter while it was read; "
        "`memmap-train verify` lists all that is wrong"
    )


def digest_file(path: Path, buffer: bytearray | memoryview | None = None) -> str:
    """Return the digest of a whole file as `xxh3_128:<hex>`.

    Parameters
    ----------
    path : Path
    buffer : bytearray or memoryview, optional
        To read into, of `DIGEST_BYTES` at best: one for many files spares their memory.
    """
    with open(path, "rb", buffering=0) as file:
        return _digest_of(file, buffer)


def _digest_of(file: io.FileIO, buffer: bytearray | memoryview | None = None) -> str:
    """Return the digest of an open file from its present position on."""
    advise(file.fileno(), "SEQUENTIAL")  # the kernel reads further ahead
    if buffer is None:
        buffer = bytearray(min(DIGEST_BYTES, os.fstat(file.fileno()).st_size) or 1)
    view = memoryview(buffer)
    digest = Checksum()
    while n_bytes := file.readinto(buffer):
        digest.update(view[:n_bytes])
    return digest.text


class MapDigest:
    """The digest of a file that is mapped, taken while its rows are read.

    Parameters
    ----------
    path : Path
    array : ndarray
        All of its rows.
    """

    def __init__(self, path: Path, array: Array) -> None:
        try:
            with open(path, "rb") as file:
                header = file.read(os.fstat(file.fileno()).st_size - array.nbytes)
        except OSError as error:
            raise _explained(error, path) from None
        self._path, self._digest = path, Checksum(header)

    def update(self, rows: Array) -> None:
        """Take the next rows."""
        if rows.nbytes:
            self._digest.update(rows.reshape(-1).view(np.uint8).data)

    def check(self, expected: str) -> None:
        """Raise a ShardError if all rows together don't have this digest."""
        found = self._digest.text
        if found != expected:
            raise ShardError(
                f"{self._path}: damaged: expected the digest {expected}, found {found}; "
                "`memmap-train verify` lists all that is wrong; convert its sources again with "
                "--overwrite"
            )


def _explained(error: OSError, path: Path) -> ShardError:
    if isinstance(error, ShardError):
        return error
    if error.errno == errno.ENOMEM and (most := most_maps()):
        return ShardError(
            f"{path}: can't be mapped: this system allows a process {most:,} maps, and every array "
            f"of an era takes one or two; allow more with `sudo sysctl -w vm.max_map_count="
            f"{8 * most}`"
        )
    if error.errno == errno.ENOMEM:
        return ShardError(
            f"{path}: can't be mapped: this process may not have as many addresses; raise the "
            "limit with `ulimit -v unlimited`"
        )
    return ShardError(f"{path}: {why_unreadable(error, path)}")


def why_unreadable(error: OSError, path: Path) -> str:
    """Say why a file of a dataset couldn't be opened or looked at."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        return f"can't be read: {error.strerror}"
    for linked in (path, path.parent):
        if linked.is_symlink() and not linked.exists():
            return f"the file is missing: {linked.name} is a link to nothing"
    return "the file is missing"


def _check_file(
    file: io.FileIO,
    path: Path,
    dtype: np.dtype[np.generic],
    shape: tuple[int, ...],
) -> int:
    """Return the offset of the data, or raise a ShardError."""
    expected_header = npy_header(dtype, shape)
    offset = len(expected_header)
    if file.read(offset) != expected_header:  # the header we write: no parsing needed
        offset, *found = _parse_header(file, path)
        expected = [repr(dtype.str), "False", ", ".join(map(str, shape))]
        if found != expected:
            descr, fortran_order, sizes = found
            in_order = " in Fortran order" if fortran_order == "True" else ""
            raise ShardError(
                f"{path}: expected {expected[0]} ({expected[2]}), found {descr:.40} ({sizes:.40})"
                f"{in_order}"
            )
    size = os.fstat(file.fileno()).st_size
    expected_size = offset + dtype.itemsize * prod(shape)
    if size != expected_size:
        how = "cut short" if size < expected_size else "too long"
        raise ShardError(
            f"{path}: {how}: expected {expected_size:,} bytes, found {size:,}; "
            "`memmap-train verify` lists all that is wrong"
        )
    return offset


def _parse_header(file: io.FileIO, path: Path) -> tuple[int, str, str, str]:
    """Return the offset of the data, and dtype, order and sizes of a header that isn't ours.

    It may be hostile: numpy's own parser, and Python's, warn about some of what can stand there, or
    fail on it in ways of their own. So it is matched, and read as text.
    """
    file.seek(0)
    start = file.read(10)
    n_bytes = int.from_bytes(start[8:], "little")
    if start[:8] != b"\x93NUMPY\x01\x00" or n_bytes > MAX_HEADER_BYTES:
        raise ShardError(f"{path}: not a .npy file of format 1.0")
    match = _HEADER.fullmatch(file.read(n_bytes))
    if match is None:
        raise ShardError(f"{path}: not a .npy file of format 1.0: its header can't be read")
    descr, fortran_order, sizes = (text.decode("latin-1") for text in match.groups())
    sizes = ", ".join(size.strip() for size in sizes.split(",") if size.strip())
    return 10 + n_bytes, descr, fortran_order, sizes
