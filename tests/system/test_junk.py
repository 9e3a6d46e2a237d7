"""Tests of files that systems create by themselves: they are ignored, and the user's files stay."""

import os
from pathlib import Path

import numpy as np
import pytest

import memmap_train as mt
from memmap_train.conversion.journal import FinishedEra, Journal
from memmap_train.dataset.format import WORKSPACE
from memmap_train.errors import ConversionError, RunError
from memmap_train.runs.run_folder import begin_run, find_run
from memmap_train.runs.table import describe_runs
from memmap_train.system import junk
from memmap_train.system.junk import names_in
from tests.support.errors import refused
from tests.support.run_records import run_record
from tests.support.toy import write_toy

NOTES = [".DS_Store", "._features.npy", ".nfs00000001", "Thumbs.db", "desktop.ini", "Icon\r"]
NOTE_FOLDERS = [".ipynb_checkpoints", "@eaDir"]
KEEPERS = ["lost+found", "$RECYCLE.BIN", "System Volume Information", ".Trash-1000"]


def drop_into(folder: Path) -> None:
    """Create the files in a folder that systems create by themselves."""
    for name in NOTES:
        (folder / name).write_bytes(b"\0")
    for name in NOTE_FOLDERS:
        (folder / name).mkdir()
        (folder / name / "features-checkpoint.npy").write_bytes(b"\0")


def write(source: Path, n_eras: int = 3, seed: int = 0) -> None:
    write_toy(source, {f"{era:04}": 6 for era in range(1, n_eras + 1)}, seed=seed)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write(tmp_path / "toy.parquet")
    return tmp_path / "toy.parquet"


@pytest.fixture
def out(source: Path) -> Path:
    """Return a dataset with files of systems at every depth."""
    out = source.with_name("out")
    mt.convert(source, out)
    for folder in (out, *sorted(out.glob("era-*"))):
        drop_into(folder)
    for name in KEEPERS:
        (out / name).mkdir()
    return out


def shards(out: Path) -> dict[str, bytes]:
    return {
        era: np.asarray(shard.features).tobytes() for era, shard in mt.open_dataset(out).items()
    }


def test_verifying_ignores_files_that_systems_create(out: Path) -> None:
    assert mt.verify(out) == []
    (out / "era-0001" / "features (1).npy").write_bytes(b"")
    assert [problem.path for problem in mt.verify(out)] == ["era-0001/features (1).npy"]


def test_a_dataset_with_system_files_can_be_updated(source: Path, out: Path) -> None:
    write(source, n_eras=5)
    report = mt.convert(source, out)
    assert (report.status, report.n_eras_new) == ("updated", 2)
    assert mt.verify(out) == []


def test_a_dataset_with_system_files_can_be_subset(out: Path) -> None:
    subset = mt.convert(out, out.with_name("subset"), targets="target")
    assert subset.dataset.target_names == ("target",)


def test_overwriting_removes_system_files_with_the_eras(source: Path, out: Path) -> None:
    write(source, n_eras=2, seed=1)
    mt.convert(source, out, overwrite=True)
    assert shards(out) == shards(mt.convert(source, out.with_name("fresh")).dataset.path)
    assert not (out / "era-0003").exists()
    assert names_in(out / "era-0001") == set(os.listdir(out.with_name("fresh") / "era-0001"))
    assert mt.verify(out) == []
    assert (out / "Thumbs.db").exists()  # only what has to go goes


@pytest.mark.parametrize("name", [".gitignore", ".notes/mine.txt", ".Trash-1000/mine.npy"])
def test_overwriting_keeps_the_users_hidden_files(source: Path, out: Path, name: str) -> None:
    for era in ("0001", "0003"):
        path = out / f"era-{era}" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    write(source, n_eras=2, seed=1)
    mt.convert(source, out, overwrite=True)
    assert shards(out) == shards(mt.convert(source, out.with_name("fresh")).dataset.path)
    assert (out / "era-0001" / name).read_text() == "mine"
    assert (out / "era-0003" / name).read_text() == "mine"
    assert os.listdir(out / "era-0003") == [name.split("/")[0]]


def test_a_file_held_open_by_another_machine_stays_and_nothing_fails(
    source: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS renames it to `.nfs…` when it is removed, and refuses to remove the new name."""
    unlink = Path.unlink

    def unlink_unless_open(path: Path, **options: bool) -> None:
        if path.name.startswith(".nfs"):
            raise OSError(16, "Device or resource busy", str(path))
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", unlink_unless_open)
    write(source, n_eras=2, seed=1)
    mt.convert(source, out, overwrite=True)
    assert os.listdir(out / "era-0003") == [".nfs00000001"]
    assert ".nfs00000001" in os.listdir(out / "era-0001")
    assert shards(out) == shards(mt.convert(source, out.with_name("fresh")).dataset.path)


@pytest.mark.parametrize("when", ["before", "while an era is published"])
def test_an_interrupted_conversion_is_resumed_despite_system_files(
    source: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    out, publish = source.with_name("out"), Journal.publish

    def drop_and_publish(self: Journal, era: FinishedEra) -> FinishedEra:
        drop_into(self.scratch / "partial" / era.entry.folder)
        return publish(self, era)

    def stop(what: str, done: int, total: int) -> None:
        if what == "converting" and done > 8:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if when != "before":
            patch.setattr(Journal, "publish", drop_and_publish)
        with pytest.raises(KeyboardInterrupt):
            mt.convert(source, out, workers=1, progress=stop)
        for folder in (out, out / WORKSPACE, *(out / WORKSPACE / "staged").iterdir()):
            if not (folder / "Thumbs.db").exists():
                drop_into(folder)
        mt.convert(source, out, workers=1)
    assert mt.verify(out) == []
    assert shards(out) == shards(mt.convert(source, out.with_name("fresh")).dataset.path)


def test_an_interrupted_update_is_resumed_despite_system_files(
    source: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(source, n_eras=5)

    def stop(workspace: object, manifest: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("memmap_train.conversion.commit.commit", stop)
        with pytest.raises(KeyboardInterrupt):
            mt.convert(source, out)
    staged = out / WORKSPACE / "staged"
    for folder in (staged, *staged.glob("era-*")):
        drop_into(folder)
    assert mt.convert(source, out).status == "updated"
    assert mt.verify(out) == []
    assert shards(out) == shards(mt.convert(source, out.with_name("fresh")).dataset.path)
    assert not (out / WORKSPACE).exists()


@pytest.mark.parametrize("name", [*NOTES, *KEEPERS, ".gitkeep"])
def test_a_folder_with_only_system_files_can_become_a_dataset_or_a_run(
    source: Path, name: str
) -> None:
    out = source.with_name("out")
    out.mkdir()
    (out / name).mkdir() if name in KEEPERS else (out / name).write_bytes(b"\0")
    assert find_run(out, resume=False) is None
    mt.convert(source, out)
    assert mt.verify(out) == []


@pytest.mark.parametrize("name", ["notes.txt", "features.npy", "Thumbs.db.txt", "era-0001.bak"])
def test_files_that_no_system_creates_are_kept(source: Path, name: str) -> None:
    out = source.with_name("out")
    out.mkdir()
    (out / name).write_text("mine")
    with refused(ConversionError, str(out), "won't be touched"):
        mt.convert(source, out)
    with refused(RunError, str(out), name):
        find_run(out, resume=False)
    assert os.listdir(out) == [name]


def test_copies_of_runs_in_system_folders_are_not_listed(tmp_path: Path) -> None:
    for name in ("first", "@eaDir", ".Trash-1000"):
        begin_run(tmp_path / name, run_record())
    assert [row["run"] for row in describe_runs([tmp_path])] == [str(tmp_path / "first")]


def test_a_folder_that_cannot_be_removed_for_another_reason_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "rmdir", refuse)
    (tmp_path / "era-0001").mkdir()
    with pytest.raises(PermissionError):
        junk.discard_folder(tmp_path / "era-0001", frozenset())
