"""Read rows of eras in order, as float32, block by block, for validation and prediction.

They are read through the page cache by plain reads, since mapping every era again costs more than
copying it. If the dataset is larger than memory they are read with direct I/O: in the page cache
they would evict what a training keeps there, and be evicted themselves before they are needed
again.
"""

import io
from contextlib import ExitStack
from typing import Protocol

import numpy as np

from ..arrays import Array, Float32
from ..dataset.array_file import read_into
from ..dataset.dataset import Dataset
from ..system.file_access import advise

_REQUEST_BYTES = 2**23  # of each request to the disk
_STEP_BYTES = 2**18  # read before they are decoded: within a core's own cache


class RowSource(Protocol):
    """Rows of an era as stored: a `DirectArray`, or a file that is read through the page cache."""

    def rows(self, start: int, stop: int) -> Array:
        """Return some rows, valid until the next call."""


class SequentialReader:
    """Reads the features of a dataset's eras in order; for one thread at a time.

    Parameters
    ----------
    dataset : Dataset
    columns : tuple of int or None
        Columns of the features, in this order; None for all.
    past_cache : bool
        Read with direct I/O; see `placement.is_past_cache`.
    step_bytes : int, optional
        Number of bytes that are read before they are decoded.
    """

    def __init__(
        self,
        dataset: Dataset,
        columns: tuple[int, ...] | None,
        *,
        past_cache: bool,
        step_bytes: int | None = None,
    ) -> None:
        if step_bytes is None:
            step_bytes = _REQUEST_BYTES if past_cache else _STEP_BYTES
        self._dataset, self._columns, self._past_cache = dataset, columns, past_cache
        self._firsts = dataset.row_offsets
        self._dtype = dataset.manifest.store_dtype
        row_bytes = len(dataset.feature_names) * self._dtype.itemsize
        self._step_rows = max(1, step_bytes // max(1, row_bytes))
        self._is_as_stored = columns is None and dataset.manifest.scale is None
        self._era = -1
        self._rows: RowSource | None = None  # of that era
        self._closing = ExitStack()

    def fill(self, block: Float32, low: int) -> None:
        """Copy rows from number `low` on, counted over all eras, until the block is full.

        Parameters
        ----------
        block : ndarray of float32, shape (rows, columns), C order
            Rows after the dataset's last one stay as they were.

        Raises
        ------
        ShardError
            A file is missing, damaged, another one than before, or has become shorter.
        """
        high = min(low + len(block), self._firsts[-1])
        era = int(np.searchsorted(self._firsts, low, side="right")) - 1
        row = low
        while row < high:
            first, end = self._firsts[era : era + 2]
            stop = min(high, end)
            self._copy(era, row - first, stop - first, block[row - low : stop - low])
            row, era = stop, era + 1

    def close(self) -> None:
        """Close the file that is open."""
        self._closing.close()
        self._era, self._rows = -1, None

    def _copy(self, era: int, start: int, stop: int, out: Float32) -> None:
        rows = self._open(era)
        if isinstance(rows, _FileRows) and self._is_as_stored:
            rows.read(start, out)
            return
        for low in range(start, stop, self._step_rows):
            high = min(low + self._step_rows, stop)
            stored = rows.rows(low, high)
            if self._columns is not None:
                stored = stored.take(self._columns, axis=1)
            self._dataset.decode(stored, out[low - start : high - start])

    def _open(self, era: int) -> "RowSource":
        if self._rows is None or self._era != era:
            self.close()
            shard = self._dataset[self._dataset.eras[era]]
            if self._past_cache:
                self._rows = shard.direct_features()
            else:
                file, offset = self._closing.enter_context(shard.opened("features"))
                advise(file.fileno(), "SEQUENTIAL")  # the kernel reads further ahead
                self._rows = _FileRows(file, offset, *shard.layout("features"))
            self._era = era
        return self._rows


class _FileRows:
    """Rows of an open file, read through the page cache."""

    def __init__(
        self, file: io.FileIO, offset: int, dtype: np.dtype[np.generic], shape: tuple[int, ...]
    ) -> None:
        self._file, self._offset, self._dtype, self._n_columns = file, offset, dtype, shape[1]
        self._memory: Array = np.empty((0, shape[1]), dtype)

    def rows(self, start: int, stop: int) -> Array:
        """Return rows, valid until the next call."""
        if len(self._memory) < stop - start:
            self._memory = np.empty((stop - start, self._n_columns), self._dtype)
        rows = self._memory[: stop - start]
        self.read(start, rows)
        return rows

    def read(self, start: int, out: Array) -> None:
        """Read as many rows as `out` has, of the file's dtype, in C order."""
        self._file.seek(self._offset + start * self._n_columns * self._dtype.itemsize)
        read_into(self._file, out)
