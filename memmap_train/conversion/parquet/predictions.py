"""Predictions in a parquet file: written an era at a time, and the columns of such a file.

Takes lists of texts and arrays of numbers; writes a file of plain columns without an index, so
that pandas reads the columns that are written. Must not import pandas.
"""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_ROWS_PER_GROUP = 2**20  # as Numerai's own files have


class ColumnWriter:
    """Writes columns of text followed by a column of numbers; a context manager.

    Parameters
    ----------
    path : Path
        The file, which is overwritten.
    names : sequence of str
        Names of the columns, of which the last one holds numbers.
    dtype : dtype
        Dtype of the numbers: float32 or float64.
    """

    def __init__(self, path: Path, names: Sequence[str], dtype: np.dtype[Any]) -> None:
        *texts, numbers = names
        self._path = path
        self._schema = pa.schema(
            [*((name, pa.string()) for name in texts), (numbers, pa.from_numpy_dtype(dtype))]
        )
        self._waiting: list[pa.Table] = []
        self._n_waiting = 0

    def __enter__(self) -> Self:
        self._writer = pq.ParquetWriter(self._path, self._schema)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._writer:
            if kind is None:
                self._write_waiting()

    def write(self, *columns: Any) -> None:
        """Append rows: a list of texts for each column of text, and an array of numbers."""
        arrays = [
            pa.array(column, field.type)
            for column, field in zip(columns, self._schema, strict=True)
        ]
        self._waiting.append(pa.Table.from_arrays(arrays, schema=self._schema))
        self._n_waiting += self._waiting[-1].num_rows
        if self._n_waiting >= _ROWS_PER_GROUP:
            self._write_waiting()

    def _write_waiting(self) -> None:
        if self._waiting:
            table = pa.concat_tables(self._waiting)
            self._writer.write_table(table, row_group_size=table.num_rows)
        self._waiting, self._n_waiting = [], 0


def column_names(path: Path) -> list[str]:
    """Return the names of a parquet file's columns; an empty list for another file."""
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError):
        return []
