"""Tests of what columns and eras mean, from names and kinds alone."""

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memmap_train.conversion.schema import (
    ColumnOptions,
    Kind,
    Schema,
    common_schema,
    data_type_column,
    read_schema,
    without_unusable,
)
from memmap_train.dataset.eras import era_folder, era_number, era_sort_key, era_time
from memmap_train.errors import SchemaError
from tests.support.errors import refused

NUMERAI: list[tuple[str, Kind]] = [
    ("era", "text"),
    ("data_type", "text"),
    ("feature_b", "integer"),
    ("feature_a", "integer"),
    ("target", "float"),
    ("target_t1_20", "float"),
    ("id", "text"),
]

labels = st.text(st.characters(codec="utf-8"), max_size=20)


def read(kinds: list[tuple[str, Kind]], **options: Any) -> Schema:
    return read_schema(kinds, ColumnOptions(**options), where="train.parquet")


def replaced(name: str, kind: Kind) -> list[tuple[str, Kind]]:
    assert name in dict(NUMERAI)
    return [(n, kind if n == name else k) for n, k in NUMERAI]


def without(*names: str) -> list[tuple[str, Kind]]:
    return [(n, k) for n, k in NUMERAI if n not in names]


# -- columns --------------------------------------------------------------------------------------


def test_numerais_columns_are_known_by_their_names_in_the_files_order() -> None:
    assert read(NUMERAI) == Schema(
        era="era",
        id="id",
        features=("feature_b", "feature_a"),
        targets=("target", "target_t1_20"),
        integer_features=True,
    )


def test_a_source_may_lack_ids_targets_and_data_types() -> None:
    schema = read(without("id", "target", "target_t1_20", "data_type"))
    assert (schema.id, schema.targets) == (None, ())


def test_an_index_of_pandas_serves_as_id_unless_there_is_one() -> None:
    index: list[tuple[str, Kind]] = [("__index_level_0__", "text")]
    assert read(without("id") + index).id == "__index_level_0__"
    assert read(NUMERAI + index).id == "id"
    assert read(NUMERAI + index, id_column="__index_level_0__").id == "__index_level_0__"


def test_an_index_of_pandas_that_is_the_era_is_not_the_id() -> None:
    kinds: list[tuple[str, Kind]] = [*without("era", "id"), ("__index_level_0__", "timestamp")]
    assert read(kinds, era_column="__index_level_0__").id is None
    assert read(NUMERAI, era_column="id").id is None
    assert read(NUMERAI, era_column="id", id_column="id").id == "id"


def test_names_and_prefixes_can_be_chosen() -> None:
    kinds: list[tuple[str, Kind]] = [
        ("date", "integer"), ("key", "integer"), ("x_1", "float"), ("y_1", "integer"),
        ("feature_a", "integer"), ("x_key", "text"),
    ]  # fmt: skip
    schema = read(kinds, era_column="date", id_column="x_key", feature_prefix="x_",
                  target_prefix="y_")  # fmt: skip
    assert schema == Schema("date", "x_key", ("x_1",), ("y_1",), False)


def test_an_era_or_id_column_that_begins_like_a_feature_is_not_a_feature() -> None:
    kinds: list[tuple[str, Kind]] = [("feature_era", "text"), ("feature_id", "text"), *NUMERAI]
    schema = read(kinds, era_column="feature_era", id_column="feature_id")
    assert schema.features == ("feature_b", "feature_a")


def test_features_are_codes_only_if_all_of_them_are_integers() -> None:
    assert not read(replaced("feature_a", "float")).integer_features
    assert read(replaced("feature_a", "null")).integer_features  # missing in every row


@pytest.mark.parametrize("kind", ["integer", "float", "null"])
def test_targets_may_be_numbers_or_nothing_but_null(kind: Kind) -> None:
    assert read(replaced("target", kind)).targets == ("target", "target_t1_20")


def test_data_types_that_are_not_text_are_ignored() -> None:
    assert data_type_column(replaced("data_type", "integer")) is None
    assert data_type_column([*NUMERAI, ("data_type", "text")]) is None
    assert data_type_column(NUMERAI) == "data_type"


@pytest.mark.parametrize(
    ("kinds", "options", "said"),
    [
        (without("era"), {}, ("no era column 'era'", "6 columns", "--era-column")),
        (NUMERAI, {"era_column": "eras"}, ("no era column 'eras'", "did you mean 'era'?")),
        (replaced("era", "bool"), {}, ("era column 'era' holds bool values", "or dates")),
        (replaced("era", "null"), {}, ("era column 'era' holds null values",)),
        (NUMERAI, {"id_column": "ids"}, ("no id column 'ids'", "did you mean 'id'?")),
        (replaced("id", "bool"), {}, ("id column 'id' holds bool values", '--id-column ""')),
        (NUMERAI, {"feature_prefix": "f_"}, ("begins with 'f_'", "--feature-prefix")),
        ([*NUMERAI, ("era", "text")], {}, ("'era' stands for several columns",)),
        ([*NUMERAI, ("id", "text")], {}, ("'id' stands for several columns",)),
    ],
)
def test_invalid_columns_are_refused(
    kinds: list[tuple[str, Kind]], options: dict[str, str], said: tuple[str, ...]
) -> None:
    with refused(SchemaError, "train.parquet: ", *said):
        read(kinds, **options)


def test_columns_that_cannot_be_stored_are_neither_features_nor_targets() -> None:
    schema = read(
        [
            *NUMERAI,
            ("feature_country", "text"),
            ("feature_since", "date"),
            ("feature_a", "integer"),
            ("target_x", "list<element: double>"),
        ]
    )
    assert (schema.features, schema.targets) == (("feature_b",), ("target", "target_t1_20"))
    assert schema.unusable_features == {
        "feature_a": "stands for several columns",
        "feature_country": "holds text",
        "feature_since": "holds date",
    }
    assert schema.unusable_targets == {"target_x": "holds list<element: double>"}
    assert schema.integer_features


def test_duplicated_names_of_unused_columns_do_not_matter() -> None:
    assert read([*NUMERAI, ("country", "text"), ("country", "integer")]) == read(NUMERAI)


@pytest.mark.parametrize("kind", ["float", "bool", "decimal"])
def test_numbers_of_any_kind_are_features_and_targets(kind: Kind) -> None:
    for column in ("feature_a", "target"):
        schema = read(replaced(column, kind))
        assert (schema.features, schema.targets) == (read(NUMERAI).features, read(NUMERAI).targets)
        assert not schema.unusable
        assert schema.integer_features == (column == "target")


def test_a_column_that_is_unusable_in_one_source_is_left_out_of_all() -> None:
    schemas = without_unusable(
        {
            "a.parquet": read(NUMERAI),
            "b.parquet": read([*replaced("feature_a", "text"), ("feature_x", "text")]),
            "c.parquet": read(replaced("target", "date")),
        }
    )
    unusable = {"feature_a": "holds text in b.parquet", "feature_x": "holds text in b.parquet"}
    for schema in schemas.values():
        assert (schema.features, schema.targets) == (("feature_b",), ("target_t1_20",))
        assert schema.unusable == unusable | {"target": "holds date in c.parquet"}
    assert common_schema(schemas) == schemas["a.parquet"]


def test_without_an_id_column_there_are_no_ids() -> None:
    assert read(NUMERAI, id_column="").id is None
    assert read(replaced("id", "bool"), id_column="").id is None


# -- several sources ------------------------------------------------------------------------------


def test_sources_with_the_same_columns_share_the_order_of_the_first() -> None:
    first, second = read(NUMERAI), read(NUMERAI[::-1])
    assert common_schema({"a": first, "b": second}) == first
    assert common_schema({"b": second, "a": first}).features == ("feature_a", "feature_b")


def test_one_source_of_floats_makes_all_features_floats() -> None:
    floats = read(replaced("feature_a", "float"))
    assert not common_schema({"a": read(NUMERAI), "b": floats}).integer_features


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        (without("feature_a"), ("features differ", "lacks 'feature_a'")),
        ([*NUMERAI, ("feature_c", "integer")], ("features differ", "also has 'feature_c'")),
        (without("target"), ("targets differ", "lacks 'target'")),
        (without("id"), ("id column", '--id-column ""')),
    ],
)
def test_differing_sources_are_refused_with_their_differences(
    kinds: list[tuple[str, Kind]], said: tuple[str, ...]
) -> None:
    with refused(SchemaError, "b.parquet: ", "a.parquet", *said):
        common_schema({"a.parquet": read(NUMERAI), "b.parquet": read(kinds)})


def test_sources_with_other_names_of_ids_are_refused() -> None:
    index: list[tuple[str, Kind]] = [("__index_level_0__", "text")]
    named, unnamed = read(NUMERAI), read(without("id") + index)
    for first, second in ((named, unnamed), (unnamed, named)):
        with refused(SchemaError, "b.parquet: ", "a.parquet", "'id'", "'__index_level_0__'"):
            common_schema({"a.parquet": first, "b.parquet": second})


# -- eras -----------------------------------------------------------------------------------------


def test_eras_sort_as_numbers_whatever_their_prefix() -> None:
    shuffled = ["eraX", "era10", "0002", "X", "era1", "12", "0011", "", "1e"]
    expected = ["era1", "0002", "era10", "0011", "12", "", "1e", "X", "eraX"]
    assert sorted(shuffled, key=era_sort_key) == expected


def test_dates_sort_by_time_after_numbers_and_before_others() -> None:
    expected = ["-2", "1.0", "0002", "30000000", "0999-01-01", "20231231", "2024/01/04",
                "era 2024-01-05", "2024-01-05T12:30:00+02:00", "2024-01-05 11:00:00.25",
                "2024-01-05T11:00:01Z", "05.01.2024", "2024-01"]  # fmt: skip
    assert sorted(frozenset(expected), key=era_sort_key) == expected


@given(st.datetimes(datetime(1800, 1, 1), datetime(2199, 12, 31)))
def test_a_time_is_read_from_every_form_of_label(time: datetime) -> None:
    nanoseconds = (time - datetime(1970, 1, 1)) // timedelta(microseconds=1) * 1000
    for form in (time.isoformat(), time.isoformat(" ") + "Z", f"era{time.isoformat()}+00:00"):
        assert era_time(form) == nanoseconds
    midnight = datetime.combine(time, datetime.min.time())
    assert era_time(f"{time.year}-{time.month}-{time.day}") == era_time(f"{time:%Y%m%d}")
    for form in ("%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%Y.%m.%d", "%Y_%m_%d", "%Y-%m-%d 00:00"):
        expected = (midnight - datetime(1970, 1, 1)) // timedelta(seconds=1) * 10**9
        assert era_time(f"{midnight:{form}}") == expected


@given(labels)
def test_a_label_holds_a_number_or_a_time_or_neither(label: str) -> None:
    assert era_number(label) is None or era_time(label) is None


@given(st.lists(st.integers(0, 10**6), unique=True))
def test_padded_and_plain_numbers_sort_alike(numbers: list[int]) -> None:
    for form in ("{:04}", "era{}", "{}"):
        eras = sorted((form.format(n) for n in numbers), key=era_sort_key)
        assert [era_number(era) for era in eras] == sorted(numbers)


@given(labels, labels)
def test_eras_that_differ_sort_apart(one: str, other: str) -> None:
    assert (era_sort_key(one) == era_sort_key(other)) == (one == other)


def test_folders_are_named_as_specified() -> None:
    names = {"0001": "era-0001", "7": "era-7", "era7": "era-era7", "X": "era-X"}
    names |= {"a/b": "era-a%2Fb", "50%": "era-50%25", "é": "era-%C3%A9", " ": "era-%20"}
    assert {label: era_folder(label) for label in names} == names


@given(labels)
def test_the_name_of_a_folder_is_a_single_name_that_can_be_decoded(label: str) -> None:
    folder = era_folder(label)
    assert folder.isascii()
    assert folder.isprintable()
    assert not set(folder) & set('/\\:*?"<>| ')
    assert os.path.basename(folder) == folder
    assert (Path("/data") / folder).resolve() == Path("/data", folder)
    assert unquote(folder.removeprefix("era-")) == label


@given(labels, labels)
def test_no_two_eras_share_a_folder(one: str, other: str) -> None:
    assert (era_folder(one) == era_folder(other)) == (one == other)
