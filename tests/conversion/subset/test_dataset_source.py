"""Tests of narrowing: what comes out is what the parent's own sources would have become."""

import json
import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import memmap_train as mt
from memmap_train.cli.commands import main
from memmap_train.conversion.dataset_source import DatasetSource
from memmap_train.conversion.execution import convert_source
from memmap_train.conversion.memory_budget import ConversionBudget
from memmap_train.conversion.plan import ConvertOptions
from memmap_train.conversion.resources import Resources
from memmap_train.conversion.schema import BEST_KEY
from memmap_train.conversion.subset_writer import WORKER_BYTES, workers_within
from memmap_train.errors import SourceError
from tests.support.conversions import features_json
from tests.support.errors import refused
from tests.support.files import contents
from tests.support.subsets import ERAS, NAMES, SETS, check_same_as_converted, parent_of
from tests.support.toy import feature_names, toy_table, write_toy
from tests.support.toy_datasets import without_counts

# -- the same bytes -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A source, its parent, and what is asked of the parent."""

    eras: dict[str, int]
    order: list[int]
    n_features: int
    n_targets: int
    n_aliases: int
    ids: bool
    nulls: bool
    dtype: str
    chosen: list[int] | None
    """Features of the set that is asked for; None for all."""
    targets: list[int] | None
    parent: dict[str, Any]
    asked: dict[str, Any]
    chunk_cells: int
    n_workers: int

    def table(self) -> pa.Table:
        table = toy_table(
            self.eras,
            n_features=self.n_features,
            n_targets=self.n_targets,
            dtype=self.dtype,
            order=self.order,
            ids=self.ids,
            nulls=self.nulls,
        )
        for number in range(self.n_aliases if self.n_targets else 0):
            table = table.append_column(f"target_same{number}", table["target"])
        return table.replace_schema_metadata({BEST_KEY: "0.125"} if self.nulls else None)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    labels = st.sampled_from(("0001", "0002", "era3", "era10", "0020", "X"))
    eras = draw(st.dictionaries(labels, st.integers(1, 25), min_size=1))
    dtype = draw(st.sampled_from(("int8", "int8", "int8", "float32", "float64")))
    nulls = draw(st.booleans())
    n_features, n_targets = draw(st.integers(1, 12)), draw(st.integers(0, 4))
    n_aliases = draw(st.integers(0, 2))
    stores = ("float32", "int8") if dtype == "int8" else ("float32",)
    parent = {"dtype": draw(st.sampled_from(stores))}
    parent["missing"] = draw(st.sampled_from(("0.5", "nan")[: 1 + (parent["dtype"] != "int8")]))
    asked = {"dtype": draw(st.sampled_from(stores))} if draw(st.booleans()) else {}
    store = {**parent, **asked}["dtype"]
    known = parent["missing"] == "nan" or not nulls  # which features are missing
    fillers = ("0.5", "nan") if known and store == "float32" else ("0.5",)
    if draw(st.booleans()) or parent["missing"] not in fillers:
        asked["missing"] = draw(st.sampled_from(fillers))
    columns = st.lists(st.integers(0, n_features - 1), min_size=1, unique=True)
    n_all_targets = n_targets + n_aliases if n_targets else 0
    labels_asked = st.sets(st.integers(0, n_all_targets - 1)) if n_all_targets else st.just(set())
    return Case(
        eras,
        draw(st.permutations(range(sum(eras.values())))),
        n_features=n_features,
        n_targets=n_targets,
        n_aliases=n_aliases,
        ids=draw(st.booleans()),
        nulls=nulls,
        dtype=dtype,
        chosen=draw(st.one_of(st.none(), columns)),
        targets=sorted(draw(labels_asked)) if draw(st.booleans()) else None,
        parent=parent,
        asked=asked,
        chunk_cells=draw(st.one_of(st.integers(1, 300), st.just(2**20))),
        n_workers=draw(st.integers(1, 3)),
    )


FILLED = Case(
    {"0001": 3, "0002": 1, "X": 3},
    [0, 4, 3, 1, 5, 2, 6],
    n_features=5,
    n_targets=2,
    n_aliases=2,
    ids=True,
    nulls=True,
    dtype="int8",
    chosen=[3, 1],
    targets=[0, 3],
    parent={"dtype": "float32", "missing": "nan"},
    asked={"dtype": "int8", "missing": "0.5"},
    chunk_cells=20,
    n_workers=2,
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases())
@example(case=FILLED)
def test_a_subset_equals_the_conversion_of_its_sources(
    tmp_path_factory: pytest.TempPathFactory, case: Case
) -> None:
    folder = tmp_path_factory.mktemp("narrow")
    source, table = folder / "toy.parquet", case.table()
    pq.write_table(table, source, row_group_size=9)
    names = feature_names(case.n_features)
    sets = {"all": names, "half": names[: case.n_features // 2], "none": []}
    if case.chosen is not None:
        sets["chosen"] = [names[column] for column in case.chosen]
    features_json(folder, sets)
    all_targets = [name for name in table.column_names if name.startswith("target")]
    options: dict[str, Any] = {"feature_set": None if case.chosen is None else "chosen"}
    if case.targets is not None:
        options["targets"] = tuple(all_targets[column] for column in case.targets)
    parent = parent_of(source, **case.parent)
    before = contents(parent)
    stored = {**case.parent, **case.asked}
    report = convert_source(
        DatasetSource(parent, chunk_cells=case.chunk_cells),
        folder / "narrow",
        ConvertOptions(**stored, **options),
        Resources(ConversionBudget(), case.n_workers),
    )
    check_same_as_converted(source, report.dataset.path, **options, **stored)
    assert contents(parent) == before


def test_a_subset_of_a_subset_can_be_made(source: Path) -> None:
    middle = mt.convert(parent_of(source), source.with_name("middle"), feature_set="middle")
    assert middle.dataset.manifest.feature_sets == {"middle": tuple(SETS["middle"])}
    one = features_json(source.parent, {"one": [NAMES[3]]})
    narrow = mt.convert(
        middle.dataset.path, source.with_name("narrow"), features_json=one, feature_set="one"
    )
    check_same_as_converted(source, narrow.dataset.path, feature_set="one")


def test_without_options_a_subset_is_the_whole_dataset(source: Path) -> None:
    parent = parent_of(source, dtype="float32", missing="nan")
    mt.convert(parent, source.with_name("narrow"))
    assert contents(source.with_name("narrow")) == contents(parent)


def test_ids_of_other_lengths_are_as_wide_as_the_longest(tmp_path: Path) -> None:
    table = toy_table({"0001": 2, "0002": 1}, ids=False)
    table = table.append_column("id", pa.array(["a", "bcd", "é"]))
    pq.write_table(table, tmp_path / "toy.parquet")
    features_json(tmp_path, {})
    narrow = mt.convert(parent_of(tmp_path / "toy.parquet"), tmp_path / "narrow", targets="target")
    check_same_as_converted(tmp_path / "toy.parquet", narrow.dataset.path, targets="target")


def test_columns_with_other_names_keep_their_meaning(tmp_path: Path) -> None:
    """The parent knows its era column and its alias: nothing of it needs to be said again."""
    table = toy_table({"0001": 4, "0002": 3}, n_targets=1)
    names = {"era": "week", "id": "stock", "target": "y"}
    table = table.rename_columns([names.get(name, name) for name in table.column_names])
    table = table.append_column("y_one", table["y"]).append_column("y_two", table["y"])
    pq.write_table(table, tmp_path / "toy.parquet")
    features_json(tmp_path, {})
    flags = {"era_column": "week", "id_column": "stock", "target_prefix": "y"}
    parent = parent_of(tmp_path / "toy.parquet", **flags)
    narrow = mt.convert(parent, tmp_path / "narrow", targets=["y", "y_two"]).dataset
    assert narrow.manifest.aliases == {"y": "y_two"}
    check_same_as_converted(tmp_path / "toy.parquet", narrow.path, targets=["y", "y_two"], **flags)


def test_floats_that_are_codes_can_become_int8(tmp_path: Path) -> None:
    quarters = np.array([0, 0.25, 0.5, 0.75, 1, np.nan, -0.0], np.float32)
    table = pa.table({"era": ["0001"] * 7, "feature_a": quarters, "feature_b": quarters[::-1]})
    pq.write_table(table, tmp_path / "toy.parquet")
    features_json(tmp_path, {})
    parent = parent_of(tmp_path / "toy.parquet")
    narrow = mt.convert(parent, tmp_path / "narrow", dtype="int8").dataset
    assert narrow["0001"].features[:, 0].tolist() == [0, 1, 2, 3, 4, 2, 0]
    check_same_as_converted(tmp_path / "toy.parquet", narrow.path, dtype="int8")


# -- missing features and counts ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nulls", "parent", "asked"),
    [
        (False, {"dtype": "int8"}, {}),
        (False, {"dtype": "float32"}, {"dtype": "int8"}),
        (True, {"missing": "nan"}, {}),
        (True, {"missing": "nan"}, {"missing": "0.5"}),
    ],
    ids=str,
)
def test_counts_that_the_source_dataset_lacks_are_computed_where_possible(
    tmp_path: Path, nulls: bool, parent: dict[str, Any], asked: dict[str, Any]
) -> None:
    source = tmp_path / "toy.parquet"
    write_toy(source, ERAS, n_features=6, nulls=nulls)
    features_json(tmp_path, SETS)
    older = without_counts(parent_of(source, **parent))
    narrow = mt.convert(older, tmp_path / "narrow", feature_set="small", **asked).dataset.path
    check_same_as_converted(source, narrow, feature_set="small", **{**parent, **asked})


def test_counts_that_cannot_be_computed_are_refused(source: Path) -> None:
    parent = without_counts(parent_of(source))
    with refused(SourceError, str(parent), "counts.npy", "'0001'", "again"):
        mt.convert(parent, source.with_name("narrow"), feature_set="small")
    assert not source.with_name("narrow").exists()


def test_nan_for_features_filled_with_a_half_is_refused_by_name(source: Path) -> None:
    parent = parent_of(source)
    with refused(SourceError, str(parent), "'feature_", "--missing 0.5"):
        mt.convert(parent, source.with_name("narrow"), missing="nan")
    assert not source.with_name("narrow").exists()


def test_nan_is_accepted_where_the_chosen_features_miss_nothing(
    tmp_path: Path,
) -> None:
    table = toy_table(ERAS, n_features=6)
    column = table.column_names.index(NAMES[0])
    table = table.set_column(column, NAMES[0], pa.nulls(len(table), pa.int8()))
    pq.write_table(table, tmp_path / "toy.parquet")
    features_json(tmp_path, SETS)
    parent = parent_of(tmp_path / "toy.parquet", dtype="int8")
    asked = {"feature_set": "small", "missing": "nan", "dtype": "float32"}
    narrow = mt.convert(parent, tmp_path / "narrow", **asked).dataset.path  # type: ignore[arg-type]
    check_same_as_converted(tmp_path / "toy.parquet", narrow, **asked)
    with refused(SourceError, repr(NAMES[0])):
        mt.convert(parent, tmp_path / "other", missing="nan", dtype="float32")


# -- feature sets and targets ---------------------------------------------------------------------


def test_a_features_json_gives_a_dataset_sets(source: Path) -> None:
    parent = parent_of(source, features_json=None)
    sets = features_json(source.parent, {**SETS, "wider": [*SETS["small"], "feature_gone"]})
    narrow = mt.convert(
        parent, source.with_name("narrow"), features_json=sets, feature_set="small"
    ).dataset
    assert narrow.manifest.feature_sets == {"small": tuple(SETS["small"])}
    check_same_as_converted(source, narrow.path, feature_set="small")


def test_all_is_a_set_unless_a_set_has_that_name(source: Path) -> None:
    parent = parent_of(source, features_json=None)
    mt.convert(parent, source.with_name("narrow"), feature_set="all", dtype="float32")
    assert contents(source.with_name("narrow")) == contents(parent)


# -- memory and threads ---------------------------------------------------------------------------


def test_rows_are_read_in_chunks(tmp_path: Path) -> None:
    write_toy(tmp_path / "toy.parquet", {"0001": 4000}, n_features=300)
    names = feature_names(300)
    features_json(tmp_path, {"odd": names[1::2]})
    parent = parent_of(tmp_path / "toy.parquet", dtype="float32")
    for dtype in ("float32", "int8"):
        subset = DatasetSource(parent, chunk_cells=20_000)
        options = ConvertOptions(dtype=dtype, feature_set="odd")
        tracemalloc.start()
        convert_source(subset, tmp_path / dtype, options, Resources(ConversionBudget()))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1_500_000  # the era's features alone take 2,400,000 bytes


@pytest.mark.parametrize(
    ("budget", "expected"),
    [(0, 1), (WORKER_BYTES, 1), (2 * WORKER_BYTES, 2), (9 * WORKER_BYTES, 3)],
)
def test_little_memory_makes_few_threads(budget: int, expected: int) -> None:
    assert workers_within(budget, 3) == expected


# -- on the command line --------------------------------------------------------------------------


def test_the_command_line_makes_a_subset(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parent, narrow = parent_of(source, dtype="int8"), source.with_name("narrow")
    command = ["convert", str(parent), "--out", str(narrow), "--feature-set", "small"]
    command += ["--target", "target", "--memory", "512", "--workers", "1"]
    assert main(command) == 0
    assert "converted 50 rows, 4 eras, 2 features, int8" in capsys.readouterr().out
    check_same_as_converted(source, narrow, feature_set="small", targets="target", dtype="int8")
    assert main([*command, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["status"], report["n_features"], report["dtype"]) == ("up to date", 2, "int8")
    assert report["digest"] == mt.open_dataset(narrow).manifest.digest
