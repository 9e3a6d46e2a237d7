"""Tests of conversions over a dataset that is there: it stays until its replacement is complete."""

import itertools
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memmap_train.conversion.conversion import convert
from memmap_train.dataset.format import WORKSPACE
from memmap_train.dataset.opening import open_dataset
from memmap_train.dataset.verify import verify
from memmap_train.errors import ConversionError, MemmapTrainError, SourceError
from tests.support.errors import refused
from tests.support.files import files_limited_to
from tests.support.interruptions import (
    ERAS,
    StoppedError,
    check_whole,
    marks,
    stopped_after,
    visible,
    write_source,
)
from tests.support.permissions import permissions_count
from tests.support.toy import toy_table, write_toy
from tests.support.toy_datasets import PLAIN_ARRAYS


@pytest.fixture
def older(source: Path) -> str:
    """Make the dataset that is to be replaced; return its digest."""
    return convert(source, source.with_name("out"), dtype="int8").dataset.manifest.digest


@pytest.mark.parametrize("n_eras", [0, 1, 3])
def test_a_dataset_stays_until_the_one_that_replaces_it_is_complete(
    monkeypatch: pytest.MonkeyPatch, source: Path, undisturbed: str, older: str, n_eras: int
) -> None:
    out = source.with_name("out")
    before = marks(out)
    stopped_after(monkeypatch, n_eras, lambda: convert(source, out, overwrite=True))
    check_whole(out, older)
    assert marks(out, waiting=False) == before
    waiting = {name: mark for name, mark in marks(out).items() if before.get(name) != mark}
    assert len(waiting) == len(PLAIN_ARRAYS) * n_eras
    report = convert(source, out, overwrite=True)
    assert (report.status, report.n_eras_kept) == ("converted", n_eras)
    assert waiting.items() <= marks(out).items()
    check_whole(out, undisturbed)
    assert not (out / WORKSPACE).exists()


def test_a_wrong_value_in_the_last_era_leaves_the_dataset_that_was_to_be_replaced(
    source: Path, older: str
) -> None:
    out, table = source.with_name("out"), toy_table(ERAS)
    column = table.column_names.index("feature_y1")
    codes = [*table["feature_y1"].to_pylist()[:-1], 7]
    wrong = pa.array(codes, pa.int8())
    pq.write_table(table.set_column(column, "feature_y1", wrong), source, row_group_size=10)
    for _ in range(2):
        with refused(SourceError, "toy.parquet", "'feature_y1'", "found 7"):
            convert(source, out, overwrite=True)
        check_whole(out, older)
    write_source(source.parent)
    assert convert(source, out, dtype="int8").status == "up to date"
    check_whole(out, older)
    assert not (out / WORKSPACE).exists()


def test_a_full_disk_keeps_the_dataset_that_was_to_be_replaced(tmp_path: Path) -> None:
    path, out = tmp_path / "toy.parquet", tmp_path / "out"
    write_toy(path, {"0001": 20, "0002": 3000}, n_features=40, row_group_rows=2000)
    new = convert(path, out).dataset.manifest.digest
    old = convert(path, out, targets="target", overwrite=True).dataset.manifest.digest
    with files_limited_to(50_000), refused(ConversionError, str(out), "File too large"):
        convert(path, out, overwrite=True)
    assert open_dataset(out).manifest.digest == old
    assert list(verify(out)) == []
    assert convert(path, out, overwrite=True).dataset.manifest.digest == new


@pytest.mark.parametrize(
    "later", [{"0001": 9, "0002": 8, "0003": 7}, {"0002": 8, "0003": 7}], ids=str
)
def test_a_dataset_with_a_write_protected_era_stays(tmp_path: Path, later: dict[str, int]) -> None:
    path, out = tmp_path / "toy.parquet", tmp_path / "out"
    write_toy(path, {"0001": 9, "0002": 8})
    digest = convert(path, out).dataset.manifest.digest
    write_toy(path, later)
    (out / "era-0001").chmod(0o555)
    with permissions_count():
        for _ in range(2):
            with refused(ConversionError, str(out), "write-protected: 'era-0001';", "stays"):
                convert(path, out, overwrite=True)
            assert open_dataset(out).manifest.digest == digest
            assert list(verify(out)) == []
        (out / "era-0001").chmod(0o755)
        assert convert(path, out, overwrite=True).n_eras_kept == len(later)
    assert visible(out) == {"manifest.json", *(f"era-{era}" for era in later)}


def test_an_update_does_not_write_to_the_folders_of_unchanged_eras(tmp_path: Path) -> None:
    path, out = tmp_path / "toy.parquet", tmp_path / "out"
    write_toy(path, {"0001": 9, "0002": 8})
    convert(path, out)
    write_toy(path, {"0001": 9, "0002": 8, "0003": 7})
    (out / "era-0001").chmod(0o555)
    with permissions_count():
        assert convert(path, out).n_eras_new == 1
    assert list(verify(out)) == []


def test_an_open_dataset_shows_no_row_of_its_replacement(
    source: Path, undisturbed: str, older: str
) -> None:
    out = source.with_name("out")
    dataset, unread = open_dataset(out), open_dataset(out)
    maps = {(era, name): getattr(dataset[era], name) for era in ERAS for name in PLAIN_ARRAYS}
    before = {key: np.array(array) for key, array in maps.items()}
    convert(source, out, overwrite=True)
    check_whole(out, undisturbed)
    for key, array in maps.items():
        np.testing.assert_array_equal(array, before[key])
    not_opened = set()
    for era, name in maps:
        try:
            array = getattr(unread[era], name)
        except MemmapTrainError:
            not_opened.add((era, name))
        else:  # the same bytes in both
            np.testing.assert_array_equal(array, before[era, name])
    assert not_opened >= {(era, "features") for era in ERAS}


def test_eras_and_arrays_that_the_new_dataset_does_not_have_are_removed(tmp_path: Path) -> None:
    path, out = tmp_path / "toy.parquet", tmp_path / "out"
    write_toy(path, {"0001": 9, "0002": 8, "0003": 7})
    convert(path, out)
    write_toy(path, {"0002": 8, "0005": 4}, ids=False)
    convert(path, out, overwrite=True)
    assert visible(out) == {"manifest.json", "era-0002", "era-0005"}
    assert "ids.npy" not in os.listdir(out / "era-0002")
    assert list(verify(out)) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_copy_of_an_era_that_the_user_made_stays(tmp_path: Path, overwrite: bool) -> None:
    path, out = tmp_path / "toy.parquet", tmp_path / "out"
    write_toy(path, {"0001": 9, "0002": 8})
    convert(path, out)
    shutil.copytree(out / "era-0001", out / "era-0001-mine")
    write_toy(path, {"0001": 9, "0002": 8, "0003": 7})
    convert(path, out, overwrite=overwrite)
    assert visible(out) == {"manifest.json", *(f"era-{n}" for n in ("0001", "0002", "0003"))} | {
        "era-0001-mine"
    }
    assert len(os.listdir(out / "era-0001-mine")) == len(PLAIN_ARRAYS)


def test_a_dataset_with_a_damaged_manifest_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path, out = tmp_path / "toy.parquet", tmp_path / "out"
    write_toy(path, {"0001": 9, "0002": 8})
    convert(path, out)
    (out / "manifest.json").write_text('{"format": "memmap-train"}')
    write_toy(path, {"0002": 8, "0003": 7})
    convert(path, out, overwrite=True)
    assert visible(out) == {"manifest.json", "era-0002", "era-0003"}
    assert list(verify(out)) == []


def test_without_space_for_both_the_old_dataset_may_be_deleted_by_hand(
    monkeypatch: pytest.MonkeyPatch, source: Path, undisturbed: str, older: str
) -> None:
    out = source.with_name("out")
    stopped_after(monkeypatch, 2, lambda: convert(source, out, overwrite=True))

    def refusal(free: int) -> str:
        usage = shutil._ntuple_diskusage(10**9, 10**9 - free, free)
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "disk_usage", lambda path: usage)
            with pytest.raises(ConversionError, match="not enough disk") as caught:
                convert(source, out, overwrite=True)
        return str(caught.value)

    line = refusal(0)
    assert "delete" not in line  # it wouldn't do
    n_lacking = int(line.partition(" bytes too little")[0].rpartition("(")[2].replace(",", ""))
    command = refusal(n_lacking - 100).partition("(rm ")[2].removesuffix(")")
    check_whole(out, older)
    subprocess.run(f"rm {command}", shell=True, check=True)
    assert visible(out) == set()
    assert convert(source, out, overwrite=True).n_eras_kept == 2
    check_whole(out, undisturbed)


def stopped_in_mid_commit(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
    """Convert until files of more than one era have been renamed into place."""
    replace, n_renamed = os.replace, itertools.count()

    def stop(*arguments: Any) -> None:
        if next(n_renamed) == 12:
            raise StoppedError
        replace(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stop)
        with pytest.raises(StoppedError):
            act()


@pytest.mark.parametrize("options", [{}, {"dtype": "int8"}], ids=str)
def test_an_overwrite_that_was_stopped_while_committing_is_finished_by_a_rerun(
    monkeypatch: pytest.MonkeyPatch,
    source: Path,
    undisturbed: str,
    older: str,
    options: dict[str, Any],
) -> None:
    out = source.with_name("out")
    stopped_in_mid_commit(monkeypatch, lambda: convert(source, out, overwrite=True))
    assert not (out / "manifest.json").exists()
    before = marks(out)
    report = convert(source, out, overwrite=True, **options)
    assert report.status == ("converted" if options else "up to date")
    check_whole(out, older if options else undisturbed)
    assert (marks(out) == before) == (not options)


def test_a_commit_whose_files_are_gone_is_not_finished(
    monkeypatch: pytest.MonkeyPatch, source: Path, undisturbed: str, older: str
) -> None:
    """`rm -r out/*` in mid-commit leaves the workplace, whose name begins with a dot."""
    out = source.with_name("out")
    stopped_in_mid_commit(monkeypatch, lambda: convert(source, out, overwrite=True))
    assert not (out / "manifest.json").exists()
    for name in visible(out):
        shutil.rmtree(out / name)
    report = convert(source, out)
    assert 0 < report.n_eras_kept < len(ERAS)
    check_whole(out, undisturbed)
