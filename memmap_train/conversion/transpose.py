"""A buffer that transposes a row group from columns to rows, in memory or in a file.

Parquet holds columns, shards hold rows. Blocks of columns are put in and transposed as they come;
rows are taken out a chunk at a time. Each chunk holds its blocks one after another, so both are
contiguous in a file too: a row group larger than the memory budget is staged on disk.
"""

import os
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ..arrays import Array, Bytes
from ..system.scratch import ThreadScratch

_COLUMNS_AT_ONCE = 32  # transposed at once: 32 x a chunk of rows stay in the first-level cache


@dataclass(frozen=True, slots=True)
class Field:
    """A kind of column.

    Attributes
    ----------
    dtype : dtype
    n_columns : int
        Number of columns of this kind.
    block_columns : int
        Number of columns that are put in at once.
    """

    dtype: np.dtype[np.generic]
    n_columns: int
    block_columns: int

    @property
    def row_bytes(self) -> int:
        """Bytes of a row's columns of this kind."""
        return self.dtype.itemsize * self.n_columns

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Yield (first column, columns) of each block."""
        for first in range(0, self.n_columns, self.block_columns):
            yield first, min(self.block_columns, self.n_columns - first)


class Store(Protocol):
    """Bytes in memory or in a file; thread-safe for parts that don't overlap."""

    def put(self, offset: int, shape: tuple[int, int], columns: Array) -> None:
        """Store the transpose of `columns`, of shape `shape`, at an offset."""

    def take(self, offset: int, n_bytes: int) -> Bytes:
        """Return bytes; the array is valid until this thread's next call."""

    def close(self) -> None:
        """Free the memory or remove the file."""


class MemoryStore:
    """One block of memory, allocated once and reused for every row group."""

    def __init__(self, n_bytes: int) -> None:
        self._memory = np.empty(n_bytes, np.uint8)

    def put(self, offset: int, shape: tuple[int, int], columns: Array) -> None:
        """Transpose the columns directly into memory."""
        n_bytes = shape[0] * shape[1] * columns.dtype.itemsize
        transpose(
            columns, self._memory[offset : offset + n_bytes].view(columns.dtype).reshape(shape)
        )

    def take(self, offset: int, n_bytes: int) -> Bytes:
        """Return a view."""
        return self._memory[offset : offset + n_bytes]

    def close(self) -> None:
        """Do nothing: the memory is freed with the store."""


class FileStore:
    """An unnamed file in a folder, which is removed with the process, whatever ends it."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        self._lock = threading.Lock()
        self._scratch = ThreadScratch()

    def put(self, offset: int, shape: tuple[int, int], columns: Array) -> None:
        """Transpose the columns and write them."""
        rows = self._scratch.array("rows", columns.nbytes, np.uint8)
        transpose(columns, rows.view(columns.dtype).reshape(shape))
        view = rows.data
        while view:
            n_bytes = self._write(view, offset)
            view, offset = view[n_bytes:], offset + n_bytes

    def take(self, offset: int, n_bytes: int) -> Bytes:
        """Return a copy."""
        out: Bytes = self._scratch.array("rows", n_bytes, np.uint8)
        view = out.data
        while view:
            n_read = self._read(view, offset)
            assert n_read, "the file ends before the bytes that were put in"
            view, offset = view[n_read:], offset + n_read
        return out

    def close(self) -> None:
        """Close the file, which removes it."""
        self._file.close()

    def _write(self, view: memoryview, offset: int) -> int:
        if hasattr(os, "pwrite"):
            return os.pwrite(self._file.fileno(), view, offset)
        with self._lock:
            self._file.seek(offset)
            return self._file.write(view) or 0

    def _read(self, view: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), [view], offset)
        with self._lock:
            self._file.seek(offset)
            return self._file.readinto(view) or 0


class TransposeBuffer:
    """Rows of a row group in a store, put in by columns and taken out by chunks of rows.

    Parameters
    ----------
    store : Store
    fields : mapping of name to Field
    chunk_rows : sequence of int
        Number of rows of each chunk.
    """

    def __init__(
        self, store: Store, fields: Mapping[str, Field], chunk_rows: Sequence[int]
    ) -> None:
        self._store, self.fields = store, fields
        self.chunk_rows = list(chunk_rows)
        self.row_bytes = sum(field.row_bytes for field in fields.values())
        self._bases = (
            np.concatenate([[0], np.cumsum(self.chunk_rows)]).astype(np.int64) * self.row_bytes
        )
        self._field_bases = {}
        base = 0
        for name, field in fields.items():
            self._field_bases[name] = base
            base += field.row_bytes

    def put(self, name: str, chunk: int, first: int, columns: Array) -> None:
        """Put in a block of a field's columns, of shape (columns, rows of the chunk)."""
        field = self.fields[name]
        assert columns.dtype == field.dtype
        assert columns.shape[1] == self.chunk_rows[chunk]
        offset = self._offset(name, chunk) + first * field.dtype.itemsize * self.chunk_rows[chunk]
        self._store.put(offset, (columns.shape[1], columns.shape[0]), columns)

    def put_rows(self, name: str, chunk: int, first_row: int, values: Array) -> None:
        """Put in rows of a field of one column, of shape (rows,), from a row of the chunk on."""
        field = self.fields[name]
        assert field.n_columns == 1
        assert values.dtype == field.dtype
        offset = self._offset(name, chunk) + first_row * field.dtype.itemsize
        self._store.put(offset, (len(values), 1), values[np.newaxis])

    def take(self, name: str, chunk: int) -> Iterator[tuple[int, Array]]:
        """Yield (first column, rows) for each block of a chunk; rows has shape (rows, columns)."""
        field = self.fields[name]
        rows = self.chunk_rows[chunk]
        memory = self._store.take(self._offset(name, chunk), rows * field.row_bytes)
        for first, n_columns in field.blocks():
            begin = first * field.dtype.itemsize * rows
            end = begin + n_columns * field.dtype.itemsize * rows
            yield first, memory[begin:end].view(field.dtype).reshape(rows, n_columns)

    def _offset(self, name: str, chunk: int) -> int:
        return int(self._bases[chunk]) + self._field_bases[name] * self.chunk_rows[chunk]


def transpose(columns: Array, out: Array) -> None:
    """Write the transpose of columns (columns, rows) into `out` (rows, columns)."""
    for first in range(0, len(columns), _COLUMNS_AT_ONCE):
        out[:, first : first + _COLUMNS_AT_ONCE] = columns[first : first + _COLUMNS_AT_ONCE].T
