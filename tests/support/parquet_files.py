"""Parquet files of a few columns, and handles on them."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from memmap_train.conversion.parquet.file import read_file_info
from memmap_train.conversion.parquet.handle import ParquetHandle
from memmap_train.conversion.parquet.row_labels import longest_id, read_ids


def open_file(path: Path) -> ParquetHandle:
    """Return a handle on a parquet file."""
    return ParquetHandle(read_file_info(path))


def write(path: Path, table: pa.Table, cuts: list[int] | None = None, **options: Any) -> Path:
    """Write a table, cut into row groups before these rows."""
    ends = [*(cuts or []), len(table)]
    with pq.ParquetWriter(path, table.schema, **options) as writer:
        for start, end in zip([0, *ends], ends, strict=False):
            writer.write_table(table.slice(start, end - start), row_group_size=len(table) or 1)
    return path


def one_column(folder: Path, array: Any, name: str = "feature_a", **options: Any) -> ParquetHandle:
    """Write one column and open the file."""
    return open_file(write(folder / "one.parquet", pa.table({name: array}), **options))


def all_ids(source: ParquetHandle, group: int = 0, column: str = "id") -> npt.NDArray[np.bytes_]:
    """Return a row group's ids, read in one piece; in pieces they must be the same."""
    found = np.concatenate([*read_ids(source, group, column, 10**6), np.empty(0, "S1")])
    pieces = list(read_ids(source, group, column, 2))
    assert all(len(piece) == 2 for piece in pieces[:-1])
    assert np.concatenate([*pieces, np.empty(0, "S1")]).tolist() == found.tolist()
    assert longest_id(source, group, column) == max(map(len, found.tolist()), default=0)
    return found
