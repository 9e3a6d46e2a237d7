"""Tests of parquet sources: which columns and eras there are, what they take, what is refused."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memmap_train.conversion.conversion import convert
from memmap_train.conversion.parquet_source import ParquetSource
from memmap_train.conversion.plan import Columns, ConversionPlan, ConvertOptions
from memmap_train.conversion.schema import BEST_KEY, ColumnOptions
from memmap_train.errors import SchemaError, SourceError
from tests.support.conversions import features_json
from tests.support.errors import refused
from tests.support.toy import feature_names, target_names, toy_table, write_toy


def plan_of(*paths: Path, **options: Any) -> ConversionPlan:
    sources = ParquetSource(paths)
    asked = ConvertOptions(**options)
    return sources.make_plan(sources.choose_columns(asked), asked)


def columns_of(*paths: Path, **options: Any) -> Columns:
    return ParquetSource(paths).choose_columns(ConvertOptions(**options))


def written(folder: Path, name: str = "toy.parquet", **options: Any) -> Path:
    write_toy(folder / name, options.pop("eras", {"0001": 4, "0002": 3}), **options)
    return folder / name


# -- sources ----------------------------------------------------------------------------------


def test_no_sources_are_refused() -> None:
    with refused(SourceError, "no sources"):
        ParquetSource([])


@pytest.mark.parametrize("link", ["same path", "relative", "symbolic link", "hard link"])
def test_the_same_file_twice_is_refused(
    tmp_path: Path, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path)
    monkeypatch.chdir(tmp_path)
    other = {"same path": path, "relative": Path("toy.parquet")}.get(link, tmp_path / "other")
    if link == "symbolic link":
        other.symlink_to(path)
    if link == "hard link":
        os.link(path, other)
    with refused(SourceError, "the same file is named twice"):
        ParquetSource([path, other])


# -- eras and rows ----------------------------------------------------------------------------


def test_eras_come_sorted_as_numbers_with_all_their_rows(tmp_path: Path) -> None:
    path = written(tmp_path, eras=[("10", 3), ("X", 2), ("9", 4), ("10", 1)], row_group_rows=4)
    plan = plan_of(path)
    assert list(plan.rows_per_era.items()) == [("9", 4), ("10", 4), ("X", 2)]
    assert plan.n_rows == 10
    assert [group.eras for group in plan.groups] == [
        {"10": 3, "X": 1},
        {"X": 1, "9": 3},
        {"9": 1, "10": 1},
    ]


def test_row_groups_without_rows_are_left_out(tmp_path: Path) -> None:
    table = toy_table({"0001": 5})
    with pq.ParquetWriter(tmp_path / "empty.parquet", table.schema) as writer:
        for part in (table.slice(0, 0), table.slice(0, 2), table.slice(0, 0), table.slice(2)):
            writer.write_table(part)
    plan = plan_of(tmp_path / "empty.parquet")
    assert [(group.index, group.rows) for group in plan.groups] == [(1, 2), (3, 3)]


def test_data_types_add_up_over_files_and_row_groups(tmp_path: Path) -> None:
    one = written(tmp_path, "one.parquet", eras={"0001": 5}, row_group_rows=2)
    two = written(tmp_path, "two.parquet", eras={"0001": 4, "0002": 1}, data_type="test")
    assert plan_of(one, two).data_types == {"0001": {"train": 5, "test": 4}, "0002": {"test": 1}}


@pytest.mark.parametrize("data_type", ["absent", "null", "typeless"])
def test_rows_without_a_data_type_are_not_counted(tmp_path: Path, data_type: str) -> None:
    table = toy_table({"0001": 3}).drop_columns("data_type")
    if data_type != "absent":
        kind = pa.string() if data_type == "null" else pa.null()
        table = table.append_column("data_type", pa.nulls(3, kind))
    pq.write_table(table, tmp_path / "toy.parquet")
    plan = plan_of(tmp_path / "toy.parquet")
    assert plan.data_types == {"0001": {}}
    assert plan.n_rows == 3


def test_only_some_files_have_a_data_type(tmp_path: Path) -> None:
    pq.write_table(toy_table({"0001": 3}), tmp_path / "with.parquet")
    pq.write_table(toy_table({"0002": 2}).drop_columns("data_type"), tmp_path / "without.parquet")
    for names in (("with", "without"), ("without", "with")):
        plan = plan_of(*(tmp_path / f"{name}.parquet" for name in names))
        assert plan.data_types == {"0001": {"train": 3}, "0002": {}}


def test_the_longest_id_of_all_files_counts(tmp_path: Path) -> None:
    for name, ids in (("one", ["a", "bc"]), ("two", ["é" * 5, ""])):
        table = toy_table({name[:1]: 2}, ids=False).append_column("id", pa.array(ids))
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=1)
    assert plan_of(tmp_path / "one.parquet", tmp_path / "two.parquet").id_width == 10
    assert plan_of(written(tmp_path, ids=False)).id_width == 0


def test_an_id_longer_than_a_manifest_allows_is_refused(tmp_path: Path) -> None:
    table = toy_table({"0001": 2}, ids=False).append_column("id", pa.array(["a", "b" * 5000]))
    pq.write_table(table, tmp_path / "long.parquet")
    with refused(SourceError, "an id of 5,000 bytes; expected at most 4,096"):
        plan_of(tmp_path / "long.parquet")


def test_a_label_too_long_for_a_folder_is_refused(tmp_path: Path) -> None:
    pq.write_table(toy_table({"e" * 300: 2}), tmp_path / "long.parquet")
    with refused(SourceError, "era column 'era'", "too long for the name of a folder"):
        plan_of(tmp_path / "long.parquet")


def test_no_rows_are_refused(tmp_path: Path) -> None:
    pq.write_table(toy_table({"0001": 2}).slice(0, 0), tmp_path / "empty.parquet")
    with refused(SourceError, "no rows"):
        plan_of(tmp_path / "empty.parquet")


@pytest.mark.parametrize("column", ["era", "id"])
def test_a_row_without_an_era_or_an_id_is_refused(tmp_path: Path, column: str) -> None:
    table = toy_table({"0001": 3})
    position = table.column_names.index(column)
    table = table.set_column(position, column, pa.array(["a", None, "b"]))
    pq.write_table(table, tmp_path / "null.parquet")
    with refused(SourceError, f"{column} column {column!r}", "row 1;"):
        plan_of(tmp_path / "null.parquet")


def test_progress_counts_all_rows(tmp_path: Path) -> None:
    sources = ParquetSource([written(tmp_path, row_group_rows=3)])
    options = ConvertOptions()
    columns = sources.choose_columns(options)
    seen: list[tuple[int, int]] = []
    sources.make_plan(columns, options, lambda done, total: seen.append((done, total)))
    assert seen == [(3, 7), (6, 7), (7, 7)]


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_the_planned_bytes_are_those_that_are_written(tmp_path: Path, dtype: str) -> None:
    path = written(tmp_path, eras={"0001": 3000, "0002": 3000}, n_features=300, row_group_rows=999)
    plan = plan_of(path, dtype=dtype)
    convert(path, tmp_path / "out", dtype=dtype)
    files = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert len(files) == 9
    taken = sum(-(-file.stat().st_size // 4096) * 4096 for file in files)
    assert taken <= plan.n_bytes <= 1.1 * taken


# -- columns ----------------------------------------------------------------------------------


def test_all_columns_are_converted_by_default_in_the_files_order(tmp_path: Path) -> None:
    columns = columns_of(written(tmp_path, n_features=6, n_targets=3))
    assert columns.schema.features == tuple(feature_names(6))
    assert columns.schema.targets == tuple(target_names(3))
    assert columns.feature_sets == {}
    assert columns.best_possible is None


def test_a_set_keeps_the_files_order(tmp_path: Path) -> None:
    names = feature_names(6)
    sets = features_json(tmp_path, {"two": [names[4], names[1]], "all": names})
    columns = columns_of(written(tmp_path, n_features=6), features_json=sets, feature_set="two")
    assert columns.schema.features == (names[1], names[4])
    assert columns.feature_sets == {"two": (names[4], names[1])}


def test_only_complete_sets_are_recorded(tmp_path: Path) -> None:
    names = feature_names(3)
    sets = features_json(
        tmp_path, {"whole": names[:2], "partly": [names[0], "feature_else"], "empty": []}
    )
    assert set(columns_of(written(tmp_path, n_features=3), features_json=sets).feature_sets) == {
        "whole",
        "empty",
    }


def test_chosen_targets_keep_the_files_order(tmp_path: Path) -> None:
    names = target_names(3)
    path = written(tmp_path, n_targets=3)
    assert columns_of(path, targets=(names[2], names[0])).schema.targets == (names[0], names[2])
    assert columns_of(path, targets=()).schema.targets == ()


def test_files_may_have_their_columns_in_any_order(tmp_path: Path) -> None:
    table = toy_table({"0001": 3}, n_features=4)
    pq.write_table(table, tmp_path / "one.parquet")
    pq.write_table(table.select(table.column_names[::-1]), tmp_path / "two.parquet")
    columns = columns_of(tmp_path / "one.parquet", tmp_path / "two.parquet")
    assert columns.schema.features == tuple(feature_names(4))


@pytest.mark.parametrize("column", ["feature_z0", "feature_y1", "target", "id"])
def test_files_that_lack_a_column_are_refused(tmp_path: Path, column: str) -> None:
    table = toy_table({"0001": 3})
    pq.write_table(table, tmp_path / "one.parquet")
    pq.write_table(table.drop_columns(column), tmp_path / "two.parquet")
    for names in (("one", "two"), ("two", "one")):
        paths = [tmp_path / f"{name}.parquet" for name in names]
        said = "id" if column == "id" else repr(column)
        with refused(SchemaError, "one.parquet", "two.parquet", said):
            columns_of(*paths)


def test_files_whose_ids_have_other_names_are_refused(tmp_path: Path) -> None:
    table = toy_table({"0001": 3})
    names = [name if name != "id" else "__index_level_0__" for name in table.column_names]
    pq.write_table(table, tmp_path / "one.parquet")
    pq.write_table(table.rename_columns(names), tmp_path / "two.parquet")
    paths = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    with refused(SchemaError, "id column '__index_level_0__', but", "--id-column"):
        columns_of(*paths)


def test_integers_in_one_file_and_floats_in_another_share_a_schema(tmp_path: Path) -> None:
    one = written(tmp_path, "one.parquet")
    two = written(tmp_path, "two.parquet", dtype="float32")
    assert columns_of(one).schema.integer_features
    assert not columns_of(one, two).schema.integer_features
    assert not columns_of(two, one).schema.integer_features


@pytest.mark.parametrize(
    ("values", "expected"),
    [({"a": "0.25"}, 0.25), ({"a": "0.25", "b": "0.25"}, 0.25), ({"a": "0.25", "b": "0.5"}, None)],
)
@pytest.mark.parametrize("without", [False, True])
def test_the_best_score_of_a_sample_is_passed_on(
    tmp_path: Path, values: dict[str, str], expected: float | None, without: bool
) -> None:
    table = toy_table({"0001": 3})
    paths = []
    for name, value in values.items():
        paths.append(tmp_path / f"{name}.parquet")
        pq.write_table(table.replace_schema_metadata({BEST_KEY: value}), paths[-1])
    if without:
        paths.append(written(tmp_path))
    assert columns_of(*paths).best_possible == expected


@pytest.mark.parametrize("value", ["", "nan", "inf", "best"])
def test_a_best_score_that_is_not_a_number_is_ignored(tmp_path: Path, value: str) -> None:
    table = toy_table({"0001": 3}).replace_schema_metadata({BEST_KEY: value})
    pq.write_table(table, tmp_path / "toy.parquet")
    assert columns_of(tmp_path / "toy.parquet").best_possible is None


def test_columns_can_have_other_names(tmp_path: Path) -> None:
    table = pa.table(
        {
            "date": [1, 1],
            "name": ["a", "b"],
            "f1": np.array([0, 4], np.int8),
            "y": [0.5, 1.0],
            "feature_x": np.array([0, 4], np.int8),
        }
    )
    pq.write_table(table, tmp_path / "named.parquet")
    schema = columns_of(
        tmp_path / "named.parquet",
        columns=ColumnOptions(
            era_column="date", id_column="name", feature_prefix="f1", target_prefix="y"
        ),
    ).schema
    assert (schema.era, schema.id, schema.features, schema.targets) == (
        "date",
        "name",
        ("f1",),
        ("y",),
    )


# -- refused columns --------------------------------------------------------------------------


def replaced(column: str, array: Any) -> pa.Table:
    table = toy_table({"0001": 3})
    return table.set_column(table.column_names.index(column), column, array)


REFUSED = {
    "no era": (toy_table({"0001": 3}).drop_columns("era"), "no era column 'era'"),
    "other era": (
        toy_table({"0001": 3}).rename_columns({"era": "eras"}),
        "did you mean 'eras'?",
    ),
    "bool era": (replaced("era", pa.array([True, True, False])), "era column 'era' holds bool"),
    "no features": (pa.table({"era": ["1"], "target": [0.5]}), "begins with 'feature'"),
    "text features": (
        pa.table({"era": ["1"], "feature_a": ["a"], "feature_b": ["b"]}),
        "none of its features can be stored: 'feature_a' (holds text in ",
    ),
    "list id": (replaced("id", pa.array([[1], [2], [3]])), "id column 'id' holds list"),
    "names twice": (
        pa.Table.from_arrays(
            [pa.array(["1"]), pa.array([1]), pa.array([2])], ["era", "feature_a", "feature_a"]
        ),
        "'feature_a'",
    ),
}


@pytest.mark.parametrize(("table", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_columns_that_no_dataset_can_hold_are_refused(
    tmp_path: Path, table: pa.Table, said: str
) -> None:
    path = tmp_path / "refused.parquet"
    pq.write_table(table, path)
    with refused(SchemaError, said, "refused.parquet"):
        columns_of(path)


@pytest.mark.parametrize(
    ("column", "said"), [("ids", "did you mean 'id'?"), ("nonsense", "'nonsense'")]
)
def test_an_unknown_id_column_is_refused(tmp_path: Path, column: str, said: str) -> None:
    path = written(tmp_path)
    options = ColumnOptions(id_column=column)
    with refused(SchemaError, said):
        columns_of(path, columns=options)


def test_an_unknown_target_is_refused_with_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path, n_targets=3)
    with refused(SchemaError, "'target_t1'", "did you mean 'target_t1_20'?"):
        columns_of(path, targets=("target_t1",))


def test_an_unknown_set_is_refused_with_the_nearest(tmp_path: Path) -> None:
    sets = features_json(tmp_path, {"small": [], "medium": []})
    with refused(SchemaError, "'medum'", "did you mean 'medium'?"):
        columns_of(written(tmp_path), features_json=sets, feature_set="medum")


def test_an_incomplete_set_is_refused(tmp_path: Path) -> None:
    sets = features_json(tmp_path, {"small": ["feature_z0", "feature_gone"]})
    with refused(SchemaError, "1 of its 2", "'feature_gone'"):
        columns_of(written(tmp_path), features_json=sets, feature_set="small")


def test_an_empty_set_is_refused(tmp_path: Path) -> None:
    sets = features_json(tmp_path, {"none": []})
    with refused(SchemaError, "feature set 'none' is empty"):
        columns_of(written(tmp_path), features_json=sets, feature_set="none")


def test_a_set_without_a_features_json_is_refused(tmp_path: Path) -> None:
    with refused(SchemaError, "--features-json"):
        columns_of(written(tmp_path), feature_set="small")


def test_a_features_json_that_was_not_named_is_not_read(tmp_path: Path) -> None:
    path = written(tmp_path)
    features_json(tmp_path, {"small": ["feature_z0"]})
    assert columns_of(path).feature_sets == {}


def test_a_source_that_is_open_can_be_planned_again(tmp_path: Path) -> None:
    sources = ParquetSource([written(tmp_path)])
    options = ConvertOptions()
    columns = sources.choose_columns(options)
    assert sources.make_plan(columns, options) == sources.make_plan(columns, options)
