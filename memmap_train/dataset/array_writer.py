"""One `.npy` file, written front to back from many pieces.

A file is written beside its final name and published by renaming its folder; it is never rewritten
in place, because a file that shrinks while it is mapped would kill its readers.
"""

import os
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np

from ..arrays import Array
from ..errors import ShardError
from ..system.checksum import Checksum
from ..system.direct_io import BLOCK_BYTES
from ..system.disk_writer import DiskWriter
from ..system.durable import sync_file
from .array_file import npy_header


class ArrayWriter:
    """Writes one `.npy` file front to back from many pieces, and computes its checksum.

    No descriptor is held between pieces: any number of eras can be written at the same time.

    Parameters
    ----------
    path : Path or None
        A file that doesn't exist yet; None to compute the checksum and write nothing.
    dtype : numpy.dtype
    shape : tuple of int
        Shape of the whole array.
    disk : DiskWriter, optional
        Writes with direct I/O; without it, rows are written through the page cache at once.
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
        self._rest = header  # bytes to be written later: less than a block of the disk
        self._handed_over = 0  # bytes before the rest, written or being written
        self._writing: list[Future[None]] = []
        if path is not None:
            path.write_bytes(b"" if disk else header)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The dtype of the rows."""
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

        Only for a writer with a `disk`: the array lies in one of its buffers, into which `n_rows`
        rows and a block of the disk must fit.
        """
        assert self._disk is not None
        assert self._rows_written + n_rows <= self._shape[0]
        for future in self._writing:
            if future.done():
                future.result()  # raises an error of the write
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
        """Make the file durable; return its size in bytes and its checksum.

        Raises
        ------
        ShardError
            The file has another size than what was written: another process changed it.
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
