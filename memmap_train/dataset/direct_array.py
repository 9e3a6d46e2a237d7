"""Read array rows with direct I/O (O_DIRECT), bypassing the page cache.

For datasets that don't fit into memory: rows that are read once and come again an epoch later
aren't worth keeping. Keeping them costs the kernel as much of a core as copying them, evicts what
is worth keeping, and collapses where memory is short. Linux only; elsewhere maps are read.
"""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import ShardError
from ..system.direct_io import BLOCK_BYTES, bypass_cache
from ..system.scratch import PROCESS_DISK_SCRATCH, DiskScratch
from .array_file import opened_array
from .file_digest import FileStamp
from .file_errors import become_shorter


class DirectArray:
    """A two-dimensional `.npy` file whose rows are read with direct I/O; thread-safe.

    Parameters
    ----------
    path : Path
    dtype : numpy.dtype
    shape : (int, int)
        Expected shape, as in the manifest.
    stamp : FileStamp, optional
        Stamp of the file that was there when the manifest was read.
    scratch : DiskScratch, optional
        The memory that rows are read into.

    Raises
    ------
    ShardError
        The same errors as `array_file.open_array`.
    """

    def __init__(
        self,
        path: Path,
        dtype: np.dtype[np.generic],
        shape: tuple[int, ...],
        stamp: FileStamp | None = None,
        scratch: DiskScratch = PROCESS_DISK_SCRATCH,
    ) -> None:
        self._file: int | None = None
        self._path, self._dtype, self._n_columns = path, dtype, shape[1]
        self._scratch = scratch
        self.row_bytes = dtype.itemsize * shape[1]
        with opened_array(path, dtype, shape, stamp) as (file, self._offset):
            # Not opened by its name again: by now that may be another file's.
            self._file = os.dup(file.fileno())
            with suppress(OSError):  # eras may lie on other file systems than the one tried
                bypass_cache(self._file)

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
        first = begin // BLOCK_BYTES * BLOCK_BYTES
        n_bytes = -(-(end - first) // BLOCK_BYTES) * BLOCK_BYTES
        memory = self._scratch.buffer(n_bytes)
        done = 0
        while first + done < end:
            try:
                n_read = os.preadv(self._file, [memory[done:n_bytes]], first + done)
            except OSError as error:
                raise ShardError(f"{self._path}: can't be read: {error.strerror}") from None
            if n_read == 0 or (n_read % BLOCK_BYTES and first + done + n_read < end):
                raise become_shorter(self._path)
            done += n_read
        rows = memory[begin - first : end - first]
        return np.frombuffer(rows, self._dtype).reshape(stop - start, self._n_columns)
