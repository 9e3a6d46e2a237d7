"""Tests of reading parquet: every kind of column that Numerai or its users have written."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memmap_train.conversion.codec import MISSING_CODE
from memmap_train.conversion.parquet.file import Source, describe_file, sample_digest
from memmap_train.errors import MemmapTrainError, SourceError
from tests.support.errors import refused
from tests.support.toy import (
    feature_names,
    target_names,
    toy_features,
    toy_ids,
    toy_targets,
    write_toy,
)

CODES = [0, 1, 2, 3, 4, 4, 0]
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
QUARTERS = [0.0, 0.25, 0.5, 0.75, 1.0, -0.0, float("nan")]


def write(path: Path, table: pa.Table, cuts: list[int] | None = None, **options: Any) -> Path:
    """Write a table, cut into row groups before these rows."""
    ends = [*(cuts or []), len(table)]
    with pq.ParquetWriter(path, table.schema, **options) as writer:
        for start, end in zip([0, *ends], ends, strict=False):
            writer.write_table(table.slice(start, end - start), row_group_size=len(table) or 1)
    return path


def one_column(folder: Path, array: Any, name: str = "feature_a", **options: Any) -> Source:
    """Write one column and open the file."""
    return Source(write(folder / "one.parquet", pa.table({name: array}), **options))


def all_ids(source: Source, group: int = 0, column: str = "id") -> npt.NDArray[np.bytes_]:
    """Return a row group's ids, read in one piece; in pieces they must be the same."""
    found = np.concatenate([*source.ids(group, column, 10**6), np.empty(0, "S1")])
    pieces = list(source.ids(group, column, 2))
    assert all(len(piece) == 2 for piece in pieces[:-1])
    assert np.concatenate([*pieces, np.empty(0, "S1")]).tolist() == found.tolist()
    assert source.id_width(group, column) == max(map(len, found.tolist()), default=0)
    return found


def bits(array: npt.NDArray[np.float32]) -> list[int]:
    """Return a float32 array's bits, with one kind of NaN: tells -0.0 from 0.0."""
    assert array.dtype == np.float32
    one_nan = np.where(np.isnan(array), np.float32(np.nan), array)
    return one_nan.view(np.uint32).tolist()  # type: ignore[no-any-return]


# -- features ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("with_nulls", [False, True])
@pytest.mark.parametrize("in_dictionary", [False, True])
def test_integers_of_any_width_are_codes(
    tmp_path: Path, dtype: str, with_nulls: bool, in_dictionary: bool
) -> None:
    mask = np.array([with_nulls and row in (0, 5) for row in range(len(CODES))])
    array = pa.array(np.array(CODES, dtype), mask=mask)
    source = one_column(tmp_path, array.dictionary_encode() if in_dictionary else array)
    expected = np.where(mask, MISSING_CODE, CODES)
    (codes,) = source.features(0, ["feature_a"])
    assert codes.dtype == np.int8
    assert codes.tolist() == expected.tolist()
    (floats,) = source.floats(0, ["feature_a"])
    assert bits(floats) == bits(np.where(mask, np.float32(np.nan), np.array(CODES, np.float32) / 4))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("null_at", [None, 2])
def test_floats_of_any_width_keep_their_bits(
    tmp_path: Path, dtype: str, null_at: int | None
) -> None:
    mask = np.arange(len(QUARTERS)) == null_at
    source = one_column(tmp_path, pa.array(np.array(QUARTERS, dtype), mask=mask))
    (found,) = source.floats(0, ["feature_a"])
    expected = np.array(QUARTERS, np.float32)
    expected[mask] = np.nan
    assert bits(found) == bits(expected)


def test_float64_is_rounded_to_the_nearest_float32(tmp_path: Path) -> None:
    values = np.array([0.1, 1 / 3, 1 + 2.0**-24, 1 + 3 * 2.0**-24, 1e-50, -1e-50, 16777217.0])
    (found,) = one_column(tmp_path, pa.array(values)).floats(0, ["feature_a"])
    assert bits(found) == bits(values.astype(np.float32))
    assert found[2:4].tolist() == [1.0, 1 + 2.0**-22]  # halves go to the even neighbour


def test_a_float64_beyond_float32_is_an_infinity(tmp_path: Path) -> None:
    (found,) = one_column(tmp_path, pa.array([1e300, -1e39])).floats(0, ["feature_a"])
    assert found.tolist() == [float("inf"), float("-inf")]


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("int8", 5),
        ("int8", -1),
        ("int8", 127),
        ("int8", -128),
        ("uint8", 255),
        ("int16", 256),
        ("int32", -256),
        ("int64", 2**32),
        ("int64", -(2**63)),
        ("uint64", 2**64 - 1),
    ],
)
@pytest.mark.parametrize("null_at", [None, 0])
def test_an_integer_that_is_no_code_is_refused(
    tmp_path: Path, dtype: str, value: int, null_at: int | None
) -> None:
    values = np.array([0, 4, value, 1], dtype)
    source = one_column(tmp_path, pa.array(values, mask=np.arange(4) == null_at))
    for read in (source.features, source.floats):
        with refused(SourceError, "'feature_a'", f"found {value} ", "one.parquet"):
            list(read(0, ["feature_a"]))


def test_a_null_under_which_rubbish_lies_is_only_a_null(tmp_path: Path) -> None:
    array = pa.array(np.array([1, 99, 3], np.int8), mask=np.array([False, True, False]))
    (codes,) = one_column(tmp_path, array).features(0, ["feature_a"])
    assert codes.tolist() == [1, MISSING_CODE, 3]


def test_a_column_of_nothing_but_nulls_is_missing_in_every_row(tmp_path: Path) -> None:
    source = one_column(tmp_path, pa.nulls(3))
    assert source.kinds == [("feature_a", "null")]
    assert source.features(0, ["feature_a"]).tolist() == [[MISSING_CODE] * 3]
    (floats,) = source.floats(0, ["feature_a"])
    assert np.isnan(floats).all()
    assert len(floats) == 3


def test_columns_come_in_the_order_asked_for(tmp_path: Path) -> None:
    write_toy(tmp_path / "toy.parquet", {"0001": 9}, n_features=6)
    source = Source(tmp_path / "toy.parquet")
    names = feature_names(6)
    found = source.features(0, names[::-1])
    assert np.array_equal(found.T / np.float32(4), toy_features("0001", 9, 6, "int8")[:, ::-1])


def test_a_dot_in_a_name_is_no_path(tmp_path: Path) -> None:
    table = pa.table({"feature": pa.array([1, 2]), "feature.a": pa.array([3, 4])})
    source = Source(write(tmp_path / "dots.parquet", table))
    found = [codes.tolist() for codes in source.features(0, ["feature", "feature.a"])]
    assert found == [[1, 2], [3, 4]]


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "zstd", "lz4", "brotli"])
@pytest.mark.parametrize("in_dictionary", [False, True])
@pytest.mark.parametrize("pages", ["1.0", "2.0"])
def test_codecs_and_pages_make_no_difference(
    tmp_path: Path, codec: str, in_dictionary: bool, pages: str
) -> None:
    n_rows, n_features = 3000, 4
    codes = toy_features("0001", n_rows, n_features, "int8") * 4
    table = pa.table({f"feature_{i}": codes[:, i].astype(np.int8) for i in range(n_features)})
    path = write(
        tmp_path / "pages.parquet",
        table,
        compression=codec,
        use_dictionary=in_dictionary,
        data_page_version=pages,
        data_page_size=500,
        write_batch_size=100,
    )
    encodings = pq.ParquetFile(path).metadata.row_group(0).column(0).encodings
    assert ("RLE_DICTIONARY" in encodings) == in_dictionary
    found = Source(path).features(0, table.column_names)
    assert np.array_equal(found.T, codes)


# -- targets ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_targets_are_nan_where_null(tmp_path: Path, dtype: str) -> None:
    array = pa.array(np.array([0.25, 0.5, np.nan], dtype), mask=np.array([False, True, False]))
    (found,) = one_column(tmp_path, array, "target").targets(0, ["target"])
    assert bits(found) == bits(np.array([0.25, np.nan, np.nan], np.float32))


def test_targets_without_a_type_are_all_nan(tmp_path: Path) -> None:
    source = one_column(tmp_path, pa.nulls(3), "target")
    assert source.kinds == [("target", "null")]
    (found,) = source.targets(0, ["target"])
    assert bits(found) == bits(np.full(3, np.nan, np.float32))


def test_integer_targets_become_floats(tmp_path: Path) -> None:
    (found,) = one_column(tmp_path, pa.array([0, None, 7]), "target").targets(0, ["target"])
    assert bits(found) == bits(np.array([0, np.nan, 7], np.float32))


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1], pa.int8()), 1),
        (pa.array([1.0], pa.float64()), 8),
        (pa.array([1.0], pa.float32()), 4),
        (pa.array([1], pa.int32()).dictionary_encode(), 4),
        (pa.nulls(1), 1),
    ],
    ids=lambda value: str(getattr(value, "type", value)),
)
def test_the_bytes_of_a_decoded_value_are_known(tmp_path: Path, array: Any, expected: int) -> None:
    assert one_column(tmp_path, array, "target").item_bytes(["target"]) == expected


def test_the_widest_column_says_how_many_bytes(tmp_path: Path) -> None:
    table = pa.table({"a": pa.array([1], pa.int8()), "b": pa.array([1], pa.int64())})
    assert Source(write(tmp_path / "two.parquet", table)).item_bytes(["a", "b"]) == 8


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
    assert source.kinds == [("era", "text")]
    rows = source.eras(0, "era")
    assert [rows.labels[code] for code in rows.codes] == ["era1", "eraX", "era1"]


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint16", "uint64"])
def test_integer_eras_are_decimal_text(tmp_path: Path, dtype: str) -> None:
    source = one_column(tmp_path, pa.array(np.array([7, 12, 7], dtype)), "era")
    rows = source.eras(0, "era")
    assert [rows.labels[code] for code in rows.codes] == ["7", "12", "7"]


def test_a_row_without_an_era_is_named(tmp_path: Path) -> None:
    source = one_column(tmp_path, pa.array(["a", "b", "a", None, None]), "era", cuts=[2])
    assert source.eras(0, "era").labels == ["a", "b"]
    with refused(SourceError, "2 rows without an era", "row 3;"):
        source.eras(1, "era")


def test_an_empty_label_is_refused(tmp_path: Path) -> None:
    source = one_column(tmp_path, pa.array(["a", ""]), "era")
    with refused(SourceError, "an era's label is empty"):
        source.eras(0, "era")


def broken_text(length: int = 2) -> Any:
    """Return a text column whose second value isn't UTF-8."""
    offsets = pa.py_buffer(np.array([0, length, 2 * length], np.int32).tobytes())
    return pa.StringArray.from_buffers(2, offsets, pa.py_buffer(b"ab\xff\xfe"))


def test_a_label_that_is_not_text_is_refused(tmp_path: Path) -> None:
    source = one_column(tmp_path, broken_text(), "era")
    with refused(SourceError, "column 'era'", "not UTF-8 text (row "):
        source.eras(0, "era")


def test_data_types_are_counted_per_era(tmp_path: Path) -> None:
    table = pa.table(
        {
            "era": ["1", "2", "1", "1", "2", "3"],
            "data_type": ["train", "test", None, "train", "validation", None],
        }
    )
    source = Source(write(tmp_path / "types.parquet", table))
    rows = source.eras(0, "era")
    assert source.counts(0, rows, "data_type") == {
        "1": {"train": 2, "": 1},
        "2": {"test": 1, "validation": 1},
        "3": {"": 1},
    }
    assert source.counts(0, rows, None) == {"1": {"": 3}, "2": {"": 2}, "3": {"": 1}}


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


def test_ids_in_a_dictionary_are_looked_up(tmp_path: Path) -> None:
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


def test_a_row_without_an_id_is_named(tmp_path: Path) -> None:
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
    source = Source(tmp_path / "pandas.parquet")
    column = {"named": "id", "unnamed text": "__index_level_0__"}.get(index)
    if column is not None:
        assert all_ids(source, 0, column).tolist() == [b"na", b"nb", b"nc"]
    elif "__index_level_0__" in dict(source.kinds):
        assert all_ids(source, 0, "__index_level_0__").tolist() == [b"0", b"1", b"2"]


# -- row groups and files ---------------------------------------------------------------------


def test_row_groups_of_any_size_are_told(tmp_path: Path) -> None:
    source = one_column(tmp_path, pa.array(CODES, pa.int8()), cuts=[0, 1, 1, 4])
    assert source.row_groups == [0, 1, 0, 3, 3]
    found = [source.features(group, ["feature_a"])[0].tolist() for group in range(5)]
    assert found == [[], CODES[:1], [], CODES[1:4], CODES[4:]]


def test_everything_of_a_toy_source_is_where_it_belongs(tmp_path: Path) -> None:
    write_toy(tmp_path / "toy.parquet", {"0001": 5}, dtype="float32", nulls=True, n_targets=3)
    source = Source(tmp_path / "toy.parquet")
    features = np.array(list(source.floats(0, feature_names(5)))).T
    expected = toy_features("0001", 5, 5, "float32", nulls=True, missing=np.nan)
    assert np.array_equal(features, expected, equal_nan=True)
    targets = np.array(list(source.targets(0, target_names(3)))).T
    assert np.array_equal(targets, toy_targets("0001", 5, 3, nulls=True), equal_nan=True)
    assert all_ids(source).tolist() == toy_ids("0001", 5).tolist()


def test_a_wide_block_is_decoded_a_few_columns_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_rows, n_columns = 2**17, 200
    codes = pa.array(np.arange(n_rows) % 5, pa.int8())
    names = [f"feature_{column}" for column in range(n_columns)]
    table = pa.table(dict.fromkeys(names, codes))
    source = Source(write(tmp_path / "wide.parquet", table, compression="zstd"))
    held: list[int] = []
    check = Source._check_range

    def noting(*args: Any) -> None:
        held.append(pa.total_allocated_bytes() - before)
        check(*args)

    monkeypatch.setattr(Source, "_check_range", noting)
    before = pa.total_allocated_bytes()
    # Arrow takes some 9 bytes per value of all columns of one call, and one byte stays.
    source.features(0, names)
    assert len(held) == n_columns
    assert max(held) < n_rows * n_columns / 4


def test_metadata_leaves_out_what_arrow_and_pandas_keep_there(tmp_path: Path) -> None:
    table = pa.table({"a": [1]}).replace_schema_metadata({"key": "value", "pandas": "{}"})
    assert Source(write(tmp_path / "meta.parquet", table)).metadata == {"key": "value"}


def test_another_handle_reads_the_same(tmp_path: Path) -> None:
    source = one_column(tmp_path, pa.array(CODES, pa.int8()))
    twin = source.reopened()
    source.close()
    assert twin.features(0, ["feature_a"]).tolist() == [CODES]
    twin.close()


def test_another_handle_on_a_replaced_file_is_refused(tmp_path: Path) -> None:
    source = one_column(tmp_path, pa.array(CODES, pa.int8()))
    write(tmp_path / "other.parquet", pa.table({"feature_a": pa.array([1, 2], pa.int8())}))
    os.replace(tmp_path / "other.parquet", source.path)
    with refused(SourceError, str(source.path), "changed"):
        source.reopened()


def test_the_digest_of_a_file_tells_other_bytes_and_no_times(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(bytes(1000))
    with open(large, "wb") as file:
        file.truncate(2**26)
    for path in (small, large):
        before, size = sample_digest(path), path.stat().st_size
        os.utime(path, ns=(0, 0))
        assert sample_digest(path) == before
        found = {before}
        for place in (0, 99, size - 1):
            with open(path, "r+b") as file:
                file.seek(place)
                file.write(b"x")
            found.add(sample_digest(path))
        assert len(found) == 4
    (tmp_path / "empty").touch()
    assert sample_digest(tmp_path / "empty") not in found
    with refused(SourceError, "gone: can't be read"):
        sample_digest(tmp_path / "gone")


def test_a_touched_file_counts_as_changed(tmp_path: Path) -> None:
    source = one_column(tmp_path, pa.array(CODES, pa.int8()))
    source.check_unchanged()
    os.utime(source.path, ns=(0, 0))
    with refused(SourceError, "changed"):
        source.check_unchanged()


def test_a_file_that_is_gone_counts_as_changed(tmp_path: Path) -> None:
    source = one_column(tmp_path, pa.array(CODES, pa.int8()))
    source.path.unlink()
    with refused(SourceError, "one.parquet"):
        source.check_unchanged()


# -- damage -----------------------------------------------------------------------------------


def test_no_such_file(tmp_path: Path) -> None:
    with refused(SourceError, "no such file"):
        Source(tmp_path / "none.parquet")


def test_a_folder_is_no_source(tmp_path: Path) -> None:
    with refused(SourceError, "a folder"):
        Source(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"era,feature_a\n1,2\n", b"PK\3\4" * 9])
def test_another_kind_of_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.parquet"
    path.write_bytes(content)
    with refused(SourceError, "not a parquet file"):
        Source(path)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.parquet"
    write_toy(path, {"0001": 40})
    whole = path.read_bytes()
    for end in {*range(0, len(whole), 97), len(whole) - 1, len(whole) - 4, len(whole) - 8, 12}:
        path.write_bytes(whole[:end])
        with refused(SourceError, "cut.parquet"):
            Source(path)


def test_a_flipped_byte_is_refused_or_read_as_another_value(tmp_path: Path) -> None:
    path = tmp_path / "flipped.parquet"
    write_toy(path, {"0001": 300}, n_features=3, n_targets=1, nulls=True)
    whole = path.read_bytes()
    random = np.random.default_rng([1, 7])
    refused: list[MemmapTrainError] = []
    for position in random.choice(len(whole), 150, replace=False):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        try:
            source = Source(path)
            for group in range(len(source.row_groups)):
                read_all(source, group)
        except MemmapTrainError as error:
            refused.append(error)
    assert len(refused) >= 20
    assert {type(error) for error in refused} == {SourceError}
    assert not any("\n" in str(error) for error in refused)


def read_all(source: Source, group: int) -> None:
    """Read whatever a row group still seems to hold."""
    names = dict(source.kinds)
    if "era" in names:
        rows = source.eras(group, "era")
        source.counts(group, rows, "data_type" if "data_type" in names else None)
    if "id" in names:
        all_ids(source, group)
    list(source.floats(group, [name for name, kind in names.items() if kind == "float"]))
    list(source.features(group, [name for name, kind in names.items() if kind == "integer"]))


@pytest.mark.parametrize(
    ("seconds", "modified"),
    [(4e14, "9999-12-31T23:59:59+00:00"), (-4e14, "0001-01-01T00:00:00+00:00")],
)
def test_a_time_beyond_all_calendars_is_the_last_or_first_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, modified: str
) -> None:
    """As some file systems keep it; others know no such year."""
    path = write(tmp_path / "one.parquet", pa.table({"a": pa.array([1, 2])}))
    size = path.stat().st_size
    status = SimpleNamespace(st_size=size, st_mtime=seconds)
    monkeypatch.setattr(os, "fstat", lambda descriptor: status)
    assert describe_file(path).modified == modified


def test_files_are_told_apart_by_name_size_time_and_footer(tmp_path: Path) -> None:
    one = write(tmp_path / "one.parquet", pa.table({"a": pa.array([1, 2])}))
    two = write(tmp_path / "two.parquet", pa.table({"a": pa.array([1, 2])}))
    first, second = describe_file(one), describe_file(two)
    assert first.name == "one.parquet"
    assert first.bytes == one.stat().st_size
    assert first.footer_digest == second.footer_digest
    assert first.footer_digest.startswith("xxh3_128:")
    os.utime(one, ns=(0, 10**18))
    assert describe_file(one).modified == "2001-09-09T01:46:40+00:00"
    write(two, pa.table({"b": pa.array([1, 2])}))
    assert describe_file(two).footer_digest != first.footer_digest
