"""A parquet file that deceives the decoder of dictionary pages, and not Arrow.

`feature_a` is a column of 64-bit integers, which the decoder leaves to Arrow. The footer's metadata
holds a further entry of this name, which isn't an entry of the format: it refers to the pages of
another column, in which one code is different. Only the decoder, which looks for entries in the
footer's bytes, takes it for one.
"""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.parquet_layouts import varint

FEATURE = "feature_a"
_OTHER_CODEC = 6


def write_deceiving(
    path: Path,
    eras: dict[str, int],
    group_rows: int,
    deceiving: Collection[int],
) -> None:
    """Write a file of one feature.

    Parameters
    ----------
    path : Path
    eras : dict of str to int
        Rows of each era.
    group_rows : int
        Rows of a row group.
    deceiving : collection of int
        Row groups in which the decoder finds one wrong code; it leaves others to Arrow.
    """
    n_rows = sum(eras.values())
    codes: npt.NDArray[np.int8] = np.random.default_rng(7).integers(0, 5, n_rows).astype(np.int8)
    wrong = codes.copy()
    wrong[::group_rows] = (wrong[::group_rows] + 1) % 5
    table = pa.table(
        {
            "era": np.repeat(list(eras), list(eras.values())),
            FEATURE: pa.array(codes, pa.int64()),
            "shadow": wrong,
            "target": np.linspace(0, 1, n_rows, dtype=np.float32),
            "id": [f"n{row:08}" for row in range(n_rows)],
        }
    )
    for attempt in range(2):  # the first file has the same offsets
        pq.write_table(table, path, row_group_size=group_rows)
        if attempt == 0:
            entries = b"".join(_entries(path, deceiving))
            table = table.replace_schema_metadata({b"entries": entries})


def _entries(path: Path, deceiving: Collection[int]) -> list[bytes]:
    """Return an entry for each row group: a column of 32-bit integers, by name and offsets."""
    metadata = pq.read_metadata(path)
    found = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        columns = [group.column(position) for position in range(group.num_columns)]
        shadow = next(column for column in columns if column.path_in_schema == "shadow")
        codec = 1 if number in deceiving else _OTHER_CODEC
        name = FEATURE.encode()
        found.append(
            b"\x15\x02\x19\x15\x00\x19\x18"
            + varint(len(name))
            + name
            + b"\x15"
            + varint(2 * codec)
            + b"\x16"
            + varint(2 * shadow.num_values)
            + b"\x16"
            + varint(2 * shadow.total_uncompressed_size)
            + b"\x16"
            + varint(2 * shadow.total_compressed_size)
            + b"\x26"
            + varint(2 * shadow.data_page_offset)
            + b"\x26"
            + varint(2 * shadow.dictionary_page_offset)
        )
    return found
