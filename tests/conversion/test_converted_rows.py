"""Tests of the rows of a conversion: only they and their order count, not how files hold them."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
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
from memmap_train.dataset.dataset import Dataset
from tests.support.conversions import TinyBudget, convert_within, decoded, same_rows
from tests.support.toy import (
    feature_names,
    toy_counts,
    toy_features,
    toy_ids,
    toy_table,
    toy_targets,
    write_toy,
)


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
