"""Tests of what a conversion writes: values, targets, manifest."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memmap_train.conversion import pipeline
from memmap_train.conversion.conversion import convert
from memmap_train.conversion.row_groups import column_distance
from memmap_train.conversion.schema import BEST_KEY
from tests.support.conversions import converted, decoded, of_codes
from tests.support.toy import (
    feature_names,
    target_names,
    toy_features,
    toy_table,
    toy_targets,
    write_toy,
)

CODES = [0, 1, 2, 3, 4, 4, 0]


def bits(array: npt.NDArray[np.generic]) -> list[int]:
    """Return a float32 array's bits: tells -0.0 from 0.0."""
    assert array.dtype == np.float32
    return np.ascontiguousarray(array).view(np.uint32).tolist()  # type: ignore[no-any-return]


# -- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
)
@pytest.mark.parametrize("null_at", [None, 1])
def test_codes_become_quarters_in_either_store(
    tmp_path: Path, dtype: str, null_at: int | None
) -> None:
    mask = np.arange(len(CODES)) == null_at
    table = of_codes(pa.array(np.array(CODES, dtype), mask=mask))
    expected = np.where(mask, np.float32(0.5), np.array(CODES, np.float32) / np.float32(4))
    for store in ("float32", "int8"):
        dataset = converted(tmp_path, table, store, dtype=store)
        assert dataset["0001"].features.dtype == np.dtype(store)
        assert bits(decoded(dataset, "0001")[:, 0]) == bits(expected)
        assert dataset.entry("0001").missing_features == mask.sum()


@pytest.mark.parametrize("null", [False, True])
@pytest.mark.parametrize("n_rows", [7, 8, 2040, 2041, 5003])
@pytest.mark.parametrize("as_floats", [False, True])
def test_counts_are_those_of_the_source(
    tmp_path: Path, n_rows: int, as_floats: bool, null: bool
) -> None:
    """Columns of one code, of all, and of none: in chunks that are longer than a byte can sum."""
    random = np.random.default_rng([1, n_rows])
    cells = random.integers(0, 5, (n_rows, 40))
    cells[:, :5] = range(5)
    missing = (random.random(cells.shape) < 0.3) & null
    missing[:, 5] = null
    values = (cells / 4).astype(np.float32) if as_floats else cells.astype(np.int8)
    arrays = [pa.array(values[:, i], mask=missing[:, i]) for i in range(40)]
    names = [f"feature_{i}" for i in range(40)]
    table = pa.table([pa.array(["0001"] * n_rows), *arrays], ["era", *names])
    expected = [((cells == code) & ~missing).sum(axis=0) for code in range(5)]
    for store in ("float32", "int8"):
        dataset = converted(tmp_path, table, store, dtype=store)
        counts = dataset["0001"].counts
        assert counts is not None
        assert counts.dtype == np.dtype("<i4")
        np.testing.assert_array_equal(counts, np.stack([*expected, missing.sum(axis=0)], axis=1))
        assert (counts.sum(axis=1) == n_rows).all()
        assert dataset.entry("0001").missing_features == missing.sum()


def test_floats_that_are_not_codes_are_not_counted(tmp_path: Path) -> None:
    values = [0.1, 0.25, -0.0, np.nan, 0.25 + 2**-25, 1.25, -0.25, 1e-30, 1.0, 0.5, None]
    dataset = converted(tmp_path, of_codes(pa.array(values, pa.float32())))
    counts = dataset["0001"].counts
    assert counts is not None
    assert counts.tolist() == [[1, 1, 1, 0, 1, 2]]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_quarters_stay_the_same_in_either_store(tmp_path: Path, dtype: str) -> None:
    values = np.array([0, 0.25, 0.5, 0.75, 1, -0.0, np.nan, 9], dtype)
    table = of_codes(pa.array(values, mask=values == 9))
    expected = np.array([0, 0.25, 0.5, 0.75, 1, 0, 0.5, 0.5], np.float32)
    for store in ("float32", "int8"):
        dataset = converted(tmp_path, table, store, dtype=store)
        assert bits(decoded(dataset, "0001")[:, 0]) == bits(expected)
        assert dataset.entry("0001").missing_features == 2


def test_float64_is_rounded_to_the_nearest_float32(tmp_path: Path) -> None:
    values = np.array([0.1, 1 / 3, -2.7e-8, 1 + 2.0**-24, 1 + 3 * 2.0**-24, -1e-50, 3e38])
    dataset = converted(tmp_path, of_codes(values, target=values))
    expected = values.astype(np.float32)
    assert bits(dataset["0001"].targets[:, 0]) == bits(expected)
    assert np.signbit(expected[5])
    expected[5] = 0  # a feature's -0.0 becomes 0.0
    assert bits(dataset["0001"].features[:, 0]) == bits(expected)


@pytest.mark.parametrize("integers", [False, True])
def test_missing_features_stay_missing_where_requested(tmp_path: Path, integers: bool) -> None:
    codes = pa.array([0, None, 4], pa.int8()) if integers else pa.array([0, None, 1.0])
    dataset = converted(tmp_path, of_codes(codes), missing="nan")
    expected = np.array([0, np.nan, 1], np.float32)
    assert np.array_equal(dataset["0001"].features[:, 0], expected, equal_nan=True)
    assert dataset.entry("0001").missing_features == 1
    assert dataset.manifest.missing == "nan"


@pytest.mark.parametrize("store", ["float32", "int8"])
def test_files_of_integers_and_files_of_floats_can_be_combined(tmp_path: Path, store: str) -> None:
    codes = toy_table({"0001": 5}, n_features=2).select([0, 2, 3])
    names = feature_names(2)
    quarters = pa.table(
        {
            "era": ["0001"] * 3,
            names[0]: pa.array([2, None, 4], pa.int32()),
            names[1]: pa.array([0.25, None, float("nan")]),
        }
    )
    pq.write_table(codes, tmp_path / "codes.parquet")
    pq.write_table(quarters, tmp_path / "quarters.parquet")
    paths = [tmp_path / "codes.parquet", tmp_path / "quarters.parquet"]
    dataset = convert(paths, tmp_path / "out", dtype=store).dataset
    expected = [*toy_features("0001", 5, 2, "int8").tolist(), [0.5, 0.25], [0.5, 0.5], [1, 0.5]]
    assert decoded(dataset, "0001").tolist() == expected
    assert dataset.entry("0001").missing_features == 3


# -- targets ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64(), pa.null()], ids=str)
def test_a_target_may_be_null_in_every_row(tmp_path: Path, kind: Any) -> None:
    table = toy_table({"0001": 4, "X": 3}).append_column("target_new_60", pa.nulls(7, kind))
    dataset = converted(tmp_path, table)
    assert dataset.target_names == ("target", "target_t1_20", "target_new_60")
    assert np.isnan(dataset["0001"].targets[:, 2]).all()
    assert dataset.labelled_eras("target_new_60") == ()
    assert dataset.entry("X").target_nulls == {"target": 0, "target_t1_20": 0, "target_new_60": 3}


def test_a_target_may_be_null_in_one_era_only(tmp_path: Path) -> None:
    targets = pa.array([0.5, 0.25, None, None, float("nan")], pa.float64())
    table = pa.table(
        {
            "era": ["0001", "0001", "0002", "0002", "0002"],
            "feature_a": pa.array([0] * 5, pa.int8()),
            "target": targets,
        }
    )
    dataset = converted(tmp_path, table)
    assert dataset["0001"].targets[:, 0].tolist() == [0.5, 0.25]
    assert np.isnan(dataset["0002"].targets).all()
    assert dataset.labelled_eras("target") == ("0001",)


def test_only_the_requested_targets_are_kept(tmp_path: Path) -> None:
    table = toy_table({"0001": 4}, n_targets=3)
    names = target_names(3)
    dataset = converted(tmp_path, table, targets=[names[2], names[1]])
    assert dataset.target_names == (names[1], names[2])
    assert np.array_equal(dataset["0001"].targets, toy_targets("0001", 4, 3)[:, 1:])


@pytest.mark.parametrize("asked", [None, []])
def test_without_targets_the_array_has_no_columns(tmp_path: Path, asked: list[str] | None) -> None:
    table = toy_table({"0001": 4}, n_targets=0 if asked is None else 2)
    dataset = converted(tmp_path, table, targets=asked)
    found = np.load(tmp_path / "out" / "era-0001" / "targets.npy")
    assert (found.shape, found.dtype) == ((4, 0), np.float32)
    assert dataset.manifest.aliases == {}


NANS = {
    np.float16: [0x7E00, 0xFE00, 0x7C01, 0x7FFF],
    np.float32: [0x7FC00000, 0xFFC00000, 0x7F800001, 0x7FFFFFFF],
    np.float64: [0x7FF8 << 48, 0xFFF8 << 48, (0x7FF0 << 48) + 1, 2**63 - 1],
}


@pytest.mark.parametrize("dtype", NANS)
@pytest.mark.parametrize("store", ["float32", "int8"])
def test_all_nans_become_the_same_nan(
    tmp_path: Path, dtype: type[np.floating[Any]], store: str
) -> None:
    """A null, and NaNs of other signs and payloads (x86 makes negative ones), some signalling."""
    nans = np.array(NANS[dtype], f"u{np.dtype(dtype).itemsize}").view(dtype)
    values = np.concatenate([nans, np.array([0, 0.5], dtype)])
    array = pa.array(values, mask=np.arange(6) == 4)
    missing = "nan" if store == "float32" else "0.5"
    dataset = converted(tmp_path, of_codes(array, target=array), dtype=store, missing=missing)
    assert bits(dataset["0001"].targets[:, 0]) == bits(np.array([np.nan] * 5 + [0.5], np.float32))
    filler = float(missing)
    assert bits(decoded(dataset, "0001")[:, 0]) == bits(np.array([filler] * 5 + [0.5], np.float32))
    assert dataset.entry("0001").target_nulls == {"target": 5}


# -- aliases ----------------------------------------------------------------------------------


NAN = float("nan")


@pytest.mark.parametrize(
    ("targets", "aliases"),
    [
        ({"target": [0, 1, NAN], "target_a": [0, 1, NAN]}, {"target": "target_a"}),
        ({"target_a": [0, 1, 0.5], "target": [0, 1, 0.5]}, {"target": "target_a"}),
        ({"target": [0, 1, NAN], "target_a": [0, 1, 0.5]}, {}),
        ({"target": [0, 1, 0.5], "target_a": [0, 1, NAN]}, {}),
        ({"target": [0, 1, 0.5], "target_a": [0, 1, 0.25]}, {}),
        ({"target": [0, 1, 0.5]}, {}),
        ({"target_a": [0, 1, 0.5], "target_b": [0, 1, 0.5]}, {}),
        (
            {"target": [0, 1, NAN], "target_a": [1, 1, NAN], "target_b": [0, 1, NAN]},
            {"target": "target_b"},
        ),
        (
            {"target": [0, 1, 1], "target_b": [0, 1, 1], "target_a": [0, 1, 1]},
            {"target": "target_b"},
        ),
        ({"target": [NAN] * 3, "target_a": [NAN] * 3}, {}),
    ],
)
@pytest.mark.parametrize("eras", [["1", "1", "1"], ["1", "2", "2"], ["1", "2", "3"]])
def test_the_alias_is_the_target_that_is_equal_in_every_row(
    tmp_path: Path, targets: dict[str, list[float]], aliases: dict[str, str], eras: list[str]
) -> None:
    table = pa.table({"era": eras, "feature_a": pa.array([0] * 3, pa.int8()), **targets})
    path = tmp_path / "source.parquet"
    pq.write_table(table, path, row_group_size=2)
    assert convert(path, tmp_path / "out").dataset.manifest.aliases == aliases


def test_null_and_nan_count_as_equal_labels(tmp_path: Path) -> None:
    named = pa.array(np.array([0.5, np.nan]))
    table = of_codes(pa.array([0, 1], pa.int8()), target=pa.array([0.5, None]), target_a=named)
    assert converted(tmp_path, table).manifest.aliases == {"target": "target_a"}


# -- manifest ---------------------------------------------------------------------------------


def test_the_manifest_says_what_the_design_promises(tmp_path: Path) -> None:
    names = feature_names(4)
    sets = {"small": [names[2], names[0]], "all": names, "other": [names[0], "feature_gone"]}
    (tmp_path / "features.json").write_text(json.dumps({"feature_sets": sets}))
    path = tmp_path / "toy.parquet"
    table = toy_table({"0002": 3, "0001": 4}, n_features=4, nulls=True)
    pq.write_table(table.replace_schema_metadata({BEST_KEY: "0.125"}), path)
    out = tmp_path / "out"
    convert(path, out, dtype="int8", features_json=tmp_path / "features.json")
    text = (out / "manifest.json").read_text("utf-8")
    data = json.loads(text)
    assert json.dumps(data, sort_keys=True, ensure_ascii=False, indent=1) + "\n" == text
    shards = data.pop("shards")
    source = data.pop("sources")
    assert data.pop("created_by").keys() == {"package", "numpy", "pyarrow"}
    assert data == {
        "format": "memmap-train",
        "format_version": 1,
        "dtype": "int8",
        "scale": {"multiply": 0.25, "add": 0.0},
        "missing": "0.5",
        "features": names,
        "targets": target_names(2),
        "aliases": {},
        "feature_sets": {"small": sets["small"], "all": names},
        "n_rows": 7,
        "columns": {"era": "era", "id": "id"},
        "planted": 0.125,
    }
    assert [(entry["name"], entry["bytes"]) for entry in source] == [
        ("toy.parquet", path.stat().st_size)
    ]
    assert [shard["era"] for shard in shards] == ["0001", "0002"]
    for shard in shards:
        era, n_rows = shard["era"], shard["rows"]
        missing = np.isnan(toy_features(era, n_rows, 4, "int8", nulls=True, missing=np.nan))
        nulls = np.isnan(toy_targets(era, n_rows, 2, nulls=True)).sum(axis=0).tolist()
        assert shard["rows"] == {"0001": 4, "0002": 3}[era]
        assert shard["data_type"] == {"train": n_rows}
        assert shard["missing_features"] == missing.sum()
        assert shard["target_nulls"] == dict(zip(target_names(2), nulls, strict=True))
        assert {name: file["bytes"] for name, file in shard["files"].items()} == {
            name: (out / f"era-{era}" / f"{name}.npy").stat().st_size for name in shard["files"]
        }
    assert sum(shard["missing_features"] for shard in shards) > 0


def test_a_float32_store_has_no_scale(tmp_path: Path) -> None:
    manifest = converted(tmp_path, toy_table({"0001": 2})).manifest
    assert (manifest.dtype, manifest.scale, manifest.planted) == ("float32", None, None)


def test_data_types_are_counted_per_era(tmp_path: Path) -> None:
    table = of_codes(pa.array([0] * 4, pa.int8()), data_type=["train", "test", None, "test"])
    assert converted(tmp_path, table).entry("0001").data_type == {"train": 1, "test": 2}


def test_the_names_of_features_may_be_any_text(tmp_path: Path) -> None:
    names = ["feature_é", 'feature_"quoted"', "feature_line\nfeed", "feature/../x", "feature.a"]
    columns = {name: pa.array([code, 0], pa.int8()) for code, name in enumerate(names)}
    dataset = converted(tmp_path, pa.table({"era": ["1", "1"], **columns}))
    assert dataset.feature_names == tuple(names)
    assert dataset["1"].features[0].tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_a_finished_dataset_holds_only_its_manifest_and_eras(tmp_path: Path) -> None:
    converted(tmp_path, toy_table({"0001": 4, "0002": 3}))
    assert sorted(os.listdir(tmp_path / "out")) == ["era-0001", "era-0002", "manifest.json"]
    for era in ("era-0001", "era-0002"):
        assert sorted(os.listdir(tmp_path / "out" / era)) == [
            "counts.npy",
            "features.npy",
            "ids.npy",
            "targets.npy",
        ]


@pytest.mark.parametrize("store", ["float32", "int8"])
def test_numpy_alone_maps_every_array(tmp_path: Path, store: str) -> None:
    converted(tmp_path, toy_table({"0001": 4}), dtype=store)
    for array, dtype, shape in (
        ("features", store, (4, 5)),
        ("targets", "float32", (4, 2)),
        ("ids", "S16", (4,)),
    ):
        path = tmp_path / "out" / "era-0001" / f"{array}.npy"
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        assert (mapped.dtype, mapped.shape) == (np.dtype(dtype), shape)
        assert mapped.flags.c_contiguous


# -- what it reports --------------------------------------------------------------------------


def test_the_report_counts_the_dataset(tmp_path: Path) -> None:
    write_toy(tmp_path / "toy.parquet", {"0001": 4, "0002": 3})
    report = convert(tmp_path / "toy.parquet", tmp_path / "out")
    assert (report.status, report.n_rows, report.n_eras) == ("converted", 7, 2)
    assert report.n_eras_kept == 0
    files = (tmp_path / "out").glob("era-*/*.npy")
    assert report.n_bytes == sum(file.stat().st_size for file in files)


def test_progress_reaches_all_rows_one_call_at_a_time(tmp_path: Path) -> None:
    write_toy(tmp_path / "toy.parquet", {"0001": 40, "0002": 30}, row_group_rows=16)
    seen: list[tuple[str, int, int]] = []
    convert(
        tmp_path / "toy.parquet",
        tmp_path / "out",
        workers=3,
        progress=lambda *call: seen.append(call),
    )
    for what in ("reading eras", "converting"):
        done = [call[1] for call in seen if call[0] == what]
        assert done == sorted(done)
        assert done[-1] == 70
    assert {call[2] for call in seen} == {70}


@pytest.mark.parametrize("dtype", ["int8", "float32", "S17"])
@pytest.mark.parametrize("n_rows", [1, 5, 64, 4200, 2**20])
def test_columns_of_a_block_do_not_share_cache_sets(dtype: str, n_rows: int) -> None:
    item_bytes = np.dtype(dtype).itemsize
    distance = column_distance(n_rows, item_bytes)
    assert distance >= n_rows
    assert dtype == "S17" or distance * item_bytes % 128 == 64  # an odd number of lines


@settings(max_examples=100)
@given(n_fills=st.integers(0, 60), n_writes=st.integers(0, 60))
def test_fills_and_writes_are_interleaved_evenly(n_fills: int, n_writes: int) -> None:
    tasks: Any = [("fill", n) for n in range(n_fills)], [("write", n) for n in range(n_writes)]
    spread: Any = pipeline._spread(*tasks)
    assert [task for task in spread if task[0] == "fill"] == tasks[0]
    assert [task for task in spread if task[0] == "write"] == tasks[1]
    for n in range(len(spread)):  # neither is ever more than a task ahead of its share
        n_filled = sum(kind == "fill" for kind, _ in spread[:n])
        assert abs(n_filled - n * n_fills / len(spread)) <= 1
