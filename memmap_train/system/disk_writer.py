"""Files written with direct I/O, by threads of their own.

A converted dataset is usually larger than memory. Copying it into the page cache, a new page for
every 4 kB, and letting the kernel write it from there cost as much CPU time as decoding its source.
So writers fill buffers that the disk reads from, and continue while threads write them. Where the
system or the file system doesn't support direct I/O, the same pieces are written as usual.
"""

import errno
import io
import os
import queue
from concurrent.futures import Future
from pathlib import Path

from .buffers import disk_buffer
from .direct_io import BLOCK_BYTES
from .threads import ThreadPool

_N_THREADS = 2  # one piece is written while the next one is submitted
_UNKNOWN = (
    errno.EINVAL,
    errno.EOPNOTSUPP,
    errno.ENOTSUP,
    errno.ENOSYS,
)  # errors of file systems without direct I/O


class DiskWriter:
    """Writes pieces of files, out of a fixed number of buffers; thread-safe.

    Parameters
    ----------
    n_buffers : int
        Number of buffers; a thread that needs one more waits until one has been written.
    buffer_bytes : int
        Size of each buffer; its memory is allocated when it is first needed.
    """

    def __init__(self, n_buffers: int, buffer_bytes: int) -> None:
        self.buffer_bytes = buffer_bytes
        self._free: queue.LifoQueue[memoryview | None] = queue.LifoQueue()  # used memory first
        for _ in range(n_buffers):
            self._free.put(None)
        self._direct = hasattr(os, "O_DIRECT")
        self._threads = ThreadPool(_N_THREADS, thread_name_prefix="disk")

    def take(self) -> memoryview:
        """Return a free buffer, waiting for one; it must be given back or written."""
        buffer = self._free.get()
        try:
            return disk_buffer(self.buffer_bytes) if buffer is None else buffer
        except BaseException:
            self._free.put(None)
            raise

    def give_back(self, buffer: memoryview) -> None:
        """Accept a buffer that isn't written."""
        self._free.put(buffer)

    def write(self, path: Path, offset: int, buffer: memoryview, n_bytes: int) -> "Future[None]":
        """Write the first bytes of a buffer to an existing file; the buffer is free afterwards.

        Parameters
        ----------
        path : Path
        offset : int
            Offset in the file, a multiple of `BLOCK_BYTES`.
        buffer : memoryview
            A buffer that `take` has returned.
        n_bytes : int
            A multiple of `BLOCK_BYTES`.
        """
        return self._threads.submit(self._write, path, offset, buffer, n_bytes)

    def close(self) -> None:
        """Wait for all writes, and end the threads."""
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
                if directly:  # the rest must begin at a block
                    done -= done % BLOCK_BYTES
        finally:
            self._free.put(buffer)


def _open(path: Path, directly: bool) -> io.FileIO:
    return open(path, "r+b", buffering=0, opener=_open_directly if directly else None)


def _open_directly(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_DIRECT)
