"""A source at two times: before and after a weekly update."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.toy import toy_table

FIRST = {"0001": 12, "0002": 7, "0003": 9}

LATER = {**FIRST, "0004": 5, "0005": 8}


def write_first(path: Path, **options: Any) -> None:
    """Write a source in which targets of the last era are still unknown."""
    table = toy_table(FIRST, nulls=True, **options)
    known = pa.array([era != "0003" for era in table["era"].to_pylist()])
    for name in [name for name in table.column_names if name.startswith("target")]:
        column = pa.compute.if_else(known, table[name], pa.scalar(None, pa.float32()))
        table = table.set_column(table.column_names.index(name), name, column)
    pq.write_table(table, path, row_group_size=10)


def write_later(path: Path, **options: Any) -> None:
    pq.write_table(toy_table(LATER, nulls=True, **options), path, row_group_size=13)
