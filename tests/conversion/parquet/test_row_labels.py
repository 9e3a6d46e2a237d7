"""Tests of labels of rows: eras, data types and ids of every type."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from memmap_train.conversion.parquet.row_labels import count_rows, read_eras
from memmap_train.errors import SourceError
from tests.support.errors import refused
from tests.support.parquet_files import all_ids, one_column, open_file, write

# -- eras and data types ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        pa.array(["era1", "eraX", "era1"]),
        pa.array(["era1", "eraX", "era1"], pa.large_string()),
        pa.array(["era1", "eraX", "era1"], pa.string_view()),
        pa.array(["era1", "eraX", "era1"]).dictionary_encode(),
        pa.array(["era1", "eraX", "era1"], pa.large_string()).dictionary_encode(),
    ],
    ids=lambda labels: str(labels.type),
)
def test_eras_are_text_of_any_type(tmp_path: Path, labels: Any) -> None:
    source = one_column(tmp_path, labels, "era")
    assert source.info.kinds == (("era", "text"),)
    rows = read_eras(source, 0, "era")
    assert [rows.labels[code] for code in rows.codes] == ["era1", "eraX", "era1"]


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint16", "uint64"])
def test_integer_eras_are_decimal_text(tmp_path: Path, dtype: str) -> None:
    source = one_column(tmp_path, pa.array(np.array([7, 12, 7], dtype)), "era")
    rows = read_eras(source, 0, "era")
    assert [rows.labels[code] for code in rows.codes] == ["7", "12", "7"]


def test_the_first_row_without_an_era_is_named(tmp_path: Path) -> None:
    source = one_column(tmp_path, pa.array(["a", "b", "a", None, None]), "era", cuts=[2])
    assert read_eras(source, 0, "era").labels == ["a", "b"]
    with refused(SourceError, "2 rows without an era", "row 3;"):
        read_eras(source, 1, "era")


def test_an_empty_label_is_refused(tmp_path: Path) -> None:
    source = one_column(tmp_path, pa.array(["a", ""]), "era")
    with refused(SourceError, "an era's label is empty"):
        read_eras(source, 0, "era")


def broken_text(length: int = 2) -> Any:
    """Return a text column whose second value isn't UTF-8."""
    offsets = pa.py_buffer(np.array([0, length, 2 * length], np.int32).tobytes())
    return pa.StringArray.from_buffers(2, offsets, pa.py_buffer(b"ab\xff\xfe"))


def test_a_label_that_is_not_text_is_refused(tmp_path: Path) -> None:
    source = one_column(tmp_path, broken_text(), "era")
    with refused(SourceError, "column 'era'", "not UTF-8 text (row "):
        read_eras(source, 0, "era")


def test_data_types_are_counted_per_era(tmp_path: Path) -> None:
    table = pa.table(
        {
            "era": ["1", "2", "1", "1", "2", "3"],
            "data_type": ["train", "test", None, "train", "validation", None],
        }
    )
    source = open_file(write(tmp_path / "types.parquet", table))
    rows = read_eras(source, 0, "era")
    assert count_rows(source, 0, rows, "data_type") == {
        "1": {"train": 2, "": 1},
        "2": {"test": 1, "validation": 1},
        "3": {"": 1},
    }
    assert count_rows(source, 0, rows, None) == {"1": {"": 3}, "2": {"": 2}, "3": {"": 1}}


# -- ids --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ids",
    [
        ["n0123456789abcde", "n0123456789abcdf"],
        ["a", "bcd", "", "ef"],
        ["é", "日本", "a😀"],
        ["", ""],
        ["x"],
    ],
    ids=["same lengths", "other lengths", "not ASCII", "empty", "one"],
)
@pytest.mark.parametrize("text", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_ids_are_fixed_width_bytes(tmp_path: Path, ids: list[str], text: Any) -> None:
    found = all_ids(one_column(tmp_path, pa.array(ids, text), "id"))
    assert [name.decode() for name in found.tolist()] == ids
    assert found.dtype.itemsize == max(1, *(len(name.encode()) for name in ids), 1)


def test_integer_ids_are_decimal_text(tmp_path: Path) -> None:
    found = all_ids(one_column(tmp_path, pa.array([7, 1000, -1]), "id"))
    assert found.tolist() == [b"7", b"1000", b"-1"]


def test_ids_may_be_in_a_dictionary(tmp_path: Path) -> None:
    found = all_ids(one_column(tmp_path, pa.array(["b", "a", "b"]).dictionary_encode(), "id"))
    assert found.tolist() == [b"b", b"a", b"b"]


def test_the_ids_of_each_row_group_are_its_own(tmp_path: Path) -> None:
    source = one_column(tmp_path, pa.array(["a", "b", "cc", "dd", "e"]), "id", cuts=[2, 4])
    assert [all_ids(source, group).tolist() for group in range(3)] == [
        [b"a", b"b"],
        [b"cc", b"dd"],
        [b"e"],
    ]


def test_a_huge_id_is_refused_before_all_are_made_as_wide(tmp_path: Path) -> None:
    ids = pa.array(["n"] * 200_000 + ["n" * 20_000_000])  # 4 TB, if all were
    with refused(SourceError, "one.parquet", "'id'", "20,000,000 bytes"):
        all_ids(one_column(tmp_path, ids, "id"))


def test_the_first_row_without_an_id_is_named(tmp_path: Path) -> None:
    source = one_column(tmp_path, pa.array(["a", "b", None]), "id", cuts=[1])
    with refused(SourceError, "1 rows without an id", "row 2;"):
        all_ids(source, 1)


@pytest.mark.parametrize("index", ["named", "unnamed text", "numbers"])
def test_the_index_of_a_frame_that_pandas_wrote_is_an_ordinary_column(
    tmp_path: Path, index: str
) -> None:
    frame = pd.DataFrame({"era": ["1", "1", "2"], "feature_a": np.array([0, 1, 2], np.int8)})
    if index != "numbers":
        frame.index = pd.Index(["na", "nb", "nc"], name="id" if index == "named" else None)
    frame.to_parquet(tmp_path / "pandas.parquet", index=True)
    source = open_file(tmp_path / "pandas.parquet")
    column = {"named": "id", "unnamed text": "__index_level_0__"}.get(index)
    if column is not None:
        assert all_ids(source, 0, column).tolist() == [b"na", b"nb", b"nc"]
    elif "__index_level_0__" in dict(source.info.kinds):
        assert all_ids(source, 0, "__index_level_0__").tolist() == [b"0", b"1", b"2"]
