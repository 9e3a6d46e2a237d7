"""Checksums of files, and stamps that recognize a file when it is opened again."""

import io
import os
import sys
import time
from pathlib import Path

import numpy as np

from ..arrays import Array
from ..errors import ShardError
from ..system.checksum import Checksum
from ..system.file_access import advise
from .file_errors import explained

DIGEST_BYTES = 1_000_000  # of a buffer: read and hashed at once, within a core's own cache
_CLOCK_STEP = 2_000_000_000  # nanoseconds: the coarsest times of a file system (FAT)


class FileStamp:
    """Recognizes a file when it is opened again: by its times, or else by its checksum.

    A file with the same times has the same content, unless it was changed so soon after it was
    looked at that the clock hadn't moved on. Where the times differ (a file was touched or copied),
    or were too fresh to mean anything, the content decides. Inode numbers take no part: some
    network file systems give the same file another one, and others give a new file the number of
    one that was removed a moment ago.

    Parameters
    ----------
    status : os.stat_result
        Status of the file.
    asked : int
        `time.time_ns()` before the status was taken.
    digest : str
        Checksum of the file in the manifest.
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
        self._times = _settled_times(status, asked)  # recognized from now on


def _times(status: os.stat_result) -> tuple[int, int]:
    """Return when a file's content, and anything of it, was changed, in nanoseconds."""
    if sys.platform == "win32":  # where the other time is that of its creation
        return status.st_mtime_ns, status.st_mtime_ns
    return status.st_mtime_ns, status.st_ctime_ns


def _settled_times(status: os.stat_result, asked: int) -> tuple[int, int] | None:
    """Return a file's times, or None if a change right after this call could repeat them.

    A change sets both times to the present, so one that lies well back is enough.
    """
    times = _times(status)
    return times if min(times) < asked - _CLOCK_STEP else None


def digest_file(path: Path, buffer: bytearray | memoryview | None = None) -> str:
    """Return the digest of a whole file as `xxh3_128:<hex>`.

    Parameters
    ----------
    path : Path
    buffer : bytearray or memoryview, optional
        The memory to read into, best of `DIGEST_BYTES`; it can be shared by many files.
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
            raise explained(error, path) from None
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
