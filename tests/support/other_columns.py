"""Parquet files with columns of other types than a toy's."""

from typing import Any

import pyarrow as pa

ROWS = {"0001": 4, "0002": 3}
N_ROWS = 7


def with_columns(table: pa.Table, **columns: Any) -> pa.Table:
    """Return a table with some columns replaced, or added before the others."""
    for name, values in columns.items():
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, values)
        else:
            table = table.add_column(0, name, values)
    return table


def of_eras(first: Any, second: Any, kind: Any = None) -> pa.Array:
    return pa.array([first] * 4 + [second] * 3, kind)
