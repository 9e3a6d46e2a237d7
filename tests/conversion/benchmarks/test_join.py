"""Tests of benchmarks joined with a dataset: every value is at its row, whatever the files' layout.

The expected values come from a plain dictionary of (era, id), filled in Python.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import memmap_train as mt
from memmap_train.conversion.benchmarks.rows import BenchmarkRows
from memmap_train.dataset.dataset import Dataset
from tests.support.toy import toy_benchmarks, toy_ids, write_toy
from tests.support.toy_benchmarks import BENCHMARKS, benchmark_table, values_of, write_benchmarks

ERAS = {"0001": 30, "0002": 1, "0003": 25, "X": 7}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_toy(tmp_path / "toy.parquet", ERAS, row_group_rows=10)
    return tmp_path / "toy.parquet"


def joined_by_hand(dataset: Dataset, tables: list[pa.Table]) -> dict[str, npt.NDArray[Any]]:
    """Return the benchmarks of each era by a dictionary of (era, id) for each benchmark."""
    known: dict[tuple[str, str, bytes], float] = {}
    for table in tables:
        rows = table.to_pydict()
        for name in dataset.benchmark_names:
            if name in rows:
                for era, row_id, value in zip(rows["era"], rows["id"], rows[name], strict=True):
                    known[name, era, row_id.encode()] = np.nan if value is None else value
    return {
        era: np.array(
            [
                [known.get((name, era, row_id), np.nan) for name in dataset.benchmark_names]
                for row_id in np.asarray(shard.ids).tolist()
            ],
            np.float32,
        )
        for era, shard in dataset.items()
    }


def check_joined(dataset: Dataset, tables: list[pa.Table]) -> None:
    for era, expected in joined_by_hand(dataset, tables).items():
        np.testing.assert_array_equal(values_of(dataset, era), expected)
        nulls = dict(zip(dataset.benchmark_names, np.isnan(expected).sum(0).tolist(), strict=True))
        assert dataset.entry(era).benchmark_nulls == nulls
    assert mt.verify(dataset.path) == []


def test_every_value_is_at_its_row(source: Path) -> None:
    path = write_benchmarks(source.with_name("b.parquet"), ERAS)
    dataset = mt.convert(source, source.with_name("out"), benchmarks=path).dataset
    assert dataset.benchmark_names == BENCHMARKS
    assert [entry.name for entry in dataset.manifest.benchmark_sources] == ["b.parquet"]
    for era, rows in ERAS.items():
        expected = toy_benchmarks(era, rows, len(BENCHMARKS), nulls=True)
        assert np.isnan(expected).any() == (rows > 1)
        np.testing.assert_array_equal(values_of(dataset, era), expected)
    assert mt.verify(dataset.path) == []


@given(data=st.data())
def test_files_of_any_layout_are_joined_as_a_dictionary_joins_them(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Rows missing, rows too many, eras ungrouped, files that share benchmarks or have others."""
    folder = tmp_path_factory.mktemp("layout")
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    eras = {f"{n:04}": int(random.integers(1, 20)) for n in range(1, data.draw(st.integers(1, 5)))}
    eras["X"] = 5
    write_toy(folder / "toy.parquet", eras, row_group_rows=data.draw(st.integers(3, 30)))
    tables = []
    n_files = data.draw(st.integers(1, 3))
    for number in range(n_files):
        named = {}
        for era, rows in {**eras, "0777": 6}.items():
            # Of each era some rows, and some that it hasn't; no row in two files.
            numbers = np.arange(number, rows + 6, n_files)
            named[era] = numbers[random.random(len(numbers)) < random.random()]
        names = [name for name in BENCHMARKS if random.integers(3)] or [BENCHMARKS[0]]
        n_rows = sum(map(len, named.values()))
        table = benchmark_table(
            named,
            [names[place] for place in random.permutation(len(names))],
            order=random.permutation(n_rows) if data.draw(st.booleans()) else None,
            dtype=data.draw(st.sampled_from(["float32", "float64"])),
        )
        group_rows = data.draw(st.integers(1, 40))
        pq.write_table(table, folder / f"{number}.parquet", row_group_size=group_rows)
        tables.append(table)
    paths = [folder / f"{number}.parquet" for number in range(n_files)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("memmap_train.conversion.benchmarks.rows.ROWS_AT_ONCE", 7)
        patch.setattr("memmap_train.conversion.benchmarks.joined_era.CHUNK_BYTES", 100)
        report = mt.convert(folder / "toy.parquet", folder / "out", benchmarks=paths, workers=2)
    check_joined(report.dataset, tables)
    for file, table in zip(report.benchmark_files, tables, strict=True):
        labels, ids = table["era"].to_pylist(), table["id"].to_pylist()
        known = {(era, name.decode()) for era, rows in eras.items() for name in toy_ids(era, rows)}
        assert file.n_rows == len(table)
        assert file.n_joined == len(known & set(zip(labels, ids, strict=True)))
        assert file.n_other_eras == labels.count("0777")
        assert file.n_joined + file.n_other_eras + file.n_other_ids == len(table)


@pytest.mark.parametrize("declared", ["id", "__index_level_0__"])
def test_ids_may_be_a_declared_index(source: Path, declared: str) -> None:
    frame = benchmark_table(ERAS).to_pandas().set_index("id")
    if declared != "id":
        frame.index.name = None
    path = source.with_name("b.parquet")
    frame.to_parquet(path)
    assert declared in pq.read_schema(path).names
    dataset = mt.convert(source, source.with_name("out"), benchmarks=[path]).dataset
    assert dataset.benchmark_names == BENCHMARKS
    check_joined(dataset, [benchmark_table(ERAS)])


def test_an_index_of_numbers_beside_the_ids_is_no_benchmark(source: Path) -> None:
    table = benchmark_table(ERAS)
    path = source.with_name("b.parquet")
    pq.write_table(table.append_column("__index_level_0__", pa.array(range(len(table)))), path)
    dataset = mt.convert(source, source.with_name("out"), benchmarks=[path]).dataset
    assert dataset.benchmark_names == BENCHMARKS
    check_joined(dataset, [table])


@pytest.mark.parametrize(
    ("labels", "others"),
    [
        (["0001", "0002"], pa.array([1, 2])),
        (["0001", "0002"], pa.array([1.0, 2.0])),
        (["era1", "era2"], pa.array(["0001", "0002"])),
        (["0001", "0002"], pa.array(["0001", "0002"]).dictionary_encode()),
        (["2024-01-05", "2024-01-12"], pa.array([19727, 19734], pa.date32())),
        (["2024-01-05", "2024-01-12"], pa.array([b"20240105", b"20240112"])),
    ],
)
def test_an_era_is_the_same_era_under_another_type_of_label(
    tmp_path: Path, labels: list[str], others: Any
) -> None:
    source = pa.table({"era": labels, "id": ["a", "b"], "feature_a": [1, 2]})
    pq.write_table(source, tmp_path / "s.parquet")
    table = pa.table({"era": others, "id": ["a", "b"], "v53": [0.25, 0.5]})
    pq.write_table(table, tmp_path / "b.parquet")
    paths = [tmp_path / "b.parquet"]
    dataset = mt.convert(tmp_path / "s.parquet", tmp_path / "out", benchmarks=paths).dataset
    assert [values_of(dataset, era).tolist() for era in dataset] == [[[0.25]], [[0.5]]]


def test_ids_are_compared_as_text(tmp_path: Path) -> None:
    source = pa.table({"era": ["0001"] * 3, "id": [7, 10, 12345678], "feature_a": [1, 2, 3]})
    pq.write_table(source, tmp_path / "s.parquet")
    values = {"era": ["0001"] * 3, "id": ["12345678", "7", "1"], "v53": [1.0, 2.0, 3.0]}
    pq.write_table(pa.table(values), tmp_path / "b.parquet")
    paths = [tmp_path / "b.parquet"]
    report = mt.convert(tmp_path / "s.parquet", tmp_path / "out", benchmarks=paths)
    np.testing.assert_array_equal(values_of(report.dataset, "0001"), [[2.0], [np.nan], [1.0]])
    (file,) = report.benchmark_files
    assert (file.n_rows, file.n_joined, file.n_other_ids) == (3, 2, 1)


def test_an_id_in_different_eras_is_joined_by_both(tmp_path: Path) -> None:
    eras = ["2024-01-05", "2024-01-05", "2024-01-12"]
    source = pa.table({"date": eras, "ticker": ["A", "B", "A"], "feature_a": [1, 2, 3]})
    pq.write_table(source, tmp_path / "s.parquet")
    table = {"date": eras[::-1], "ticker": ["A", "B", "A"], "v53": [3.0, 2.0, 1.0]}
    pq.write_table(pa.table(table), tmp_path / "b.parquet")
    dataset = mt.convert(
        tmp_path / "s.parquet",
        tmp_path / "out",
        era_column="date",
        id_column="ticker",
        benchmarks=[tmp_path / "b.parquet"],
    ).dataset
    assert dataset.benchmark_names == ("v53",)
    assert values_of(dataset, eras[0]).tolist() == [[1.0], [2.0]]
    assert values_of(dataset, eras[2]).tolist() == [[3.0]]


def test_an_id_that_the_dataset_has_twice_gives_both_rows_its_value(tmp_path: Path) -> None:
    source = pa.table({"era": ["0001"] * 3, "id": ["a", "b", "a"], "feature_a": [1, 2, 3]})
    pq.write_table(source, tmp_path / "s.parquet")
    pq.write_table(pa.table({"era": ["0001"], "id": ["a"], "v": [0.5]}), tmp_path / "b.parquet")
    report = mt.convert(tmp_path / "s.parquet", tmp_path / "o", benchmarks=tmp_path / "b.parquet")
    np.testing.assert_array_equal(values_of(report.dataset, "0001"), [[0.5], [np.nan], [0.5]])
    assert [(f.n_rows, f.n_joined) for f in report.benchmark_files] == [(1, 1)]


def test_numbers_of_every_kind_become_float32(source: Path) -> None:
    n_rows = ERAS["0001"]
    columns = {
        "wide": pa.array([1 / 3] * n_rows),
        "half": pa.array(np.full(n_rows, 0.5, np.float16)),
        "whole": pa.array([7] * n_rows),
        "decimal": pa.array([1] * n_rows).cast(pa.decimal128(25, 3)),
        "none": pa.nulls(n_rows),
    }
    table = pa.table({"era": ["0001"] * n_rows, "id": toy_ids("0001", n_rows).tolist(), **columns})
    pq.write_table(table, source.with_name("b.parquet"))
    report = mt.convert(source, source.with_name("out"), benchmarks=[source.with_name("b.parquet")])
    assert report.dataset.benchmark_names == tuple(columns)
    expected = [np.float32(1 / 3), 0.5, 7, 1, np.nan]
    np.testing.assert_array_equal(values_of(report.dataset, "0001"), [expected] * n_rows)


def test_a_file_that_has_no_row_of_the_dataset_is_counted_and_left_out(source: Path) -> None:
    paths = [source.with_name("train.parquet"), source.with_name("live.parquet")]
    write_benchmarks(paths[0], {"0777": 30}, BENCHMARKS[:1])
    write_benchmarks(paths[1], {"X": range(100, 120)}, BENCHMARKS[1:2])
    report = mt.convert(source, source.with_name("out"), benchmarks=paths)
    assert [
        (file.name, file.n_rows, file.n_joined, file.n_other_eras, file.n_other_ids)
        for file in report.benchmark_files
    ] == [("train.parquet", 30, 0, 30, 0), ("live.parquet", 20, 0, 0, 20)]
    assert report.dataset.benchmark_names == BENCHMARKS[:2]
    assert all(np.isnan(values_of(report.dataset, era)).all() for era in ERAS)
    assert mt.verify(report.dataset.path) == []


def test_row_groups_without_an_era_of_the_dataset_are_not_decoded(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_benchmarks(source.with_name("b.parquet"), {"0700": 26, "0001": 13, "0701": 13})
    read: list[int] = []
    write_values = BenchmarkRows._write_values

    def noting(self: BenchmarkRows, handle: Any, group: int, name: str) -> None:
        read.append(group)
        write_values(self, handle, group, name)

    monkeypatch.setattr(BenchmarkRows, "_write_values", noting)
    report = mt.convert(source, source.with_name("out"), benchmarks=[path])
    assert set(read) == {2}
    assert [(f.n_joined, f.n_other_eras) for f in report.benchmark_files] == [(13, 39)]
