"""Tests of features and targets: every type of column that Numerai or its users have written."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memmap_train.conversion.codec import MISSING_CODE
from memmap_train.conversion.parquet import handle
from memmap_train.conversion.parquet.columns import first_non_code
from memmap_train.conversion.parquet.handle import ParquetHandle
from memmap_train.errors import SourceError
from tests.support.errors import refused
from tests.support.parquet_files import all_ids, one_column, open_file, write
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


def bits(array: npt.NDArray[np.float32]) -> list[int]:
    """Return a float32 array's bits, with one kind of NaN: -0.0 differs from 0.0."""
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
    (floats,) = source.floats(0, ["feature_a"], divide_codes=True)
    assert bits(floats) == bits(np.where(mask, np.float32(np.nan), np.array(CODES, np.float32) / 4))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("null_at", [None, 2])
def test_floats_of_any_width_keep_their_bits(
    tmp_path: Path, dtype: str, null_at: int | None
) -> None:
    mask = np.arange(len(QUARTERS)) == null_at
    source = one_column(tmp_path, pa.array(np.array(QUARTERS, dtype), mask=mask))
    (found,) = source.floats(0, ["feature_a"], divide_codes=True)
    expected = np.array(QUARTERS, np.float32)
    expected[mask] = np.nan
    assert bits(found) == bits(expected)


def test_float64_is_rounded_to_the_nearest_float32(tmp_path: Path) -> None:
    values = np.array([0.1, 1 / 3, 1 + 2.0**-24, 1 + 3 * 2.0**-24, 1e-50, -1e-50, 16777217.0])
    (found,) = one_column(tmp_path, pa.array(values)).floats(0, ["feature_a"], divide_codes=True)
    assert bits(found) == bits(values.astype(np.float32))
    assert found[2:4].tolist() == [1.0, 1 + 2.0**-22]  # halves go to the even neighbour


def test_a_float64_beyond_float32_is_an_infinity(tmp_path: Path) -> None:
    (found,) = one_column(tmp_path, pa.array([1e300, -1e39])).floats(
        0, ["feature_a"], divide_codes=True
    )
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
def test_an_integer_that_is_not_a_code_is_refused(
    tmp_path: Path, dtype: str, value: int, null_at: int | None
) -> None:
    values = np.array([0, 4, value, 1], dtype)
    source = one_column(tmp_path, pa.array(values, mask=np.arange(4) == null_at))
    for read in (source.features, partial(source.floats, divide_codes=True)):
        with refused(SourceError, "'feature_a'", f"found {value} ", "one.parquet"):
            list(read(0, ["feature_a"]))


def test_the_bytes_under_a_null_are_ignored(tmp_path: Path) -> None:
    array = pa.array(np.array([1, 99, 3], np.int8), mask=np.array([False, True, False]))
    (codes,) = one_column(tmp_path, array).features(0, ["feature_a"])
    assert codes.tolist() == [1, MISSING_CODE, 3]


def test_a_column_of_nulls_is_missing_in_every_row(tmp_path: Path) -> None:
    source = one_column(tmp_path, pa.nulls(3))
    assert source.info.kinds == (("feature_a", "null"),)
    assert source.features(0, ["feature_a"]).tolist() == [[MISSING_CODE] * 3]
    (floats,) = source.floats(0, ["feature_a"], divide_codes=True)
    assert np.isnan(floats).all()
    assert len(floats) == 3


def test_columns_come_in_the_order_asked_for(tmp_path: Path) -> None:
    write_toy(tmp_path / "toy.parquet", {"0001": 9}, n_features=6)
    source = open_file(tmp_path / "toy.parquet")
    names = feature_names(6)
    found = source.features(0, names[::-1])
    assert np.array_equal(found.T / np.float32(4), toy_features("0001", 9, 6, "int8")[:, ::-1])


def test_a_dot_in_a_name_does_not_make_it_a_path(tmp_path: Path) -> None:
    table = pa.table({"feature": pa.array([1, 2]), "feature.a": pa.array([3, 4])})
    source = open_file(write(tmp_path / "dots.parquet", table))
    found = [codes.tolist() for codes in source.features(0, ["feature", "feature.a"])]
    assert found == [[1, 2], [3, 4]]


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "zstd", "lz4", "brotli"])
@pytest.mark.parametrize("in_dictionary", [False, True])
@pytest.mark.parametrize("pages", ["1.0", "2.0"])
def test_codes_are_the_same_in_all_codecs_and_pages(
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
    found = open_file(path).features(0, table.column_names)
    assert np.array_equal(found.T, codes)


# -- targets ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_targets_are_nan_where_null(tmp_path: Path, dtype: str) -> None:
    array = pa.array(np.array([0.25, 0.5, np.nan], dtype), mask=np.array([False, True, False]))
    (found,) = one_column(tmp_path, array, "target").floats(0, ["target"], divide_codes=False)
    assert bits(found) == bits(np.array([0.25, np.nan, np.nan], np.float32))


def test_targets_without_a_type_are_all_nan(tmp_path: Path) -> None:
    source = one_column(tmp_path, pa.nulls(3), "target")
    assert source.info.kinds == (("target", "null"),)
    (found,) = source.floats(0, ["target"], divide_codes=False)
    assert bits(found) == bits(np.full(3, np.nan, np.float32))


def test_integer_targets_become_floats(tmp_path: Path) -> None:
    (found,) = one_column(tmp_path, pa.array([0, None, 7]), "target").floats(
        0, ["target"], divide_codes=False
    )
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
    assert one_column(tmp_path, array, "target").info.item_bytes(["target"]) == expected


def test_the_widest_column_says_how_many_bytes(tmp_path: Path) -> None:
    table = pa.table({"a": pa.array([1], pa.int8()), "b": pa.array([1], pa.int64())})
    assert open_file(write(tmp_path / "two.parquet", table)).info.item_bytes(["a", "b"]) == 8


# -- row groups ------------------------------------------------------------------------------


def test_row_groups_of_any_size_are_read(tmp_path: Path) -> None:
    source = one_column(tmp_path, pa.array(CODES, pa.int8()), cuts=[0, 1, 1, 4])
    assert source.info.row_groups == (0, 1, 0, 3, 3)
    found = [source.features(group, ["feature_a"])[0].tolist() for group in range(5)]
    assert found == [[], CODES[:1], [], CODES[1:4], CODES[4:]]


def test_all_values_of_a_toy_source_are_in_their_positions(tmp_path: Path) -> None:
    write_toy(tmp_path / "toy.parquet", {"0001": 5}, dtype="float32", nulls=True, n_targets=3)
    source = open_file(tmp_path / "toy.parquet")
    features = np.array(list(source.floats(0, feature_names(5), divide_codes=True))).T
    expected = toy_features("0001", 5, 5, "float32", nulls=True, missing=np.nan)
    assert np.array_equal(features, expected, equal_nan=True)
    targets = np.array(list(source.floats(0, target_names(3), divide_codes=False))).T
    assert np.array_equal(targets, toy_targets("0001", 5, 3, nulls=True), equal_nan=True)
    assert all_ids(source).tolist() == toy_ids("0001", 5).tolist()


def test_a_wide_block_is_decoded_a_few_columns_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_rows, n_columns = 2**17, 200
    codes = pa.array(np.arange(n_rows) % 5, pa.int8())
    names = [f"feature_{column}" for column in range(n_columns)]
    table = pa.table(dict.fromkeys(names, codes))
    source = open_file(write(tmp_path / "wide.parquet", table, compression="zstd"))
    held: list[int] = []
    check = first_non_code

    def noting(array: Any) -> int | None:
        held.append(pa.total_allocated_bytes() - before)
        return check(array)

    monkeypatch.setattr(handle, "first_non_code", noting)
    before = pa.total_allocated_bytes()
    # Arrow takes some 9 bytes per value of all columns of one call, and one byte stays.
    source.features(0, names)
    assert len(held) == n_columns
    assert max(held) < n_rows * n_columns / 4


def test_a_handle_on_a_replaced_file_is_refused(tmp_path: Path) -> None:
    info = one_column(tmp_path, pa.array(CODES, pa.int8())).info
    write(tmp_path / "other.parquet", pa.table({"feature_a": pa.array([1, 2], pa.int8())}))
    os.replace(tmp_path / "other.parquet", info.path)
    with refused(SourceError, "changed"):
        ParquetHandle(info)
