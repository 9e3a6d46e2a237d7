"""Bytes to files past the page cache, by threads that have nothing else to do.

A converted dataset is larger than memory as a rule: copying it into the page cache, a fresh page
for every 4 kB, and having the kernel write it from there cost as much of the cores as decoding its
source did. Writers fill buffers that a disk can read from, hand them over and go on. Where a system
or a file system knows no direct writes, the same pieces are written as usual.
"""

import errno
import io
import os
import queue
from concurrent.futures import Future
from pathlib import Path

from .buffers import disk_buffer
from .threads import ThreadPool

BLOCK_BYTES = 4096  # places and lengths of direct writes are multiples of the disk's blocks
_N_THREADS = 2  # one piece is on its way while the next one is told to the disk
_UNKNOWN = (
    errno.EINVAL,
    errno.EOPNOTSUPP,
    errno.ENOTSUP,
    errno.ENOSYS,
)  # what file systems answer that know no direct writes


class DiskWriter:
    """Writes pieces of files, out of a fixed number of buffers; thread-safe.

    Parameters
    ----------
    n_buffers : int
        A thread that needs one more waits until the disk is done with one.
    buffer_bytes : int
        Of each; memory is taken when it is first needed.
    """

    def __init__(self, n_buffers: int, buffer_bytes: int) -> None:
        self.buffer_bytes = buffer_bytes
        self._free: queue.LifoQueue[memoryview | None] = queue.LifoQueue()  # used memory first
        for _ in range(n_buffers):
            self._free.put(None)
        self._direct = hasattr(os, "O_DIRECT")
        self._threads = ThreadPool(_N_THREADS, thread_name_prefix="disk")

    def take(self) -> memoryview:
        """Return a buffer, which has to be given back or written; waits for one to be free."""
        buffer = self._free.get()
        try:
            return disk_buffer(self.buffer_bytes) if buffer is None else buffer
        except BaseException:
            self._free.put(None)
            raise

    def give_back(self, buffer: memoryview) -> None:
        """Take a buffer back that isn't written."""
        self._free.put(buffer)

    def write(self, path: Path, offset: int, buffer: memoryview, n_bytes: int) -> "Future[None]":
        """Write the first bytes of a buffer to an existing file; takes the buffer back then.

        Parameters
        ----------
        path : Path
        offset : int
            Where in the file, a multiple of `BLOCK_BYTES`.
        buffer : memoryview
            As `take` has returned it.
        n_bytes : int
            A multiple of `BLOCK_BYTES`.
        """
        return self._threads.submit(self._write, path, offset, buffer, n_bytes)

    def close(self) -> None:
        """Wait for all that was handed over, and end the threads."""
        self._threads.shutdown()

    def _write(self, path: Path, offset: int, buffer: memoryview, n_bytes: int) -> None:
        try:
            done = 0
            while done < n_bytes:
                directly = self._direct
                try:
                    with _open(path, directly) as file:
                        file.seek(offset + done)
                        done += file.write(buffer[done:n_bytes]) or 0
                except OSError as error:
                    if not directly or error.errno not in _UNKNOWN:
                        raise OSError(error.errno, error.strerror, path) from error
                    self._direct = False
                if directly:  # what is left must begin at a block again
                    done -= done % BLOCK_BYTES
        finally:
            self._free.put(buffer)


def _open(path: Path, directly: bool) -> io.FileIO:
    return open(path, "r+b", buffering=0, opener=_open_directly if directly else None)


def _open_directly(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_DIRECT)
