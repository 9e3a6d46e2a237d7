"""Tests of the offsets of columns that are read from a footer's bytes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memmap_train.conversion.parquet.dictionary_codes import CodeDecoder, ColumnOffsets


def test_chunks_are_where_arrow_finds_them(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table(
        {
            "era": ["a", "b"] * 500,
            "feature_a": pa.array([0, 1, 2, 3] * 250, pa.int8()),
            "long": pa.array([5] * 1_000, pa.int64()),
            "é" * 70: pa.array([0, 1, 2, 4] * 250, pa.uint16()),
            "target": pa.array([0.5] * 1_000, pa.float32()),
        }
    )
    pq.write_table(table, path, row_group_size=300)
    metadata = pq.ParquetFile(path).metadata
    offsets = ColumnOffsets(path, metadata.num_row_groups)
    for group in range(metadata.num_row_groups):
        for position, name in enumerate(table.column_names):
            expected = metadata.row_group(group).column(position)
            found = offsets.chunk(group, name)
            assert (found is not None) == (expected.physical_type == "INT32")
            if found is not None:
                assert found.begin == expected.dictionary_page_offset
                assert found.data_begin == expected.data_page_offset
                assert found.end - found.begin == expected.total_compressed_size
                assert found.n_values == expected.num_values
                assert found.compressed
    assert offsets.chunk(0, "feature_z") is None
    assert ColumnOffsets(path, 3).chunk(0, "feature_a") is None  # another number of row groups


@pytest.mark.parametrize("begin", [4, 1 << 31, 1 << 59, 1 << 62, 1 << 66])
def test_columns_beyond_the_end_of_the_file_are_left(tmp_path: Path, begin: int) -> None:
    def number(value: int) -> bytes:
        """Return a number in the footer's encoding: doubled, seven bits a byte."""
        value *= 2
        n_bytes = max(1, -(-value.bit_length() // 7))
        parts = [value >> 7 * byte & 127 | 128 for byte in range(n_bytes)]
        return bytes([*parts[:-1], parts[-1] & 127])

    codec, n_rows, n_bytes = number(0), number(10), number(60)
    footer = b"\x15\x02\x19\x15\x00\x19\x18\x01f\x15" + codec + b"\x16" + n_rows
    footer += b"\x16" + n_bytes + b"\x16" + n_bytes
    footer += b"\x26" + number(begin + 20) + b"\x26" + number(begin)
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    offsets = ColumnOffsets(path, 1)
    assert (offsets.chunk(0, "f") is None) == (begin >= 1 << 60)
    found = CodeDecoder(path, offsets, {"f": True})
    assert found.decode(0, ["f"], np.empty((1, 10), np.int8)) == [0]
