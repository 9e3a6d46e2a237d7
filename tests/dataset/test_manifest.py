"""Tests of the manifest: written and read again, and refused in one line if damaged."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memmap_train.dataset.format import FILE_NAME
from memmap_train.dataset.manifest import FileEntry, Manifest, ShardEntry, SourceEntry
from memmap_train.dataset.manifest_file import read_manifest, write_manifest
from memmap_train.dataset.opening import open_dataset
from memmap_train.errors import ManifestError
from tests.support.errors import refused
from tests.support.manifests import Json, manifest, shard
from tests.support.toy_datasets import MakeToy


def with_benchmarks(entry: ShardEntry) -> ShardEntry:
    """Return the entry of an era with two benchmarks."""
    file = FileEntry(128 + entry.rows * 8, "xxh3_128:6")
    return replace(
        entry,
        files={**entry.files, "benchmarks": file},
        benchmark_nulls={"v53_lgbm": 1, "übung": entry.rows},
    )


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Return a folder with only an undamaged manifest, which the test may damage."""
    write_manifest(manifest(), tmp_path)
    return tmp_path


def edit(directory: Path, change: Any) -> None:
    """Change the JSON of a manifest: a dict to merge in, or a function that changes it."""
    data = json.loads((directory / FILE_NAME).read_bytes())
    if callable(change):
        change(data)
    else:
        data.update(change)
    (directory / FILE_NAME).write_text(json.dumps(data))


# -- round trip -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dtype": "float32", "scale": None, "shards": (shard(item=4),)},
        {"planted": None},
        {"targets": (), "aliases": {}, "shards": (shard(target_nulls={}),)},
        {"shards": (shard("übung/..\\ \0'\"\n✓"),)},
        {
            "shards": (with_benchmarks(shard()),),
            "benchmarks": ("v53_lgbm", "übung"),
            "benchmark_sources": (
                SourceEntry("b.parquet", 5, "2026-01-01T00:00:00+00:00", "xxh3_128:6"),
            ),
        },
    ],
)
def test_a_written_manifest_is_read_back(tmp_path: Path, changes: Json) -> None:
    written = manifest(**changes)
    write_manifest(written, tmp_path)
    assert read_manifest(tmp_path) == written
    assert os.listdir(tmp_path) == [FILE_NAME]


def test_the_file_is_utf8_json_with_sorted_keys_and_the_format_of_the_specification(
    plain: Path,
) -> None:
    data = json.loads((plain / FILE_NAME).read_bytes().decode("utf-8"))
    assert list(data) == sorted(data)
    assert data["format"] == "memmap-train"
    assert data["format_version"] == 1
    assert data["n_rows"] == 7
    assert data["scale"] == {"multiply": 0.25, "add": 0.0}
    assert set(data) == {
        "aliases", "columns", "created_by", "dtype", "feature_sets", "features", "format",
        "format_version", "missing", "n_rows", "planted", "scale", "shards", "sources", "targets",
    }  # fmt: skip
    assert data["shards"][1] == {
        "era": "X",
        "rows": 4,
        "data_type": {"train": 4},
        "missing_features": 1,
        "target_nulls": {"target": 0, "target_t1_20": 4},
        "files": {
            "features": {"bytes": 136, "digest": "xxh3_128:1"},
            "targets": {"bytes": 160, "digest": "xxh3_128:2"},
            "ids": {"bytes": 192, "digest": "xxh3_128:3"},
            "counts": {"bytes": 176, "digest": "xxh3_128:5"},
        },
    }


def test_writing_again_replaces_the_manifest(plain: Path) -> None:
    again = manifest(missing="nan", dtype="float32", scale=None, shards=(shard(item=4),))
    write_manifest(again, plain)
    assert read_manifest(plain).missing == "nan"
    assert os.listdir(plain) == [FILE_NAME]


def test_unknown_keys_are_ignored(plain: Path) -> None:
    def add(data: Json) -> None:
        data["later"] = {"anything": [1, None]}
        data["scale"]["later"] = 1
        data["sources"][0]["later"] = 1
        data["shards"][0]["later"] = 1
        data["shards"][0]["files"]["weights"] = {"bytes": 1, "kind": "of a later version"}
        data["shards"][0]["files"]["features"]["later"] = 1

    edit(plain, add)
    assert read_manifest(plain) == manifest()


def test_the_layout_follows_from_the_dtype_the_names_and_the_rows() -> None:
    layout = manifest().layout(shard(rows=5))
    assert layout == {
        "features": (np.dtype("i1"), (5, 2)),
        "targets": (np.dtype("<f4"), (5, 2)),
        "ids": (np.dtype("S16"), (5,)),
        "counts": (np.dtype("<i4"), (2, 6)),
    }
    of_floats = manifest(dtype="float32", scale=None)
    assert of_floats.layout(shard(rows=5))["features"] == (np.dtype("<f4"), (5, 2))


def test_a_manifest_of_an_earlier_version_without_counts_is_read(plain: Path) -> None:
    edit(plain, lambda data: [shard["files"].pop("counts") for shard in data["shards"]])
    older = read_manifest(plain)
    assert [set(shard.files) for shard in older.shards] == [{"features", "targets", "ids"}] * 2
    assert set(older.layout(older.shards[0])) == {"features", "targets", "ids"}
    assert older.digest != manifest().digest


def benched(**changes: Any) -> Manifest:
    """Return a manifest with two benchmarks."""
    source = SourceEntry("b.parquet", 5, "2026-01-01T00:00:00+00:00", "xxh3_128:6")
    entries = tuple(map(with_benchmarks, manifest().shards))
    fields: Json = {
        "shards": entries,
        "benchmarks": ("v53_lgbm", "übung"),
        "benchmark_sources": (source,),
    }
    return manifest(**{**fields, **changes})


def test_a_manifest_lists_benchmarks_only_if_there_are_any(tmp_path: Path) -> None:
    plain = manifest().to_json()
    assert not [key for key in (*plain, *plain["shards"][0]) if "benchmark" in key]
    write_manifest(benched(), tmp_path)
    data = json.loads((tmp_path / FILE_NAME).read_bytes())
    assert data["benchmarks"] == ["v53_lgbm", "übung"]
    assert [source["name"] for source in data["benchmark_sources"]] == ["b.parquet"]
    assert data["shards"][0]["benchmark_nulls"] == {"v53_lgbm": 1, "übung": 3}
    assert benched().layout(benched().shards[0])["benchmarks"] == (np.dtype("<f4"), (3, 2))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.pop("benchmarks"), "expected none"),
        (lambda data: data.update(benchmarks=["v53_lgbm"]), "benchmark_nulls"),
        (lambda data: data.update(benchmarks=["v53_lgbm"] * 2), "twice"),
        (lambda data: data["shards"][1]["files"].pop("benchmarks"), "expected a file"),
        (lambda data: data["shards"][1]["files"].pop("ids"), "expected ids"),
        (lambda data: data["shards"][1]["files"]["benchmarks"].update(bytes=140), "don't hold 4"),
        (lambda data: data["shards"][1].pop("benchmark_nulls"), "benchmark_nulls"),
        (lambda data: data["shards"][0]["benchmark_nulls"].update(v53_lgbm=4), "benchmark_nulls"),
        (lambda data: data.update(benchmark_sources=[{"name": 1}]), "name"),
    ],
)
def test_impossible_benchmarks_are_refused(tmp_path: Path, change: Any, said: str) -> None:
    write_manifest(benched(), tmp_path)
    edit(tmp_path, change)
    with refused(ManifestError, str(tmp_path / FILE_NAME), said):
        read_manifest(tmp_path)


# -- digest ---------------------------------------------------------------------------------------


def test_the_digest_depends_only_on_the_content() -> None:
    same = manifest(sources=(), created_by={}, planted=None, feature_sets={}, missing="nan")
    assert same.digest == manifest().digest


@pytest.mark.parametrize(
    "changes",
    [
        {"features": ("feature_a", "feature_b")},
        {"targets": ("target_t1_20", "target")},
        {"shards": (shard("0001", 3),)},
        {"shards": (shard("X", 4), shard("0001", 3))},
        {"shards": (shard("0002", 3), shard("X", 4))},
        {"shards": (shard("0001", 4), shard("X", 4))},
        {"shards": (shard(files={**shard().files, "ids": FileEntry(176, "x")}), shard("X", 4))},
    ],
)
def test_other_content_changes_the_digest(changes: Json) -> None:
    assert manifest(**changes).digest != manifest().digest


def test_benchmarks_are_part_of_the_digest() -> None:
    digest = benched().digest
    first, second = benched().shards
    file = replace(second.files["benchmarks"], digest="xxh3_128:7")
    other = replace(second, files={**second.files, "benchmarks": file})
    assert digest != manifest().digest
    assert benched(benchmarks=("übung", "v53_lgbm")).digest != digest
    assert benched(shards=(first, other)).digest != digest
    assert benched(benchmark_sources=()).digest == digest


# -- what isn't a manifest ------------------------------------------------------------------------


def test_a_folder_without_a_manifest_isnt_a_dataset(tmp_path: Path) -> None:
    with refused(ManifestError, str(tmp_path), "no manifest.json", "memmap-train convert"):
        read_manifest(tmp_path)


def test_a_missing_folder_and_a_folder_in_the_place_of_the_manifest_are_refused(
    tmp_path: Path,
) -> None:
    with refused(ManifestError, "no such folder"):
        read_manifest(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with refused(ManifestError, "it is a file"):
        read_manifest(tmp_path / "file")
    (tmp_path / FILE_NAME).mkdir()
    with refused(ManifestError, FILE_NAME):
        read_manifest(tmp_path)
    (tmp_path / FILE_NAME).rmdir()
    os.mkfifo(tmp_path / FILE_NAME)
    with refused(ManifestError, FILE_NAME, "a pipe"):
        read_manifest(tmp_path)


def test_an_unfinished_conversion_is_refused_with_how_to_resume(tmp_path: Path) -> None:
    (tmp_path / ".convert").mkdir()
    with refused(ManifestError, "hasn't finished", "convert"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe\xff",
        b"[" * 100_000,
        b'{"format_version": ' + b"9" * 5000 + b"}",
        b"null",
        b"[]",
        b'"memmap-train"',
        b'{"format": "something else"}',
        b'{"format": "memmap-train"}',
    ],
    ids=lambda content: repr(content[:20]),
)
def test_a_file_that_is_not_a_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with refused(ManifestError, str(tmp_path / FILE_NAME)):
        read_manifest(tmp_path)


def test_a_manifest_truncated_anywhere_is_refused(plain: Path) -> None:
    whole = (plain / FILE_NAME).read_bytes()
    for end in range(len(whole) - 2):  # but for the newline after the last brace
        (plain / FILE_NAME).write_bytes(whole[:end])
        with refused(ManifestError, str(plain)):
            read_manifest(plain)


@pytest.mark.parametrize("version", [0, 2, 99, "1", None, True, [1]])
def test_another_format_version_is_refused_with_advice(plain: Path, version: Any) -> None:
    edit(plain, {"format_version": version, "shards": "of another form"})
    with refused(ManifestError, f"format_version {version!r}", "expected 1", "upgrade"):
        read_manifest(plain)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n_rows": 8}, "n_rows"),
        ({"n_rows": 7.0}, "n_rows"),
        ({"n_rows": "7"}, "n_rows"),
        ({"missing": "0"}, "missing"),
        ({"missing": ["0.5"]}, "missing"),
        (lambda data: data["shards"][0].update(rows=10**18), "rows"),
        (lambda data: data["shards"][0].update(era="9" * 252), "too long"),
        (lambda data: data["shards"][0].update(era="é" * 42), "too long"),
        (lambda data: data["shards"][0].update(data_type={"train": 2, "test": 2}), "data_type"),
        (lambda data: data["shards"][0].update(missing_features=7), "missing_features"),
        (lambda data: data["shards"][0]["files"]["features"].update(bytes=133), "don't hold 3"),
        (lambda data: data["shards"][0]["files"]["targets"].update(bytes=2**39), "don't hold 3"),
        (lambda data: data["shards"][0]["files"]["counts"].update(bytes=128), "counts"),
        ({"dtype": "float64"}, "dtype"),
        ({"scale": None}, "wrong kind"),
        ({"features": []}, "features"),
        ({"features": ["feature_a", "feature_a"]}, "twice"),
        ({"targets": ["target", "target"]}, "twice"),
        ({"feature_sets": {"small": ["feature_c"]}}, "feature_sets.small"),
        (lambda data: data["shards"].append(data["shards"][0]), "twice"),
        (lambda data: data["shards"][0].update(rows=0), "rows"),
        (lambda data: data["shards"][0].update(rows=-3), "rows"),
        (lambda data: data["shards"][0].update(rows=3.0), "rows"),
        (lambda data: data["shards"][0].update(rows=True), "rows"),
        (lambda data: data["shards"][0].update(rows=2**63), "rows"),
        (lambda data: data["shards"][0]["files"].pop("targets"), "targets"),
        (lambda data: data["shards"][0]["files"]["ids"].update(bytes=177), "ids"),
        (lambda data: data["shards"][0]["files"]["ids"].update(bytes=2**39), "ids"),
        (lambda data: data["shards"][0]["files"]["features"].update(bytes=9), "bytes"),
        (lambda data: data["shards"][0]["target_nulls"].pop("target"), "target_nulls"),
        (lambda data: data["shards"][0]["target_nulls"].update(target=4), "target_nulls"),
        ({"shards": [], "n_rows": 0}, "shards"),
        (lambda data: data["scale"].update(multiply=float("nan")), "multiply"),
        (lambda data: data["scale"].update(add=float("inf")), "add"),
        ({"aliases": {"target": "target_x"}}, "aliases"),
    ],
)
def test_impossible_values_are_refused(plain: Path, change: Any, said: str) -> None:
    edit(plain, change)
    with refused(ManifestError, str(plain / FILE_NAME), said):
        read_manifest(plain)


def of_rows_that_arent_there(data: Json) -> None:
    """Give an era as many rows as the format allows, consistently except for its files.

    Shuffling them would take 8 TB.
    """
    first, rows = data["shards"][0], 2**40
    data["n_rows"] += rows - first["rows"]
    first["rows"] = rows
    del first["files"]["ids"]


def test_more_rows_than_the_files_hold_are_refused(make_toy: MakeToy) -> None:
    directory = make_toy({"0001": 3, "X": 2})
    edit(directory, of_rows_that_arent_there)
    with refused(ManifestError, "'0001'", "don't hold 1,099,511,627,776 rows"):
        open_dataset(directory)


def test_a_label_with_a_lone_surrogate_is_refused(plain: Path) -> None:
    edit(plain, lambda data: data["shards"][0].update(era="\ud800"))
    with refused(ManifestError, "era: expected text, found half a character"):
        read_manifest(plain)


HALF = "\ud800"


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["feature_sets"].update({HALF: []}),
        lambda data: data["aliases"].update({HALF: "target"}),
        lambda data: data["columns"].update(id=HALF),
        lambda data: data["columns"].update({HALF: None}),
        lambda data: data["created_by"].update(numpy=HALF),
        lambda data: data["shards"][0]["data_type"].update({HALF: 1}),
        lambda data: data["shards"][0]["target_nulls"].update({HALF: 1}),
        lambda data: data["shards"][0]["files"].update({HALF: {}}),
    ],
)
def test_a_lone_surrogate_in_any_name_is_refused(
    plain: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    """It could be read, but neither printed nor written again."""
    edit(plain, change)
    with refused(ManifestError, str(plain), "half a character"):
        read_manifest(plain)
