"""Tests of subsets that can't be made: wrong options, folders, and damaged or changing datasets."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import memmap_train as mt
from memmap_train.cli.commands import main
from memmap_train.dataset.format import WORKSPACE
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
from tests.support.subsets import ERAS, NAMES, SETS, check_same_as_converted, parent_of
from tests.support.toy import write_toy

# -- options ---------------------------------------------------------------------------------------


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


# -- on the command line --------------------------------------------------------------------------


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
