"""Tests of narrowing: what comes out is what the parent's own sources would have become."""

import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
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
from memmap_train.dataset.format import WORKSPACE
from memmap_train.dataset.verify import verify
from memmap_train.errors import (
    ConversionError,
    ManifestError,
    MemmapTrainError,
    SchemaError,
    ShardError,
    SourceError,
)
from tests.support.conversions import features_json
from tests.support.errors import refused
from tests.support.files import contents
from tests.support.toy import feature_names, toy_table, write_toy
from tests.support.toy_datasets import without_counts
from tests.support.updates import write_first, write_later

ERAS = {"0001": 12, "0002": 1, "0010": 30, "X": 7}
NAMES = feature_names(6)
SETS = {"small": [NAMES[4], NAMES[1]], "middle": NAMES[2:5], "all": NAMES}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    features_json(tmp_path, SETS)
    path = tmp_path / "toy.parquet"
    write_toy(path, ERAS, n_features=6, n_targets=3, nulls=True, row_group_rows=20)
    return path


def parent_of(source: Path, **options: Any) -> Path:
    """Convert a source into the parent, with the feature sets that lie beside it."""
    options.setdefault("features_json", source.with_name("features.json"))
    return mt.convert(source, source.with_name("parent"), **options).dataset.path


def check_same_as_converted(source: Path, narrow: Path, **options: Any) -> None:
    """Compare a narrowed dataset with the sources' own conversion, byte by byte."""
    options.setdefault("features_json", source.with_name("features.json"))
    direct = mt.convert(source, source.with_name("direct"), overwrite=True, **options).dataset.path
    assert contents(narrow) == contents(direct)
    assert list(verify(narrow)) == []


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


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"feature_set": "smal"}, SchemaError, "did you mean 'small'?"),
        ({"feature_set": "smal"}, SchemaError, "--features-json"),
        ({"feature_set": "partly", "sets": True}, SchemaError, "'feature_gone'"),
        ({"feature_set": "smal", "sets": True}, SchemaError, "features.json: no feature set"),
        ({"targets": ["target_t1"]}, SchemaError, "did you mean 'target_t1_20'?"),
        ({"era_column": "week"}, SchemaError, "--era-column"),
        ({"id_column": "id"}, SchemaError, "--id-column"),
        ({"feature_prefix": "f"}, SchemaError, "--feature-prefix"),
        ({"target_prefix": "t"}, SchemaError, "--target-prefix"),
        ({"dtype": "int4"}, SchemaError, "'int4'"),
        ({"dtype": "int8", "missing": "nan"}, SchemaError, "--dtype float32"),
        ({"memory": 511}, ConversionError, "512 MB"),
        ({"workers": 0}, ConversionError, "workers"),
    ],
    ids=str,
)
def test_a_bad_option_is_refused_and_leaves_nothing(
    source: Path, options: dict[str, Any], kind: type[MemmapTrainError], said: str
) -> None:
    parent = parent_of(source)
    before = contents(parent)
    if options.pop("sets", False):
        sets = {**SETS, "partly": [NAMES[0], "feature_gone"]}
        options = {**options, "features_json": features_json(source.parent, sets)}
    with refused(kind, said):
        mt.convert(parent, source.with_name("narrow"), **options)
    assert not source.with_name("narrow").exists()
    assert contents(parent) == before


def test_int8_of_a_dataset_with_nan_is_refused_with_the_command_to_type(source: Path) -> None:
    with refused(SchemaError, "--dtype float32", "--missing 0.5"):
        mt.convert(parent_of(source, missing="nan"), source.with_name("narrow"), dtype="int8")


def test_floats_that_are_no_codes_are_refused_for_int8(tmp_path: Path) -> None:
    write_toy(tmp_path / "toy.parquet", ERAS, dtype="float32")
    features_json(tmp_path, {})
    parent = parent_of(tmp_path / "toy.parquet")
    with refused(SourceError, str(parent), "'feature_z0'", "'0001'", "--dtype float32"):
        mt.convert(parent, tmp_path / "narrow", dtype="int8")
    assert not (tmp_path / "narrow" / "manifest.json").exists()


# -- what may be named, and where to --------------------------------------------------------------


def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "v5.3"
    folder.mkdir()
    with refused(SourceError, str(folder), "not a dataset", "manifest.json", "parquet files"):
        mt.convert(folder, tmp_path / "out")
    write_toy(folder / "train.parquet", {"0001": 3})
    with refused(SourceError, str(folder / "train.parquet")):
        mt.convert([folder], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_dataset_is_no_source_beside_others(source: Path) -> None:
    parent, out = parent_of(source), source.with_name("out")
    other = mt.convert(source, source.with_name("other")).dataset.path
    for paths in ([parent, source], [source, parent], [parent, other], [parent, parent]):
        with refused(SourceError, str(parent), "alone"):
            mt.convert(paths, out)
    assert not out.exists()


def test_an_unfinished_dataset_is_refused(source: Path) -> None:
    parent = parent_of(source)
    (parent / WORKSPACE).mkdir()
    (parent / "manifest.json").unlink()
    with refused(ManifestError, str(parent), "hasn't finished"):
        mt.convert(parent, source.with_name("out"))


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("where", ["parent", "parent/small", "parent/era-0001", ".", "link/small"])
def test_an_output_folder_that_overlaps_the_source_dataset_is_refused(
    source: Path, where: str, overwrite: bool
) -> None:
    parent = parent_of(source)
    source.with_name("link").symlink_to(parent)
    before = contents(parent)
    with refused(ConversionError, str(parent), "choose another --out"):
        mt.convert(parent, source.parent / where, overwrite=overwrite)
    assert contents(parent) == before


def test_a_folder_whose_name_begins_like_that_of_the_source_dataset_is_accepted(
    source: Path,
) -> None:
    parent = parent_of(source)
    assert mt.convert(parent, parent.with_name("parent-small"), feature_set="small").n_rows == 50


def test_too_small_a_disk_is_refused_before_anything_is_written(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, narrow = parent_of(source), source.with_name("narrow")
    for free, said in ((75_000, "--feature-set middle"), (1, "another disk with --out$")):
        usage = shutil._ntuple_diskusage(100_000, 100_000 - free, free)
        monkeypatch.setattr(shutil, "disk_usage", lambda path, usage=usage: usage)
        with pytest.raises(ConversionError, match=f"not enough disk: .*{said}"):
            mt.convert(parent, narrow)
        assert not narrow.exists()


# -- a parent that is damaged ---------------------------------------------------------------------


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def other_dtype(path: Path) -> None:
    """Write another array of the same size."""
    array = np.load(path)
    np.save(path, array.view({1: "u1", 4: "<i4", 16: "S16"}[array.itemsize]).T.copy().T)


@pytest.mark.parametrize("array", ["features", "targets"])
@pytest.mark.parametrize("damage", [Path.unlink, cut, other_dtype])
@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_a_damaged_source_dataset_is_refused_with_the_name_of_the_file(
    source: Path, array: str, damage: Callable[[Path], None], dtype: str
) -> None:
    parent = parent_of(source, dtype=dtype)
    path = parent / "era-0010" / f"{array}.npy"
    damage(path)
    with refused(ShardError, str(path)):
        mt.convert(parent, source.with_name("narrow"), feature_set="small")
    assert not (source.with_name("narrow") / "manifest.json").exists()


@pytest.mark.parametrize("array", ["features", "targets", "ids", "counts"])
@pytest.mark.parametrize("place", [100, -1])  # in the header, and of the last row
@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_flipped_bits_of_a_source_dataset_are_not_given_a_matching_digest(
    source: Path, array: str, place: int, dtype: str
) -> None:
    parent, narrow = parent_of(source, dtype=dtype), source.with_name("narrow")
    path = parent / "era-0010" / f"{array}.npy"
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with refused(ShardError, str(path)):
        mt.convert(parent, narrow, feature_set="small")
    assert not (narrow / "manifest.json").exists()
    data[place] ^= 1
    path.write_bytes(data)
    mt.convert(parent, narrow, feature_set="small")  # and goes on
    check_same_as_converted(source, narrow, feature_set="small", dtype=dtype)


def test_a_manifest_that_this_package_would_not_write_is_refused_as_a_source(source: Path) -> None:
    parent = parent_of(source, dtype="int8")
    whole = json.loads((parent / "manifest.json").read_text())
    (parent / "manifest.json").write_text(
        json.dumps({**whole, "scale": {"multiply": 0.5, "add": 0}})
    )
    with refused(ManifestError, str(parent), "0.5"):
        mt.convert(parent, source.with_name("narrow"))
    del whole["shards"][1]["files"]["ids"]
    (parent / "manifest.json").write_text(json.dumps(whole))
    with refused(ManifestError, str(parent), "3 of 4 eras have ids"):
        mt.convert(parent, source.with_name("narrow"))


# -- a parent that changes ------------------------------------------------------------------------


def update(source: Path) -> None:
    write_toy(source, {**ERAS, "0011": 5}, n_features=6, n_targets=3, nulls=True)
    parent_of(source)


def change_targets(source: Path) -> None:
    """Update one target in all eras, which replaces files and leaves their sizes."""
    table = pq.read_table(source)
    column = table.column_names.index("target")
    pq.write_table(table.set_column(column, "target", pa.array([0.5] * len(table))), source)
    assert mt.convert(source, source.with_name("parent")).n_eras_changed == len(ERAS)


def make_again(source: Path) -> None:
    write_toy(source, ERAS, n_features=6, n_targets=3, nulls=True, seed=1)
    parent_of(source, overwrite=True)


def remove(source: Path) -> None:
    shutil.rmtree(source.with_name("parent"))


@pytest.mark.parametrize("moment", [0, 50])
@pytest.mark.parametrize("change", [update, change_targets, make_again, remove])
def test_a_source_dataset_that_changes_while_it_is_read_is_noticed(
    source: Path, moment: int, change: Callable[[Path], None]
) -> None:
    parent, narrow = parent_of(source), source.with_name("narrow")
    changed: list[int] = []

    def meddle(what: str, done: int, total: int) -> None:
        if what == "converting" and done >= moment and not changed:
            changed.append(done)
            change(source)

    with refused(SourceError, str(parent), "changed while it was read", "again"):
        mt.convert(parent, narrow, feature_set="small", progress=meddle)
    assert changed
    assert not (narrow / "manifest.json").exists()
    parent_of(source)
    mt.convert(parent, narrow, feature_set="small")
    check_same_as_converted(source, narrow, feature_set="small")


# -- the same again, and updates ------------------------------------------------------------------


def marks(dataset: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(dataset)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in dataset.rglob("*.npy")
    }


def test_the_same_subset_again_is_up_to_date_also_from_the_parquet_files(source: Path) -> None:
    parent, narrow = parent_of(source), source.with_name("narrow")
    mt.convert(parent, narrow, feature_set="small", targets="target")
    before = contents(narrow), marks(narrow)
    options: dict[str, Any] = {"feature_set": "small", "targets": "target"}
    assert mt.convert(parent, narrow, **options).status == "up to date"
    options["features_json"] = source.with_name("features.json")
    assert mt.convert(source, narrow, **options).status == "up to date"
    assert (contents(narrow), marks(narrow)) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"feature_set": "middle"}, "features"),
        ({"feature_set": "small", "targets": ["target"]}, "targets"),
        ({"feature_set": "small", "dtype": "int8"}, "dtype"),
    ],
    ids=str,
)
def test_other_options_are_refused_or_overwrite(
    source: Path, options: dict[str, Any], said: str
) -> None:
    parent, narrow = parent_of(source), source.with_name("narrow")
    mt.convert(parent, narrow, feature_set="small")
    before = contents(narrow)
    with refused(ConversionError, str(narrow), said, "--overwrite"):
        mt.convert(parent, narrow, **options)
    assert contents(narrow) == before
    mt.convert(parent, narrow, overwrite=True, **options)
    check_same_as_converted(source, narrow, **options)


@pytest.mark.parametrize("trust_features", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_an_updated_source_dataset_updates_its_subset(
    tmp_path: Path, dtype: str, trust_features: bool
) -> None:
    source, narrow = tmp_path / "validation.parquet", tmp_path / "narrow"
    features_json(tmp_path, SETS)
    write_first(source, n_features=6)
    parent = parent_of(source)
    options: dict[str, Any] = {"feature_set": "small", "dtype": dtype}
    first = mt.convert(parent, narrow, **options).dataset.manifest
    before, old = contents(narrow), marks(narrow)
    write_later(source, n_features=6)
    assert mt.convert(parent, narrow, **options).status == "up to date"  # the parent is what it was
    parent_of(source)
    report = mt.convert(parent, narrow, trust_features=trust_features, **options)
    assert (report.status, report.n_eras_new, report.n_eras_changed) == ("updated", 2, 1)
    after, new = contents(narrow), marks(narrow)
    assert {name for name in old if new[name] != old[name]} == {"era-0003/targets.npy"}
    assert {name for name in old if after[name] != before[name]} == {"era-0003/targets.npy"}
    assert report.dataset.manifest.history == (first.sources,)
    assert list(verify(narrow)) == []
    options["features_json"] = source.with_name("features.json")
    direct = mt.convert(source, tmp_path / "direct", **options).dataset
    assert report.dataset.manifest.digest == direct.manifest.digest
    assert mt.convert(parent, narrow, feature_set="small", dtype=dtype).status == "up to date"


def test_other_features_in_old_eras_are_refused_by_name(tmp_path: Path) -> None:
    source, narrow = tmp_path / "validation.parquet", tmp_path / "narrow"
    features_json(tmp_path, SETS)
    write_first(source, n_features=6)
    parent = parent_of(source, dtype="int8")
    mt.convert(parent, narrow, feature_set="small", dtype="float32")
    before = contents(narrow)
    write_later(source, n_features=6, seed=1)
    parent_of(source, overwrite=True)
    with refused(
        ConversionError, str(narrow), str(parent), "'feature_y1'", "stays as it is", "--overwrite"
    ):
        mt.convert(parent, narrow, feature_set="small", dtype="float32")
    assert contents(narrow) == before


@pytest.mark.parametrize("narrowed", [False, True])
@settings(max_examples=12, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 99_999), min_size=9, max_size=9, unique=True),
    ending=st.sampled_from(["", "", "0", "x" * 9]),
    n_changed=st.integers(1, 6),
)
@example(numbers=list(range(10, 19)), ending="0", n_changed=6)
@example(numbers=[*range(10, 16), 100, 101, 10_000], ending="", n_changed=1)
def test_ids_of_an_update_are_whole_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    narrowed: bool,
    numbers: list[int],
    ending: str,
    n_changed: int,
) -> None:
    """Ids of new eras may be longer; those of old ones can't become what was cut from them."""
    folder = tmp_path_factory.mktemp("ids")
    source, parent, out = folder / "v.parquet", folder / "parent", folder / "out"
    first = [str(number) for number in numbers]

    def write(eras: dict[str, int], ids: list[str]) -> Path:
        """Write the source; return what the dataset is made from."""
        table = toy_table(eras)
        column = table.column_names.index("id")
        pq.write_table(table.set_column(column, "id", pa.array(ids)), source)
        return mt.convert(source, parent, overwrite=True).dataset.path if narrowed else source

    mt.convert(write({"0001": 4, "0002": 2}, first[:6]), out, targets="target")
    before = contents(out)
    later = [f"{text}{ending if row < n_changed else ''}" for row, text in enumerate(first)]
    origin = write({"0001": 4, "0002": 2, "0003": 3}, later)
    if ending:
        with refused(ConversionError, str(out), "the ids of", "--overwrite"):
            mt.convert(origin, out, targets="target")
        assert contents(out) == before
        return
    dataset = mt.convert(origin, out, targets="target").dataset
    found = [text for era in dataset.eras for text in np.asarray(dataset[era].ids).tolist()]
    assert found == [text.encode() for text in later]
    assert list(verify(out)) == []


@pytest.mark.parametrize("lost", ["era", "feature"])
def test_a_source_dataset_that_has_lost_an_era_or_a_feature_is_refused(
    tmp_path: Path, lost: str
) -> None:
    source, narrow = tmp_path / "validation.parquet", tmp_path / "narrow"
    features_json(tmp_path, SETS)
    write_first(source, n_features=6)
    parent = parent_of(source)
    mt.convert(parent, narrow, feature_set="middle")
    before = contents(narrow)
    if lost == "era":
        write_toy(source, {"0001": 12, "0003": 9}, n_features=6)
    else:
        write_later(source, n_features=4)
    parent_of(source, overwrite=True)
    with refused(
        ConversionError, str(parent), "'0002'" if lost == "era" else repr(NAMES[4]), "stays as it"
    ):
        mt.convert(parent, narrow, feature_set="middle" if lost == "era" else None)
    assert contents(narrow) == before


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


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("convert {parent} --out {parent}", "choose another --out"),
        ("convert {parent} --out {out} --feature-set medum", "no feature set 'medum'"),
        ("convert {parent} {source} --out {out}", "alone"),
        ("convert {folder} --out {out}", "not a dataset"),
        ("convert {parent} --out {out} --missing nan", "--missing 0.5"),
        ("convert {parent} --out {out} --era-column week", "leave them out"),
    ],
)
def test_a_mistake_is_reported_in_one_line_and_leaves_nothing(
    source: Path, command: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parent, out = parent_of(source), source.with_name("out")
    words = command.format(parent=parent, out=out, source=source, folder=source.parent)
    assert main(words.split()) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert not out.exists()
