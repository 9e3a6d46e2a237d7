"""Tests of columns of all types as eras and ids, and of eras under two labels."""

import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memmap_train.conversion.conversion import convert
from memmap_train.conversion.preview import preview_sources
from memmap_train.conversion.preview_text import preview_text
from memmap_train.dataset.verify import verify
from memmap_train.errors import ConversionError, SchemaError, SourceError
from tests.support.conversions import converted
from tests.support.errors import refused
from tests.support.other_columns import N_ROWS, ROWS, of_eras, with_columns
from tests.support.toy import toy_ids, toy_table, write_toy

# -- eras -----------------------------------------------------------------------------------------


FRIDAYS = (date(2024, 1, 5), date(2024, 1, 12))
MIDNIGHTS = (datetime(2024, 1, 5), datetime(2024, 1, 12))
DATES = ("2024-01-05", "2024-01-12")


@pytest.mark.parametrize(
    ("eras", "labels"),
    [
        (of_eras(7, 12, pa.uint8()), ("7", "12")),
        (of_eras(-12, 7, pa.int64()), ("-12", "7")),
        (of_eras(7, 2**64 - 1, pa.uint64()), ("7", "18446744073709551615")),
        (of_eras(7.0, 12.0), ("7", "12")),
        (of_eras(-0.0, 12.0, pa.float32()), ("0", "12")),
        (of_eras(np.float16(7), np.float16(12), pa.float16()), ("7", "12")),
        (of_eras(7.0, 12.0).dictionary_encode(), ("7", "12")),
        (of_eras(Decimal("7.00"), Decimal("12.00")), ("7", "12")),
        (of_eras(Decimal(7), Decimal(12), pa.decimal256(60, 0)), ("7", "12")),
        (of_eras("0007", "0012").dictionary_encode(), ("0007", "0012")),
        (of_eras(b"0007", b"0012"), ("0007", "0012")),
        (of_eras(b"0007", b"0012", pa.large_binary()), ("0007", "0012")),
        (of_eras(b"0007", b"0012", pa.binary_view()), ("0007", "0012")),
        (of_eras(b"0007", b"0012", pa.binary(4)), ("0007", "0012")),
        (of_eras(b"0007", b"0012").dictionary_encode(), ("0007", "0012")),
        (of_eras(*FRIDAYS, pa.date32()), DATES),
        (of_eras(*FRIDAYS, pa.date64()), DATES),
        (of_eras(date(1969, 12, 26), date(1, 1, 1)), ("0001-01-01", "1969-12-26")),
        (of_eras(*MIDNIGHTS, pa.timestamp("s")), DATES),
        (of_eras(*MIDNIGHTS, pa.timestamp("ms")), DATES),
        (of_eras(*MIDNIGHTS, pa.timestamp("us")), DATES),
        (of_eras(*MIDNIGHTS, pa.timestamp("ns")), DATES),
        (of_eras(*MIDNIGHTS, pa.timestamp("ns", "UTC")), DATES),
        (
            of_eras(datetime(2024, 1, 5, 12, 30), datetime(2024, 1, 5, 12, 30, 1, 250_000)),
            ("2024-01-05T12:30:00", "2024-01-05T12:30:01.25"),
        ),
        (
            of_eras(1, -1, pa.timestamp("ns")),
            ("1969-12-31T23:59:59.999999999", "1970-01-01T00:00:00.000000001"),
        ),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
@pytest.mark.parametrize("keeps_arrow_types", [True, False])
def test_eras_of_any_type_become_text(
    tmp_path: Path, eras: pa.Array, labels: tuple[str, str], keeps_arrow_types: bool
) -> None:
    table, path = with_columns(toy_table(ROWS), era=eras), tmp_path / "eras.parquet"
    pq.write_table(table, path, store_schema=keeps_arrow_types, row_group_size=2)
    dataset = convert(path, tmp_path / "out").dataset
    assert dataset.eras == labels
    rows = {era: dataset.entry(era).rows for era in labels}
    assert sorted(rows.values()) == [3, 4]
    first = labels[0] if rows[labels[0]] == 4 else labels[1]
    assert np.array_equal(np.asarray(dataset[first].ids), toy_ids("0001", 4))
    assert list(verify(tmp_path / "out")) == []


@pytest.mark.parametrize("kind", [pa.binary(), pa.binary(5), pa.large_string()])
def test_data_types_may_be_bytes(tmp_path: Path, kind: pa.DataType) -> None:
    types = pa.array(["train"] * 3 + [None] + ["train"] * 3).cast(pa.binary()).cast(kind)
    dataset = converted(tmp_path, with_columns(toy_table(ROWS), data_type=types), "out")
    assert [dict(dataset.entry(era).data_type) for era in dataset.eras] == [{"train": 3}] * 2


def test_a_period_of_pandas_does_not_count_as_a_number(tmp_path: Path) -> None:
    """What parquet stores of it is one."""
    frame = toy_table(ROWS).to_pandas()
    frame["era"] = pd.period_range("2024-01-05", periods=N_ROWS)
    frame.to_parquet(tmp_path / "periods.parquet")
    with refused(SchemaError, "era column 'era' holds pandas.period values"):
        convert(tmp_path / "periods.parquet", tmp_path / "out")


def test_an_index_of_dates_may_be_the_era(tmp_path: Path) -> None:
    frame = toy_table(ROWS, ids=False).to_pandas().drop(columns="era")
    frame.index = pd.to_datetime(["2024-01-05"] * 4 + ["2024-01-12"] * 3)
    frame.to_parquet(tmp_path / "index.parquet")
    source = tmp_path / "index.parquet"
    dataset = convert(source, tmp_path / "out", era_column="__index_level_0__").dataset
    assert dataset.eras == DATES
    assert dataset.manifest.columns["id"] is None


def test_a_timestamp_with_a_time_zone_is_local_time(tmp_path: Path) -> None:
    winter, summer = datetime(2024, 1, 5, 5, tzinfo=UTC), datetime(2024, 7, 12, 4, tzinfo=UTC)
    eras = of_eras(winter, summer, pa.timestamp("us", "America/New_York"))
    dataset = converted(tmp_path, with_columns(toy_table(ROWS), era=eras), "out")
    assert dataset.eras == ("2024-01-05", "2024-07-12")
    # Without Arrow's own types, parquet knows the moment only.
    table = with_columns(toy_table(ROWS), era=eras.cast(pa.timestamp("us", "UTC")))
    dataset = converted(tmp_path, table, "utc")
    assert dataset.eras == ("2024-01-05T05:00:00", "2024-07-12T04:00:00")


def test_a_timestamp_with_a_time_has_a_portable_folder_name(
    tmp_path: Path,
) -> None:
    eras = of_eras(datetime(2024, 1, 5, 12, 30), datetime(2024, 1, 5))
    dataset = converted(tmp_path, with_columns(toy_table(ROWS), era=eras), "out")
    assert dataset.eras == ("2024-01-05", "2024-01-05T12:30:00")
    assert (tmp_path / "out" / "era-2024-01-05T12%3A30%3A00").is_dir()
    assert (tmp_path / "out" / "era-2024-01-05").is_dir()


def test_eras_that_may_be_out_of_order_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for eras in (("0001", "X"), ("2024-W01", "2024-W02"), ("a", "b"), ("2024-01-05", "Q1")):
        converted(tmp_path, with_columns(toy_table(ROWS), era=of_eras(*eras)), f"out-{eras[0]}")
    assert not caplog.records
    converted(tmp_path, with_columns(toy_table(ROWS), era=of_eras("2024-W9", "2024-W10")), "weeks")
    assert "eras such as '2024-W10', '2024-W9' hold" in caplog.text
    dataset = converted(
        tmp_path, with_columns(toy_table(ROWS), era=of_eras("12.01.2024", "05.02.2024"))
    )
    assert dataset.eras == ("05.02.2024", "12.01.2024")
    assert "eras such as '05.02.2024', '12.01.2024' hold neither a number nor" in caplog.text
    text = preview_text(preview_sources([tmp_path / "source.parquet"]))
    assert "'05.02.2024', '12.01.2024': neither numbers nor dates" in text


# -- ids ------------------------------------------------------------------------------------------


UUIDS = [uuid.UUID(int=number) for number in range(N_ROWS)]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (pa.array([f"n{row}".encode() for row in range(N_ROWS)]), "n{}".format),
        (pa.array([f"n{row}".encode() for row in range(N_ROWS)], pa.binary(2)), "n{}".format),
        (pa.array([f"n{row}".encode() for row in range(N_ROWS)], pa.binary_view()), "n{}".format),
        (pa.array(range(N_ROWS), pa.uint64()), "{}".format),
        (pa.array(np.arange(N_ROWS) * 1e15), lambda row: str(row * 10**15)),
        (pa.array(np.arange(N_ROWS), pa.float32()).dictionary_encode(), "{}".format),
        (pa.array([Decimal(row) for row in range(N_ROWS)]), "{}".format),
        (pa.array([u.bytes for u in UUIDS], pa.uuid()), lambda row: str(UUIDS[row])),
        (
            pa.array([date(2024, 1, 1 + row) for row in range(N_ROWS)]),
            lambda row: f"2024-01-0{1 + row}",
        ),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_ids_of_any_type_become_text(
    tmp_path: Path, ids: pa.Array, expected: Callable[[int], str]
) -> None:
    path = tmp_path / "ids.parquet"
    pq.write_table(with_columns(toy_table(ROWS), id=ids), path, row_group_size=3)
    dataset = convert(path, tmp_path / "out").dataset
    found = [name.decode() for era in dataset.eras for name in np.asarray(dataset[era].ids)]
    assert found == [expected(row) for row in range(N_ROWS)]
    assert list(verify(tmp_path / "out")) == []


@pytest.mark.parametrize("row", [0, 1, 6])
@pytest.mark.parametrize("column", ["era", "id"])
def test_a_value_that_is_not_a_label_is_reported_with_its_row(
    tmp_path: Path, row: int, column: str
) -> None:
    values = [1.0] * N_ROWS
    values[row] = 2.5
    table = with_columns(toy_table(ROWS), **{column: pa.array(values)})
    pq.write_table(table, tmp_path / "bad.parquet", row_group_size=2)
    with refused(SourceError, f"{column} column '{column}': found 2.5 (row {row});"):
        convert(tmp_path / "bad.parquet", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_index_that_only_one_file_has_is_refused_with_advice_about_ids(tmp_path: Path) -> None:
    with_index, without = tmp_path / "with.parquet", tmp_path / "without.parquet"
    table = toy_table({"0001": 4}, ids=False)
    pq.write_table(table.append_column("__index_level_0__", pa.array([3, 1, 0, 2])), with_index)
    pq.write_table(toy_table({"0002": 3}, ids=False), without)
    with refused(SchemaError, "__index_level_0__", '--id-column ""'):
        convert([with_index, without], tmp_path / "out")
    dataset = convert([with_index, without], tmp_path / "out", id_column="").dataset
    assert dataset["0001"].ids is None


# -- one era under two labels ---------------------------------------------------------------------


TWO_LABELS = [
    ("0001", 1),
    ("0001", 1.0),
    ("0001", "era1"),
    ("era1", "Era 0001"),
    ("1", "1.0"),
    ("0001", "0001 "),
    ("X", "eraX"),
    ("a", "A"),
    ("2024-01-05", "20240105"),
    ("2024-1-5", "2024/01/05"),
    (20240105, date(2024, 1, 5)),
    (date(2024, 1, 5), "2024-01-05 00:00:00"),
    (datetime(2024, 1, 5, 12, 30), "2024-01-05 12:30"),
]


@pytest.mark.parametrize(("one", "other"), TWO_LABELS, ids=str)
def test_one_era_with_two_labels_is_refused(tmp_path: Path, one: Any, other: Any) -> None:
    for name, label in (("a", one), ("b", other)):
        table = with_columns(toy_table({"0001": 4}), era=pa.array([label] * 4))
        pq.write_table(table, tmp_path / f"{name}.parquet")
    files = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for sources in (files, files[::-1]):
        said = (str(sources[1]), f"(in {sources[0]})", "two labels of one era")
        with refused(SourceError, *said):
            convert(sources, tmp_path / "out")
        with refused(SourceError, *said):
            preview_sources(sources)
    assert not (tmp_path / "out").exists()


def test_two_labels_of_one_era_within_a_file_are_refused(tmp_path: Path) -> None:
    with refused(SourceError, "source.parquet: era column 'era': '1' and '0001' (in "):
        converted(tmp_path, with_columns(toy_table(ROWS), era=of_eras("0001", "1")))


def test_files_may_write_different_eras_in_different_forms(
    tmp_path: Path,
) -> None:
    for name, eras in (
        ("a", pa.array(["0002", "0001", "X"])),
        ("b", pa.array([10, 3, 9])),
        ("c", pa.array(["US_1", "EU_1", "era_4"])),
        ("d", pa.array([date(2024, 1, 5), date(2023, 1, 5), date(999, 1, 1)])),
        ("e", pa.array(["20240104", "2023-12-31", "2024-01-05 09:30"])),
    ):
        table = with_columns(toy_table({"0001": 3}), era=eras)
        pq.write_table(table, tmp_path / f"{name}.parquet")
    dataset = convert(sorted(tmp_path.glob("*.parquet")), tmp_path / "out").dataset
    assert dataset.eras == (
        *("0001", "EU_1", "US_1", "0002", "3", "era_4", "9", "10"),
        *("0999-01-01", "2023-01-05", "2023-12-31", "20240104", "2024-01-05"),
        *("2024-01-05 09:30", "X"),
    )


def test_the_live_file_of_another_day_is_refused_with_advice(tmp_path: Path) -> None:
    source, out = tmp_path / "live.parquet", tmp_path / "out"
    write_toy(source, {"X": 5})
    convert(source, out)
    other_ids = pa.array([f"other{row}" for row in range(5)])
    for table in (with_columns(toy_table({"X": 5}), id=other_ids), toy_table({"X": 6})):
        pq.write_table(table, source)
        with refused(ConversionError, "era 'X'", "choose another --out", "--overwrite"):
            convert(source, out)
    assert convert(source, out, overwrite=True).n_rows == 6


def test_an_update_refuses_the_same_eras_with_other_labels(tmp_path: Path) -> None:
    source, out = tmp_path / "source.parquet", tmp_path / "out"
    pq.write_table(with_columns(toy_table(ROWS), era=of_eras("0001", "0002")), source)
    convert(source, out)
    before = (out / "manifest.json").read_bytes()
    pq.write_table(with_columns(toy_table(ROWS), era=of_eras("1", "2")), source)
    with refused(ConversionError, "'0001', '0002'", "--overwrite"):
        convert(source, out)
    assert (out / "manifest.json").read_bytes() == before
