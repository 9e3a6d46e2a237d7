"""Writes parquet files with the layout that Numerai publishes.

Takes eras as numpy arrays, one at a time; writes one parquet file, which appears under its name
only when it is complete. Must not import pandas: metadata written by hand declare the index that
pandas shows.

Layout
------
- Columns: `era` (string), `data_type` (string, if the file has data types), the features (int8),
  the targets or benchmarks (float32, null where an array has NaN), `id` (string). pyarrow shows
  `id` as a column, pandas as the index.
- Row groups hold a fixed number of rows, whatever the eras, so eras may straddle row groups.
- All columns but `id` are in dictionary pages: 3 bits for a value of a feature.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq


class SourceWriter:
    """Writes one parquet file, an era at a time; a context manager.

    Rows wait until a row group is full, so that memory holds at most one row group and one era. On
    an exception inside the `with` block nothing is left on disk, and an existing file of the same
    name is unchanged.

    Parameters
    ----------
    path : Path
        The parquet file to write. An existing file is replaced at the end.
    feature_names, target_names : sequence of str
        Names of these columns, in the file's order.
    rows_per_group : int
        Rows in a row group (the last may hold fewer).
    has_data_types : bool
        If False, the file has no column `data_type`.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "train.parquet"
    >>> with SourceWriter(path, ["feature_a"], ["target"], rows_per_group=2) as writer:
    ...     writer.write_era(
    ...         "0001",
    ...         "train",
    ...         features=np.array([[0], [2], [4]], np.int8),
    ...         targets=np.array([[0.5], [np.nan], [1.0]], np.float32),
    ...         ids=np.array([b"n1", b"n2", b"n3"]),
    ...     )
    >>> pq.read_table(path).column_names
    ['era', 'data_type', 'feature_a', 'target', 'id']
    >>> pq.ParquetFile(path).num_row_groups
    2
    """

    def __init__(
        self,
        path: Path,
        feature_names: Sequence[str],
        target_names: Sequence[str],
        *,
        rows_per_group: int,
        has_data_types: bool = True,
    ) -> None:
        self._path = path
        # A fixed name, so that the file of a killed process is overwritten by the next one.
        self._partial_path = path.with_name(f".{path.name}.partial")
        self._has_data_types = has_data_types
        self._schema = _schema(feature_names, target_names, has_data_types=has_data_types)
        self._rows_per_group = rows_per_group
        self._waiting: pa.Table = self._schema.empty_table()

    def __enter__(self) -> Self:
        in_dictionary_pages = [name for name in self._schema.names if name != "id"]
        # Opened here: pyarrow takes no path that isn't UTF-8, and reads `~` as a home.
        self._file = open(self._partial_path, "wb")
        self._writer = pq.ParquetWriter(
            self._file, self._schema, use_dictionary=in_dictionary_pages
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            with self._file, self._writer:
                if kind is None and self._waiting.num_rows:
                    self._write_group(self._waiting)
            if kind is None:
                os.replace(self._partial_path, self._path)
        finally:
            self._partial_path.unlink(missing_ok=True)

    def write_era(
        self,
        era: str,
        data_type: str,
        *,
        features: npt.NDArray[np.int8],
        targets: npt.NDArray[np.float32],
        ids: npt.NDArray[np.bytes_],
    ) -> None:
        """Append the rows of one era.

        Parameters
        ----------
        era : str
            The era's label.
        data_type : str
            `train`, `validation`, `test` or `live`. Unused in a file without data types.
        features : ndarray of int8, shape (rows, features)
            Codes. A column-major array (the transpose of a C-ordered one) isn't copied: it must
            not change until the writer is closed.
        targets : ndarray of float32, shape (rows, targets)
            NaN becomes null. May not be copied either, like the features.
        ids : ndarray of bytes, shape (rows,)
        """
        n_rows = len(ids)
        columns = [
            pa.repeat(pa.scalar(era), n_rows),
            *([pa.repeat(pa.scalar(data_type), n_rows)] if self._has_data_types else []),
            *(pa.array(column) for column in features.T),
            *(pa.array(column, from_pandas=True) for column in targets.T),
            pa.array(ids).cast(pa.string()),
        ]
        self._waiting = pa.concat_tables(
            [self._waiting, pa.Table.from_arrays(columns, schema=self._schema)]
        )
        while self._waiting.num_rows >= self._rows_per_group:
            self._write_group(self._waiting.slice(0, self._rows_per_group))
            self._waiting = self._waiting.slice(self._rows_per_group)

    def add_metadata(self, key: str, value: str) -> None:
        """Add a text to the file's key-value metadata, at any time before the end."""
        self._writer.add_key_value_metadata({key: value})

    def _write_group(self, rows: pa.Table) -> None:
        # Without an explicit size pyarrow would cut again at a size of its own.
        self._writer.write_table(rows, row_group_size=self._rows_per_group)


def _schema(
    feature_names: Sequence[str], target_names: Sequence[str], *, has_data_types: bool
) -> pa.Schema:
    """Return Numerai's columns, with `id` declared as the index that pandas shows."""
    schema = pa.schema(
        [
            ("era", pa.string()),
            *([("data_type", pa.string())] if has_data_types else []),
            *((name, pa.int8()) for name in feature_names),
            *((name, pa.float32()) for name in target_names),
            ("id", pa.string()),
        ]
    )
    return schema.with_metadata({"pandas": json.dumps(_pandas_metadata(schema))})


def _pandas_metadata(schema: pa.Schema) -> dict[str, object]:
    """Return the metadata that pandas itself records for a frame with the index `id`.

    Notes
    -----
    Source: https://pandas.pydata.org/docs/development/developer.html, and Numerai's own files.
    """
    columns = []
    for field in schema:
        numpy_type = np.dtype(field.type.to_pandas_dtype()).name
        columns.append(
            {
                "name": field.name,
                "field_name": field.name,
                "pandas_type": "unicode" if numpy_type == "object" else numpy_type,
                "numpy_type": numpy_type,
                "metadata": None,
            }
        )
    names = {
        "name": None,
        "field_name": None,
        "pandas_type": "unicode",
        "numpy_type": "object",
        "metadata": {"encoding": "UTF-8"},
    }
    return {
        "index_columns": ["id"],
        "column_indexes": [names],
        "columns": columns,
        "creator": {"library": "pyarrow", "version": pa.__version__},
    }
