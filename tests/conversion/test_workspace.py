"""Tests of the workspace: its lock, what is left of it, and which folders are datasets."""

import os
from pathlib import Path
from typing import Any

import pytest

from memmap_train.conversion.journal import Journal
from memmap_train.conversion.workspace import Workspace, acquire_workspace, is_dataset_dir
from memmap_train.dataset.format import FILE_NAME, WORKSPACE
from memmap_train.errors import ConversionError
from tests.support.errors import refused


def test_a_new_folder_is_synced_like_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable: list[Path] = []
    monkeypatch.setattr("memmap_train.conversion.workspace.sync_directory", durable.append)
    (tmp_path / "a").mkdir()
    out = tmp_path / "a" / "b" / "c" / "out"
    with acquire_workspace(out):
        pass
    assert sorted(durable) == [tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"]
    durable.clear()
    with acquire_workspace(out):
        pass
    assert durable == []


def begin(out: Path) -> None:
    """Begin a conversion and stop."""
    with acquire_workspace(out) as workspace:
        Journal(workspace, {}).close()


def test_a_cleared_workspace_is_removed(tmp_path: Path) -> None:
    with acquire_workspace(tmp_path / "out") as workspace:
        Journal(workspace, {}).close()
        assert sorted(os.listdir(workspace.path)) == ["journal.jsonl", "lock", "staged"]
        workspace.clear()
        assert os.listdir(workspace.path) == ["lock"]
    assert os.listdir(tmp_path / "out") == []


def test_a_workspace_that_a_rerun_resumes_stays_without_its_lock(tmp_path: Path) -> None:
    begin(tmp_path / "out")
    assert sorted(os.listdir(Workspace(tmp_path / "out").path)) == ["journal.jsonl", "staged"]


def test_an_empty_workspace_is_removed_however_the_conversion_ends(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), acquire_workspace(tmp_path / "out"):
        raise KeyboardInterrupt
    assert os.listdir(tmp_path / "out") == []


def test_a_second_lock_is_refused_until_the_first_is_released(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with (
        acquire_workspace(out),
        refused(ConversionError, str(out), "another process is converting"),
        acquire_workspace(out),
    ):
        pass
    with acquire_workspace(out):
        pass
    assert os.listdir(out) == []


def manifest_of(directory: Path, text: str = '{"format": "memmap-train"}') -> None:
    directory.mkdir()
    (directory / FILE_NAME).write_text(text)


def test_a_dataset_is_recognized_whether_complete_or_unfinished(tmp_path: Path) -> None:
    begin(tmp_path / "unfinished")
    assert is_dataset_dir(tmp_path / "unfinished")
    (tmp_path / "just begun" / WORKSPACE).mkdir(parents=True)
    assert is_dataset_dir(tmp_path / "just begun")
    manifest_of(tmp_path / "whole")
    (tmp_path / "whole" / "era-0001").mkdir()
    assert is_dataset_dir(tmp_path / "whole")


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": "other"}', "\x00"])
def test_a_folder_with_the_manifest_of_another_program_is_not_a_dataset(
    tmp_path: Path, text: str, begun: bool
) -> None:
    manifest_of(tmp_path / "theirs", text)
    if begun:
        begin(tmp_path / "theirs")
    assert not is_dataset_dir(tmp_path / "theirs")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_a_folder_whose_manifest_is_not_a_file_is_not_a_dataset(tmp_path: Path, make: Any) -> None:
    make(tmp_path / FILE_NAME)
    assert not is_dataset_dir(tmp_path)


@pytest.mark.parametrize(
    "foreign",
    ["notes.txt", "train.parquet", "era-notes.txt", "era-0001/notes.txt", "era-0001/deep/x"],
)
def test_a_dataset_with_an_unexpected_file_may_not_be_deleted(tmp_path: Path, foreign: str) -> None:
    manifest_of(tmp_path / "out")
    (tmp_path / "out" / "era-0001").mkdir()
    path = tmp_path / "out" / foreign
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    assert not is_dataset_dir(tmp_path / "out")


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("what", ["folder", "link", "broken link", "file"])
def test_a_folder_with_an_unknown_workspace_may_not_be_deleted(
    tmp_path: Path, what: str, finished: bool
) -> None:
    out, theirs = tmp_path / "out", tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "lock").touch()
    (theirs / "letter").write_text("mine")
    if finished:
        manifest_of(out)
    else:
        out.mkdir()
    workplace = out / WORKSPACE
    match what:
        case "folder":
            workplace.mkdir()
            (workplace / "letter").write_text("mine")
        case "link":
            workplace.symlink_to(theirs)
        case "broken link":
            workplace.symlink_to(tmp_path / "nowhere")
        case "file":
            workplace.write_text("mine")
    assert not is_dataset_dir(out)
