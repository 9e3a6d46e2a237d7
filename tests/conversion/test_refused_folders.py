"""Tests of folders that a dataset can't be written to: each is one line, and stays as it was."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from memmap_train.conversion.conversion import convert
from memmap_train.conversion.parquet_source import ParquetSource
from memmap_train.conversion.plan import ConvertOptions
from memmap_train.dataset.format import WORKSPACE
from memmap_train.dataset.verify import verify
from memmap_train.errors import ConversionError
from tests.support.errors import refused
from tests.support.toy import write_toy


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_toy(tmp_path / "toy.parquet", {"0001": 4, "0002": 3})
    return tmp_path / "toy.parquet"


def test_a_file_in_place_of_the_folder_is_refused(source: Path) -> None:
    out = source.with_name("out")
    out.write_text("mine")
    for overwrite in (False, True):
        with refused(ConversionError, str(out), "a file"):
            convert(source, out, overwrite=overwrite)
    assert out.read_text() == "mine"


def test_a_folder_under_a_file_is_refused(source: Path) -> None:
    source.with_name("file").write_text("mine")
    with refused(ConversionError, "can't be made: ", "/file is no folder"):
        convert(source, source.with_name("file") / "deeper" / "out")


@pytest.mark.parametrize("below", ["", "deeper/out"])
def test_a_dangling_link_in_place_of_the_folder_is_refused(source: Path, below: str) -> None:
    link = source.with_name("link")
    link.symlink_to(source.with_name("nothing") / "there")
    with refused(ConversionError, f"can't be made: {link} (a link to nowhere) is no folder"):
        convert(source, link / below)


@pytest.mark.parametrize("foreign", ["notes.txt", "folder/notes.txt", ".git/config"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_holds_something_else_is_refused(
    source: Path, foreign: str, overwrite: bool
) -> None:
    path = source.with_name("out") / foreign
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with refused(ConversionError, "won't be touched"):
        convert(source, source.with_name("out"), overwrite=overwrite)
    assert [file for file in source.with_name("out").rglob("*") if file.is_file()] == [path]


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("linked", [False, True])
def test_a_workspace_of_another_program_is_never_cleared(
    source: Path, finished: bool, overwrite: bool, linked: bool
) -> None:
    out, theirs = source.with_name("out"), source.with_name("theirs")
    theirs.mkdir()
    (theirs / "letter").write_text("mine")
    if finished:
        convert(source, out)
    else:
        out.mkdir()
    if linked:
        (out / WORKSPACE).symlink_to(theirs)
    else:
        theirs.rename(out / WORKSPACE)
    with refused(ConversionError, str(out), "won't be touched"):
        convert(source, out, overwrite=overwrite)
    assert os.listdir(out / WORKSPACE) == ["letter"]
    assert (out / "manifest.json").exists() == finished


def test_overwriting_eras_that_are_links_replaces_only_the_links(source: Path) -> None:
    out, elsewhere = source.with_name("out"), source.with_name("elsewhere")
    convert(source, out)
    os.rename(out / "era-0001", elsewhere)
    (out / "era-0001").symlink_to(elsewhere)
    before = {file.name: file.read_bytes() for file in elsewhere.iterdir()}
    write_toy(source, {"0001": 4, "0002": 3, "0003": 2})
    with refused(ConversionError, str(out), "'0001'", "a link"):
        convert(source, out)
    assert convert(source, out, overwrite=True).n_rows == 9
    assert list(verify(out)) == []
    assert {file.name: file.read_bytes() for file in elsewhere.iterdir()} == before


def test_the_folder_of_the_sources_is_refused(source: Path) -> None:
    with refused(ConversionError, "won't be touched"):
        convert(source, source.parent, overwrite=True)
    assert os.listdir(source.parent) == [source.name]


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_folder_without_write_permission_is_reported_as_such(
    source: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(path: Path, mode: int = 0o777) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "mkdir", refuse)
    with refused(
        ConversionError, str(source.with_name("out")), os.strerror(number), "another --out"
    ):
        convert(source, source.with_name("out"))
    assert os.listdir(source.parent) == [source.name]


@pytest.mark.parametrize("where", ["small", "deep/er", "era-0001", "era-0001/small", "link/small"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_in_another_dataset_is_refused(source: Path, where: str, overwrite: bool) -> None:
    """The dataset around it would hold other files, and not be updated any more."""
    other = convert(source, source.with_name("other")).dataset.path
    source.with_name("link").symlink_to(other)
    out = source.parent / where if "link" in where else other / where
    before = sorted(other.rglob("*"))
    with refused(ConversionError, str(out), f"inside the dataset {other}", "--out"):
        convert(source, out, overwrite=overwrite)
    assert sorted(other.rglob("*")) == before


@pytest.mark.parametrize("where", ["train.parquet", "era-0001/train.parquet"])
def test_a_dataset_that_holds_its_sources_is_refused(source: Path, where: str) -> None:
    out = convert(source, source.with_name("out")).dataset.path
    source.rename(out / where)
    content = (out / where).read_bytes()
    for overwrite in (False, True):
        with refused(ConversionError, str(out), "won't be touched"):
            convert(out / where, out, overwrite=overwrite, targets=[])
    assert (out / where).read_bytes() == content


def test_a_link_to_a_folder_is_accepted(source: Path) -> None:
    out, elsewhere = source.with_name("out"), source.with_name("elsewhere")
    elsewhere.mkdir()
    out.symlink_to(elsewhere)
    for options in ({}, {"overwrite": True}, {"overwrite": True, "dtype": "int8"}):
        assert convert(source, out, **options).n_rows == 7
    assert out.is_symlink()
    assert list(verify(elsewhere)) == []


def test_an_empty_folder_is_accepted(source: Path) -> None:
    source.with_name("out").mkdir()
    assert convert(source, source.with_name("out")).n_rows == 7


def test_too_small_a_disk_is_refused_before_anything_is_written(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = source.with_name("deep") / "out"
    features_json = source.with_name("features.json")
    names = pq.read_schema(source).names
    features = [name for name in names if name.startswith("feature")]
    sets = {"small": features[:1], "medium": features[:3], "all": features}
    features_json.write_text(json.dumps({"feature_sets": sets}))

    def advice(free: int) -> str:
        usage = shutil._ntuple_diskusage(10**9, 10**9 - free, free)
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "disk_usage", lambda path: usage)
            with pytest.raises(ConversionError, match=f"{out}: not enough disk: expected ") as said:
                convert(source, out, features_json=features_json)
        assert not out.parent.exists()
        return str(said.value).partition("choose another disk with --out")[2]

    def needed(**options: Any) -> int:
        sources = ParquetSource([source])
        chosen = ConvertOptions(features_json=features_json, **options)
        return sources.make_plan(sources.choose_columns(chosen), chosen).disk_bytes(10**9)

    # Nothing is offered that doesn't fit either.
    assert advice(1) == ""
    assert advice(needed(dtype="int8", feature_set="small")) == (
        ", or fewer features with --feature-set small --dtype int8"
    )
    assert advice(needed(dtype="int8")).startswith(", or take a quarter of the bytes")
    assert advice(needed() - 1).endswith(", or fewer features with --feature-set medium")
