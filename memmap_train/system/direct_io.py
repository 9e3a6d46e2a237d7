"""Rows of an array straight from the disk, past the page cache.

For datasets that don't fit into memory: what is read once and comes again an epoch later isn't
worth keeping, and the kernel's keeping it costs as much of a core as copying it, pushes out what
is, and collapses where memory is short. Linux alone; elsewhere maps are read.
"""

import mmap
import os
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..dataset.array_file import FileStamp, become_shorter, opened_array
from ..errors import ShardError
from .buffers import disk_buffer

_BLOCK_BYTES = 4096  # places and lengths of a direct read are multiples of the disk's blocks


def can_read_directly(path: Path) -> bool:
    """Tell whether a file can be read past the page cache: systems and file systems differ."""
    if not hasattr(os, "O_DIRECT") or not hasattr(os, "preadv"):
        return False
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        _bypass_cache(file)
        return os.preadv(file, [mmap.mmap(-1, _BLOCK_BYTES)], 0) > 0
    except OSError:
        return False
    finally:
        os.close(file)


def _bypass_cache(file: int) -> None:
    """Have an open file read past the page cache; OSError where that can't be."""
    import fcntl  # POSIX only, as O_DIRECT is

    fcntl.fcntl(file, fcntl.F_SETFL, os.O_RDONLY | os.O_DIRECT)


class DirectArray:
    """A two-dimensional `.npy` file whose rows are read past the page cache; thread-safe.

    Parameters
    ----------
    path : Path
    dtype : numpy.dtype
    shape : (int, int)
        What the manifest says the file holds.
    stamp : FileStamp, optional
        Of the file that was there when the manifest was read.

    Raises
    ------
    ShardError
        As `shard.open_array`.
    """

    _local = threading.local()  # each thread reads into memory of its own

    def __init__(
        self,
        path: Path,
        dtype: np.dtype[np.generic],
        shape: tuple[int, ...],
        stamp: FileStamp | None = None,
    ) -> None:
        self._file: int | None = None
        self._path, self._dtype, self._n_columns = path, dtype, shape[1]
        self.row_bytes = dtype.itemsize * shape[1]
        with opened_array(path, dtype, shape, stamp) as (file, self._offset):
            # Not opened by its name again: by now that may be another file's.
            self._file = os.dup(file.fileno())
            with suppress(OSError):  # eras may lie on other file systems than the one tried
                _bypass_cache(self._file)

    def __del__(self) -> None:
        if self._file is not None:
            os.close(self._file)

    def rows(self, start: int, stop: int) -> npt.NDArray[np.generic]:
        """Return rows, valid until this thread reads again.

        Raises
        ------
        ShardError
            The file has become shorter, or the disk fails.
        """
        assert self._file is not None
        begin, end = (self._offset + row * self.row_bytes for row in (start, stop))
        first = begin // _BLOCK_BYTES * _BLOCK_BYTES
        n_bytes = -(-(end - first) // _BLOCK_BYTES) * _BLOCK_BYTES
        memory = self._memory(n_bytes)
        done = 0
        while first + done < end:
            try:
                n_read = os.preadv(self._file, [memory[done:n_bytes]], first + done)
            except OSError as error:
                raise ShardError(f"{self._path}: can't be read: {error.strerror}") from None
            if n_read == 0 or (n_read % _BLOCK_BYTES and first + done + n_read < end):
                raise become_shorter(self._path)
            done += n_read
        rows = memory[begin - first : end - first]
        return np.frombuffer(rows, self._dtype).reshape(stop - start, self._n_columns)

    def _memory(self, n_bytes: int) -> memoryview:
        memory: memoryview | None = getattr(self._local, "memory", None)
        if memory is None or len(memory) < n_bytes:
            memory = self._local.memory = disk_buffer(n_bytes)
        return memory
