"""Tests of files that can't be joined as benchmarks: one line says why, and nothing is written."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import memmap_train as mt
from memmap_train.errors import ConversionError, MemmapTrainError, SchemaError, SourceError
from tests.support.errors import refused
from tests.support.files import contents
from tests.support.interruptions import ERAS, write_source
from tests.support.toy import toy_ids, write_toy
from tests.support.toy_benchmarks import BENCHMARKS, benchmark_table, write_benchmarks


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path)


@pytest.fixture
def good(tmp_path: Path) -> pa.Table:
    return benchmark_table(ERAS)


def check_refused(
    source: Path, files: list[Path], kind: type[MemmapTrainError], *said: str, **options: Any
) -> None:
    """Check that files are refused for a new dataset, and for one that is there."""
    out = source.with_name("refused")
    before = contents(source.parent)
    with refused(kind, *said):
        mt.convert(source, out, benchmarks=files, **options)
    assert not out.exists()
    assert contents(source.parent) == before
    mt.convert(source, out, **options)
    before = contents(source.parent)
    for sources in ([source], []):
        given = options if sources else {}
        with refused(kind, *said):
            mt.convert(sources, out, benchmarks=files, **given)
        assert contents(source.parent) == before


def written(source: Path, table: pa.Table, name: str = "b.parquet") -> Path:
    pq.write_table(table, source.with_name(name), row_group_size=13)
    return source.with_name(name)


def with_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    """Return a table with a column replaced, or added."""
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, values)
    return table.append_column(name, values)


# -- columns --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("id", ["no id column", "'id' or '__index_level_0__'"]),
        ("era", ["no era column", "'era'"]),
    ],
)
def test_a_file_without_eras_or_ids_is_refused(
    source: Path, good: pa.Table, column: str, said: list[str]
) -> None:
    path = written(source, good.drop_columns([column]))
    check_refused(source, [path], SchemaError, str(path), *said, "joined by era and id")


def test_a_file_without_benchmarks_is_refused(source: Path, good: pa.Table) -> None:
    path = written(source, good.select(["era", "data_type", "id"]))
    check_refused(source, [path], SchemaError, str(path), "no benchmarks", "meta_model.parquet")


@pytest.mark.parametrize("kind", ["text", "bool", "list"])
def test_a_column_that_is_no_number_is_named(source: Path, good: pa.Table, kind: str) -> None:
    value = {"text": "0.5", "bool": True, "list": [0.5]}[kind]
    path = written(source, with_column(good, "v54_lgbm", pa.array([value] * len(good))))
    check_refused(source, [path], SchemaError, str(path), "'v54_lgbm' (holds", "expected numbers")


@pytest.mark.parametrize("name", ["target", "feature_z0"])
def test_a_file_with_features_or_targets_is_a_source(
    source: Path, good: pa.Table, name: str
) -> None:
    path = written(source, with_column(good, name, pa.array([1] * len(good))))
    check_refused(source, [path], SchemaError, str(path), repr(name), "features or targets")


def test_several_columns_of_one_name_are_refused(source: Path, good: pa.Table) -> None:
    for name, said in (("id", "several columns"), (BENCHMARKS[0], "several columns of one name")):
        path = written(source, good.append_column(name, good[name]))
        check_refused(source, [path], SchemaError, str(path), repr(name), said)
        path.unlink()
        source.with_name("refused").rename(source.with_name(f"after {name}"))


def test_a_dataset_without_ids_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "toy.parquet"
    write_toy(source, ERAS, ids=False)
    path = write_benchmarks(tmp_path / "b.parquet", ERAS)
    check_refused(source, [path], SchemaError, "has no ids", "--id-column")


# -- rows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("same_value", [True, False])
@pytest.mark.parametrize("apart", [False, True])
def test_an_id_twice_in_an_era_is_refused(
    source: Path, good: pa.Table, apart: bool, same_value: bool
) -> None:
    """Whether both rows are in one row group or not, and whatever they hold."""
    place = good["id"].to_pylist().index(toy_ids("0003", [4])[0].decode())
    row = good.slice(place, 1)
    if not same_value:
        row = with_column(row, BENCHMARKS[0], pa.array([0.25], pa.float32()))
    at = len(good) if apart else place
    path = written(source, pa.concat_tables([good.slice(0, at), row, good.slice(at)]))
    named = repr(toy_ids("0003", [4])[0].decode())
    check_refused(source, [path], SourceError, str(path), "era '0003'", named, "each id once")


def test_an_id_twice_that_the_dataset_lacks_is_refused_in_an_era_that_it_has(source: Path) -> None:
    table = benchmark_table({"0001": [0, 1, 700, 700]})
    path = written(source, table)
    named = repr(toy_ids("0001", [700])[0].decode())
    check_refused(source, [path], SourceError, str(path), "era '0001'", named)


@pytest.mark.parametrize("conflicting", [False, True])
def test_an_id_in_two_files_of_a_benchmark_is_refused(source: Path, conflicting: bool) -> None:
    one = write_benchmarks(source.with_name("one.parquet"), {"0001": 30, "0003": 9})
    table = benchmark_table({"0003": range(8, 25)}, BENCHMARKS[1:])
    if conflicting:
        table = with_column(table, BENCHMARKS[1], pa.array(np.full(len(table), 0.5)))
    other = written(source, table, "other.parquet")
    named = repr(toy_ids("0003", [8])[0].decode())
    said = [str(other), "era '0003'", named, str(one), repr(BENCHMARKS[1])]
    check_refused(source, [one, other], SourceError, *said)


def test_the_same_file_twice_is_refused(source: Path) -> None:
    path = write_benchmarks(source.with_name("b.parquet"), ERAS)
    check_refused(source, [path, path], SourceError, str(path), "named twice")


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), 1e39, -1e300])
def test_a_value_that_float32_cannot_hold_is_refused(
    source: Path, good: pa.Table, value: float
) -> None:
    values = good[BENCHMARKS[1]].to_numpy().astype(np.float64)
    values[31] = value
    path = written(source, with_column(good, BENCHMARKS[1], pa.array(values)))
    said = [str(path), repr(BENCHMARKS[1]), "1 value infinite or too large", "row 31"]
    check_refused(source, [path], SourceError, *said)


@pytest.mark.parametrize("column", ["era", "id"])
def test_a_row_without_era_or_id_is_refused(source: Path, good: pa.Table, column: str) -> None:
    values = good[column].to_pylist()
    values[20] = None
    path = written(source, with_column(good, column, pa.array(values)))
    line = [str(path), f"{column} column {column!r}", "1 rows without", "row 20"]
    check_refused(source, [path], SourceError, *line, "write the file again")


def test_ids_that_are_no_labels_are_refused(source: Path, good: pa.Table) -> None:
    path = written(source, with_column(good, "id", pa.array(np.arange(len(good)) + 0.5)))
    check_refused(source, [path], SourceError, str(path), "'id'", "0.5", "write the file again")
    path = written(source, with_column(good, "id", pa.array([[1]] * len(good))))


# -- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"era,id,v53\n0001,n1,0.5\n", b"PAR1" * 30])
def test_a_file_that_is_not_parquet_is_refused(source: Path, content: bytes) -> None:
    path = source.with_name("b.csv")
    path.write_bytes(content)
    check_refused(source, [path], SourceError, str(path))


def test_a_file_that_is_not_there_is_refused(source: Path) -> None:
    path = source.with_name("none.parquet")
    check_refused(source, [path], SourceError, str(path), "no such file")


def test_a_file_that_changes_while_it_is_read_is_refused(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_benchmarks(source.with_name("b.parquet"), ERAS)
    out = source.with_name("out")

    def replace_file(what: str, done: int, total: int) -> None:
        if what == "reading benchmarks":
            write_benchmarks(path, {"0001": 3})

    with refused(SourceError, str(path), "changed while it was read"):
        mt.convert(source, out, benchmarks=path, progress=replace_file)
    assert not out.exists()


def test_too_little_disk_for_the_rows_is_said_before_anything_is_written(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_benchmarks(source.with_name("b.parquet"), ERAS)
    monkeypatch.setattr("memmap_train.conversion.preflight.free_disk", lambda folder: 1000)
    with refused(ConversionError, "not enough disk for the benchmarks", "found 1.0 kB"):
        mt.convert(source, source.with_name("out"), benchmarks=path)
    assert not source.with_name("out").exists()
