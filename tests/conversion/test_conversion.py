"""Tests of what a conversion writes: rows, values, manifest, from every kind of source."""

import json
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from memmap_train.conversion import pipeline, transpose
from memmap_train.conversion.conversion import convert
from memmap_train.conversion.parquet import row_labels
from memmap_train.conversion.pipeline_sizes import PipelineLimits
from memmap_train.conversion.plan import ConvertOptions
from memmap_train.conversion.row_groups import column_distance
from memmap_train.conversion.schema import BEST_KEY
from memmap_train.dataset.dataset import Dataset
from tests.support.conversions import (
    TinyBudget,
    convert_within,
    converted,
    of_codes,
    same_rows,
)
from tests.support.toy import (
    feature_names,
    target_names,
    toy_counts,
    toy_features,
    toy_ids,
    toy_table,
    toy_targets,
    write_toy,
)

CODES = [0, 1, 2, 3, 4, 4, 0]


def bits(array: npt.NDArray[np.generic]) -> list[int]:
    """Return a float32 array's bits: tells -0.0 from 0.0."""
    assert array.dtype == np.float32
    return np.ascontiguousarray(array).view(np.uint32).tolist()  # type: ignore[no-any-return]


def decoded(dataset: Dataset, era: str) -> npt.NDArray[np.float32]:
    """Return an era's features as a reader gets them."""
    stored = dataset[era].features
    return dataset.decode(stored, np.empty(stored.shape, np.float32))


# -- rows and their order alone ---------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """The rows of a source, in order, and how they are stored."""

    eras: dict[str, int]
    order: list[int] | None
    n_features: int
    n_targets: int
    ids: bool
    nulls: bool
    dtype: str
    store: str
    missing: str

    def table(self) -> pa.Table:
        return toy_table(
            self.eras,
            n_features=self.n_features,
            n_targets=self.n_targets,
            dtype=self.dtype,
            order=self.order,
            ids=self.ids,
            nulls=self.nulls,
        )


@dataclass(frozen=True)
class Layout:
    """How rows are cut into files and row groups, and by what they are converted."""

    file_cuts: list[int]
    group_cuts: list[int]
    column_seed: int
    n_bytes: int
    n_workers: int
    chunk_rows: int
    block_columns: int


ONE_GROUP = Layout([], [], 0, 10**9, 1, 1024, 256)


@st.composite
def some_rows(draw: st.DrawFn) -> Rows:
    labels = st.sampled_from(("0001", "0002", "era3", "era10", "0020", "X"))
    eras = draw(st.dictionaries(labels, st.integers(1, 25), min_size=1))
    n_rows = sum(eras.values())
    order = draw(st.one_of(st.none(), st.permutations(range(n_rows))))
    dtype = draw(st.sampled_from(("int8", "int8", "float32", "float64")))
    store = draw(st.sampled_from(("float32", "int8"))) if dtype == "int8" else "float32"
    return Rows(
        eras,
        order,
        n_features=draw(st.integers(1, 40)),
        n_targets=draw(st.integers(0, 4)),
        ids=draw(st.booleans()),
        nulls=draw(st.booleans()),
        dtype=dtype,
        store=store,
        missing="0.5" if store == "int8" else draw(st.sampled_from(("0.5", "nan"))),
    )


layouts = st.builds(
    Layout,
    file_cuts=st.lists(st.integers(0, 60), max_size=2),
    group_cuts=st.lists(st.integers(0, 60), max_size=6),
    column_seed=st.integers(0, 99),
    n_bytes=st.one_of(st.just(0), st.integers(0, 20_000), st.just(10**9)),
    n_workers=st.integers(1, 3),
    chunk_rows=st.integers(1, 30),
    block_columns=st.integers(1, 40),
)


def write_layout(folder: Path, table: pa.Table, layout: Layout) -> list[Path]:
    """Write a table as files of row groups, with the columns in some order."""
    random = np.random.default_rng([1, layout.column_seed])
    file_ends = [*sorted(min(cut, len(table)) for cut in layout.file_cuts), len(table)]
    paths: list[Path] = []
    for start, end in zip([0, *file_ends], file_ends, strict=False):
        names = random.permutation(table.column_names).tolist()
        if not paths:  # the first file's order of features and targets is the dataset's
            for prefix in ("feature", "target"):
                wanted = iter(name for name in table.column_names if name.startswith(prefix))
                names = [next(wanted) if name.startswith(prefix) else name for name in names]
        paths.append(folder / f"part-{len(paths)}.parquet")
        part = table.slice(start, end - start).select(names)
        # Cuts outside the file, or the same twice, give row groups without rows.
        cuts = [start, *sorted(max(start, min(cut, end)) for cut in layout.group_cuts), end]
        with pq.ParquetWriter(paths[-1], part.schema) as writer:
            for first, last in pairwise(cuts):
                writer.write_table(part.slice(first - start, last - first), row_group_size=10**6)
    return paths


def convert_layout(folder: Path, rows: Rows, layout: Layout) -> Dataset:
    """Convert rows that are laid out so, with this many bytes of memory."""
    folder.mkdir()
    paths = write_layout(folder, rows.table(), layout)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_labels, "_TEXTS_AT_ONCE", layout.block_columns)
        return convert_within(
            TinyBudget(layout.n_bytes),
            paths,
            folder / "out",
            ConvertOptions(dtype=rows.store, missing=rows.missing),
            n_workers=layout.n_workers,
            limits=PipelineLimits(
                chunk_rows=layout.chunk_rows,
                block_columns=layout.block_columns,
                ids_bytes=layout.chunk_rows,
            ),
        ).dataset


def check_rows(dataset: Dataset, rows: Rows) -> None:
    """Compare every cell of a dataset with what stands at its place."""
    assert sorted(dataset.eras) == sorted(rows.eras)
    for era, n_rows in rows.eras.items():
        shard = dataset[era]
        features = toy_features(
            era,
            n_rows,
            rows.n_features,
            rows.dtype,
            nulls=rows.nulls,
            missing=float(rows.missing),
        )
        assert np.array_equal(decoded(dataset, era), features, equal_nan=True)
        targets = toy_targets(era, n_rows, rows.n_targets, nulls=rows.nulls)
        assert np.array_equal(shard.targets, targets, equal_nan=True)
        counts = toy_counts(era, n_rows, rows.n_features, rows.dtype, nulls=rows.nulls)
        assert shard.counts is not None
        assert np.array_equal(shard.counts, counts)
        if rows.ids:
            assert shard.ids is not None
            assert np.array_equal(shard.ids, toy_ids(era, n_rows))
        else:
            assert shard.ids is None


INTERLEAVED = Rows(
    {"0001": 3, "0002": 1, "X": 3},
    [0, 4, 3, 1, 5, 2, 6],
    n_features=5,
    n_targets=2,
    ids=True,
    nulls=True,
    dtype="int8",
    store="int8",
    missing="0.5",
)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(rows=some_rows(), layout=layouts)
@example(rows=INTERLEAVED, layout=Layout([2], [1, 2, 3, 4, 5, 6], 1, 0, 2, 1, 1))
@example(rows=INTERLEAVED, layout=Layout([0, 7], [3], 2, 300, 2, 2, 3))
def test_a_dataset_depends_only_on_rows_and_their_order(
    tmp_path_factory: pytest.TempPathFactory, rows: Rows, layout: Layout
) -> None:
    folder = tmp_path_factory.mktemp("layout")
    whole = convert_layout(folder / "whole", rows, ONE_GROUP)
    check_rows(whole, rows)
    assert same_rows(convert_layout(folder / "parts", rows, layout), whole)


@pytest.mark.parametrize(
    ("dtype", "n_bytes", "expected"),
    [
        ("float32", 10**9, ["MemoryStore", "MemoryStore"]),
        ("float32", 130_000, ["MemoryStore"]),
        ("float32", 0, ["FileStore"]),
        ("int8", 10**9, ["MemoryStore", "MemoryStore"]),
        ("int8", 0, ["FileStore"]),
    ],
)
def test_the_memory_budget_decides_where_rows_are_staged(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dtype: str,
    n_bytes: int,
    expected: list[str],
) -> None:
    made: list[str] = []
    for kind in (transpose.MemoryStore, transpose.FileStore):

        def make(*arguments: Any, kind: type[transpose.Store] = kind) -> transpose.Store:
            made.append(kind.__name__)
            return kind(*arguments)

        monkeypatch.setattr(pipeline, kind.__name__, make)
    rows = Rows({"0001": 900, "0002": 300}, None, 10, 1, True, False, "int8", dtype, "0.5")
    cut_evenly = Layout([], [400, 800], 0, n_bytes, 2, 1024, 256)
    check_rows(convert_layout(tmp_path / "toy", rows, cut_evenly), rows)
    assert made == expected


def test_an_era_that_continues_in_another_file_is_complete(tmp_path: Path) -> None:
    write_toy(tmp_path / "a.parquet", {"0002": 5, "0001": 4}, row_group_rows=3)
    write_toy(
        tmp_path / "b.parquet",
        [("0001", 2), ("0003", 1), ("0002", 3)],
        row_group_rows=2,
        first_rows={"0001": 4, "0002": 5},
    )
    dataset = convert([tmp_path / "a.parquet", tmp_path / "b.parquet"], tmp_path / "out").dataset
    assert dataset.eras == ("0001", "0002", "0003")
    for era, n_rows in (("0001", 6), ("0002", 8), ("0003", 1)):
        assert np.array_equal(decoded(dataset, era), toy_features(era, n_rows, 5, "int8"))


def test_the_order_of_the_files_is_the_order_of_their_rows(tmp_path: Path) -> None:
    write_toy(tmp_path / "a.parquet", {"0001": 3})
    write_toy(tmp_path / "b.parquet", {"0001": 2}, first_rows={"0001": 3})
    paths = [tmp_path / "b.parquet", tmp_path / "a.parquet"]
    dataset = convert(paths, tmp_path / "out").dataset
    expected = toy_features("0001", [3, 4, 0, 1, 2], 5, "int8")
    assert np.array_equal(decoded(dataset, "0001"), expected)


def test_all_3555_features_are_converted(tmp_path: Path) -> None:
    rows = {"0001": 1500, "0002": 1, "0003": 999}
    write_toy(tmp_path / "wide.parquet", rows, n_features=3555, nulls=True, row_group_rows=1200)
    for store in ("float32", "int8"):
        dataset = convert(tmp_path / "wide.parquet", tmp_path / store, dtype=store).dataset
        assert dataset.feature_names == tuple(feature_names(3555))
        for era, n_rows in rows.items():
            expected = toy_features(era, n_rows, 3555, "int8", nulls=True)
            assert np.array_equal(decoded(dataset, era), expected)


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
