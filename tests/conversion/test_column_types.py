"""Tests of columns of all types, beside those that a dataset needs."""

import json
import logging
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memmap_train.cli.commands import main
from memmap_train.conversion.conversion import convert
from memmap_train.conversion.preview import preview_sources
from memmap_train.conversion.preview_text import describe_preview, preview_text
from memmap_train.dataset.dataset import Dataset
from memmap_train.dataset.verify import verify
from memmap_train.errors import ConversionError, SchemaError
from tests.support.conversions import converted, same_rows
from tests.support.errors import refused
from tests.support.other_columns import N_ROWS, ROWS, of_eras, with_columns
from tests.support.toy import toy_table, write_toy

NOT_STORED: dict[str, pa.Array] = {
    "text": pa.array(["GB"] * 7),
    "missing_text": pa.array(["GB", None, "US", None, None, "", "FR"]),
    "large_text": pa.array(["GB"] * 7, pa.large_string()),
    "text_view": pa.array(["GB"] * 7, pa.string_view()),
    "category": pa.array(["GB", "US", None, "US", "GB", "FR", "FR"]).dictionary_encode(),
    "bytes": pa.array([b"\xff"] * 7),
    "fixed_bytes": pa.array([b"\xff\xfe"] * 7, pa.binary(2)),
    "uuid": pa.array([b"\xff" * 16] * 7, pa.uuid()),
    "date": pa.array([date(2024, 1, 5)] * 7),
    "timestamp": pa.array([datetime(2024, 1, 5)] * 7, pa.timestamp("ns", "Europe/Zurich")),
    "time": pa.array([1] * 7, pa.time64("us")),
    "duration": pa.array([1] * 7, pa.duration("s")),
    "list": pa.array([[1], [], None, [1, 2], [3], [4], [5]]),
    "struct": pa.array([{"feature_z0": 7, "target": 9, "era": "x", "id": None}] * 7),
    "map": pa.array([[("feature_z0", 1)]] * 7, pa.map_(pa.string(), pa.int64())),
}
NUMBERS = [f"feature_{name}" for name in ("z0", "y1", "x2", "z3", "y4")]


def with_everything(prefix: str) -> pa.Table:
    """Return a toy table, and a column of each type that can't be stored."""
    return with_columns(
        toy_table(ROWS), **{f"{prefix}{kind}": array for kind, array in NOT_STORED.items()}
    )


@pytest.fixture
def plain(tmp_path: Path) -> Dataset:
    """Return the dataset of the toy table alone."""
    return converted(tmp_path, toy_table(ROWS), "plain")


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    path = tmp_path / "features.json"
    numbers = {"numbers": NUMBERS, "two": NUMBERS[:2]}
    path.write_text(json.dumps({"feature_sets": {**numbers, "texts": ["feature_text"]}}))
    return path


# -- columns that can't be stored -----------------------------------------------------------------


def test_unused_columns_may_be_of_any_type(
    tmp_path: Path, plain: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    assert same_rows(converted(tmp_path, with_everything("other_"), "other"), plain)
    assert not caplog.records


def test_features_and_targets_that_cant_be_stored_are_left_out_by_name(
    tmp_path: Path, plain: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    table = with_columns(with_everything("feature_"), target_when=NOT_STORED["date"])
    pq.write_table(table, tmp_path / "all.parquet")
    report = convert(tmp_path / "all.parquet", tmp_path / "out")
    assert same_rows(report.dataset, plain)
    assert set(report.left_out) == {"target_when", *(f"feature_{kind}" for kind in NOT_STORED)}
    ((_, level, text),) = caplog.record_tuples
    assert level == logging.WARNING
    assert "left out" in text
    assert "'feature_map' (holds map<string, int64" in text
    assert "and 11 more" in text


def test_only_the_columns_that_were_asked_for_matter(
    tmp_path: Path, sets: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = with_columns(with_everything("feature_"), target_when=NOT_STORED["date"])
    options: dict[str, Any] = {
        "features_json": sets, "feature_set": "two", "targets": ["target"]
    }  # fmt: skip
    plain = converted(tmp_path, toy_table(ROWS), "plain", **options)
    assert same_rows(converted(tmp_path, table, "out", **options), plain)
    assert not caplog.records


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"targets": "target_when"}, "'target_when' (holds date in "),
        ({"targets": ["target", "target_when"]}, "'target_when' (holds date in "),
        ({"feature_set": "texts"}, "'feature_text' (holds text in "),
    ],
    ids=str,
)
def test_columns_that_cannot_be_stored_are_refused_where_they_are_asked_for(
    tmp_path: Path, sets: Path, options: dict[str, Any], said: str
) -> None:
    table = with_columns(with_everything("feature_"), target_when=NOT_STORED["date"])
    with refused(SchemaError, "source.parquet", "can't be stored", said):
        converted(tmp_path, table, "out", features_json=sets, **options)
    assert not (tmp_path / "out").exists()


def test_a_set_with_a_feature_that_cannot_be_stored_is_not_recorded(
    tmp_path: Path, sets: Path
) -> None:
    dataset = converted(tmp_path, with_everything("feature_"), "out", features_json=sets)
    assert set(dataset.manifest.feature_sets) == {"numbers", "two"}


def test_duplicated_names_are_refused_only_where_they_are_asked_for(
    tmp_path: Path, plain: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    table = toy_table(ROWS)
    for name in ("feature_twice", "weight"):
        for value in (1, 2):
            table = table.append_column(name, pa.array([value] * N_ROWS, pa.int8()))
    assert same_rows(converted(tmp_path, table, "out"), plain)
    assert "'feature_twice' (stands for several columns in " in caplog.text
    assert "weight" not in caplog.text


def test_a_struct_does_not_hide_columns_named_like_its_fields(tmp_path: Path) -> None:
    codes = pa.array([0, 1, 2, 3, 4, 3, 2], pa.int8())
    named = ["feature.a", "day.era", "day.id", "target.a"]
    struct = pa.array([{"a": 9, "era": "no", "id": "no"}] * N_ROWS)
    table = pa.table(
        {
            **{"feature": struct, "day": struct, "target": struct},
            **{"feature.a": codes, "day.era": ["1"] * 4 + ["2"] * 3, "day.id": list("abcdefg")},
            "target.a": np.arange(7, dtype=np.float32),
        }
    )
    options: dict[str, Any] = {"era_column": "day.era", "id_column": "day.id"}
    dataset = converted(tmp_path, table, "out", **options)
    assert same_rows(dataset, converted(tmp_path, table.select(named), "plain", **options))
    assert (dataset.eras, dataset.feature_names) == (("1", "2"), ("feature.a",))
    assert np.asarray(dataset["2"].ids).tolist() == [b"e", b"f", b"g"]


def test_a_column_that_is_text_in_one_file_is_left_out_of_all(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, sets: Path
) -> None:
    first, second = tmp_path / "first.parquet", tmp_path / "second.parquet"
    text, number = pa.array(["a"] * 4), pa.array([1] * 4, pa.int8())
    pq.write_table(with_columns(toy_table({"0001": 4}), feature_new=number), first)
    pq.write_table(with_columns(toy_table({"0002": 4}), feature_new=text), second)
    for files in ([first, second], [second, first]):
        report = convert(files, tmp_path / files[0].stem)
        assert report.left_out == ("feature_new",)
        assert set(report.dataset.feature_names) == set(NUMBERS)
        assert f"'feature_new' (holds text in {second})" in caplog.text
        caplog.clear()
    # Where only one of the files has it, it doesn't matter either.
    pq.write_table(toy_table({"0001": 4}), first)
    assert convert([first, second], tmp_path / "lacking").left_out == ("feature_new",)


def test_numbers_of_several_types_can_be_combined(tmp_path: Path) -> None:
    """Integer codes are quarters, whatever the other file has."""
    for name, era, values in (
        ("codes", "1", pa.array([0, 4], pa.int64())),
        ("floats", "2", pa.array([0.25, 1.5], pa.float64())),
        ("decimals", "3", pa.array([Decimal("0.25"), Decimal("1.5")])),
        ("bools", "4", pa.array([False, True])),
        ("nothing", "5", pa.nulls(2)),
    ):
        table = pa.table({"era": [era] * 2, "feature_a": values, "target": [0.0, 1.0]})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    dataset = convert(sorted(tmp_path.glob("*.parquet")), tmp_path / "out").dataset
    found = {era: dataset[era].features[:, 0].tolist() for era in dataset.eras}
    assert found == {"1": [0, 1], "2": [0.25, 1.5], "3": [0.25, 1.5], "4": [0, 1], "5": [0.5] * 2}


@pytest.mark.parametrize("store", ["float32", "int8"])
@pytest.mark.parametrize(
    "kind", [pa.decimal32(5, 2), pa.decimal64(9, 2), pa.decimal128(20, 2), pa.decimal256(50, 2)]
)
def test_decimals_are_numbers(tmp_path: Path, kind: Any, store: str) -> None:
    quarters = [0.0, 0.25, 0.5, 0.75, 1.0, None, 0.25]
    decimals = pa.array([None if q is None else Decimal(str(q)) for q in quarters], kind)
    datasets = [
        converted(
            tmp_path,
            with_columns(toy_table(ROWS), feature_z0=values, target=values),
            name,
            dtype=store,
        )
        for name, values in (("decimals", decimals), ("floats", pa.array(quarters)))
    ]
    assert same_rows(*datasets)


@pytest.mark.parametrize("store", ["float32", "int8"])
def test_true_and_false_are_one_and_zero(tmp_path: Path, store: str) -> None:
    flags = [True, False, None, True, False, True, True]
    floats = [None if flag is None else float(flag) for flag in flags]
    datasets = [
        converted(
            tmp_path,
            with_columns(toy_table(ROWS), feature_z0=values, target=values),
            name,
            dtype=store,
        )
        for name, values in (
            ("bools", pa.array(flags)),
            ("dictionary", pa.array(flags).dictionary_encode()),
            ("floats", pa.array(floats)),
        )
    ]
    assert same_rows(*datasets[:2])
    assert same_rows(*datasets[1:])
    assert datasets[0]["0001"].targets[:2, 0].tolist() == [1.0, 0.0]


def test_an_update_leaves_out_new_columns_that_cant_be_stored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, out = tmp_path / "source.parquet", tmp_path / "out"
    write_toy(source, ROWS)
    convert(source, out)
    longer = toy_table({**ROWS, "0003": 5})
    country = pa.array(["GB"] * len(longer))
    pq.write_table(
        with_columns(longer, feature_country=country, feature_new=pa.nulls(12, pa.int8())), source
    )
    report = convert(source, out)
    assert (report.status, report.n_eras_new) == ("updated", 1)
    assert report.left_out == ("feature_country", "feature_new")
    assert "'feature_country'" in caplog.text
    assert list(verify(out)) == []
    assert convert(source, out).status == "up to date"


@pytest.mark.parametrize("column", ["feature_y1", "target"])
def test_an_update_refuses_a_column_of_the_dataset_that_became_text(
    tmp_path: Path, column: str
) -> None:
    source, out = tmp_path / "source.parquet", tmp_path / "out"
    write_toy(source, ROWS)
    convert(source, out)
    before = (out / "manifest.json").read_bytes()
    pq.write_table(with_columns(toy_table(ROWS), **{column: NOT_STORED["text"]}), source)
    with refused(ConversionError, f"'{column}' (holds text in ", "stays as it is"):
        convert(source, out)
    assert (out / "manifest.json").read_bytes() == before


def test_the_plan_names_the_columns_that_would_be_left_out(tmp_path: Path) -> None:
    pq.write_table(with_everything("feature_"), tmp_path / "all.parquet")
    preview = preview_sources([tmp_path / "all.parquet"])
    assert preview.n_features == 5
    assert describe_preview(preview)["left_out"]["feature_date"].startswith("holds date in ")
    assert "\nleft out  'feature_" in preview_text(preview)
    write_toy(tmp_path / "toy.parquet", ROWS)
    preview = preview_sources([tmp_path / "toy.parquet"])
    assert describe_preview(preview)["left_out"] == {}
    assert "left out" not in preview_text(preview)


def test_the_command_warns_in_one_line_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(
        with_columns(toy_table(ROWS), feature_country=NOT_STORED["text"]), tmp_path / "s.parquet"
    )
    for flags in ([], ["--overwrite"]):
        assert main(["convert", f"{tmp_path}/s.parquet", "--out", f"{tmp_path}/o", *flags]) == 0
        out, err = capsys.readouterr()
        assert err == (
            "warning: left out, since they can't be stored: 'feature_country' "
            f"(holds text in {tmp_path}/s.parquet)\n"
        )
        assert "o: " in out


def test_an_error_is_printed_without_warnings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = with_columns(toy_table(ROWS), feature_country=NOT_STORED["text"])
    pq.write_table(with_columns(table, era=of_eras(1.0, 1.5)), tmp_path / "s.parquet")
    assert main(["convert", f"{tmp_path}/s.parquet", "--out", f"{tmp_path}/o"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")


# -- ids ------------------------------------------------------------------------------------------


def test_invalid_ids_do_not_matter_without_ids(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = str(tmp_path / "source.parquet")
    pq.write_table(with_columns(toy_table(ROWS), id=pa.array([0.5] * N_ROWS)), source)
    out = str(tmp_path / "out")
    assert main(["convert", source, "--out", out]) == 1
    assert '--id-column ""' in capsys.readouterr().err
    assert main(["convert", source, "--out", out, "--id-column", ""]) == 0
    assert main(["convert", source, "--out", out, "--id-column="]) == 0  # up to date
    plain = converted(tmp_path, toy_table(ROWS, ids=False), "plain")
    dataset = convert(source, tmp_path / "python", id_column="").dataset
    assert same_rows(dataset, plain)
    assert dataset["0001"].ids is None
    capsys.readouterr()
    assert main(["plan", source, "--id-column", ""]) == 0
    assert "--id-column ''" in capsys.readouterr().out
