"""Tests of the journal: what a rerun may keep, and whose folder it is."""

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memmap_train.conversion.journal import STAGED, FolderLock, Journal, is_ours
from memmap_train.dataset.format import FILE_NAME, WORKPLACE
from memmap_train.dataset.manifest import FileEntry, ShardEntry
from memmap_train.errors import ConversionError

JOB = {"job_version": 1, "dtype": "int8", "sources": [["train.parquet", 10]]}
ERAS = ("0001", "X", "a/b")


def write_era(journal: Journal, era: str) -> ShardEntry:
    """Write and publish an era whose files hold its label."""
    folder = journal.begin(era)
    files = {}
    for array in ("features", "targets"):
        content = f"{array} of {era}".ljust(128).encode()
        (folder / f"{array}.npy").write_bytes(content)
        files[array] = FileEntry(len(content), f"digest of {era}")
    entry = ShardEntry(era, 1, {"train": 1}, 0, {"target": 0}, files)
    journal.publish(entry, ["target"])
    return entry


def interrupted(out: Path, job: dict[str, Any] = JOB) -> dict[str, ShardEntry]:
    """Publish all eras and stop before the end."""
    journal = Journal(out, job)
    entries = {era: write_era(journal, era) for era in ERAS}
    journal.close()
    return entries


def reopened(out: Path, job: dict[str, Any] = JOB) -> dict[str, tuple[ShardEntry, list[str]]]:
    """Return what a rerun may keep."""
    journal = Journal(out, job)
    journal.close()
    return journal.finished


def staged(folder: Path) -> set[str]:
    return set(os.listdir(folder / WORKPLACE / STAGED))


def test_a_rerun_of_the_same_job_keeps_what_was_published(tmp_path: Path) -> None:
    entries = interrupted(tmp_path / "out")
    assert reopened(tmp_path / "out") == {
        era: (entry, ["target"]) for era, entry in entries.items()
    }
    assert staged(tmp_path / "out") == {entry.folder for entry in entries.values()}


def test_what_was_kept_is_kept_again_by_the_rerun_after_that(tmp_path: Path) -> None:
    interrupted(tmp_path / "out")
    first = reopened(tmp_path / "out")
    assert reopened(tmp_path / "out") == first


def test_another_job_throws_everything_away(tmp_path: Path) -> None:
    interrupted(tmp_path / "out")
    assert reopened(tmp_path / "out", {**JOB, "dtype": "float32"}) == {}
    assert staged(tmp_path / "out") == set()
    assert reopened(tmp_path / "out") == {}


def test_a_journal_cut_anywhere_loses_only_the_eras_that_were_cut(tmp_path: Path) -> None:
    out = tmp_path / "out"
    interrupted(out)
    path = out / WORKPLACE / "journal.jsonl"
    whole = path.read_bytes()
    ends = [end for end in range(len(whole)) if whole[end : end + 1] == b"\n"]
    assert len(ends) == 1 + len(ERAS)
    for n_whole, end in enumerate(ends):
        for cut in (end - 1, end - 20):
            folder = tmp_path / f"{n_whole} lines and {cut} bytes"
            interrupted(folder)
            (folder / WORKPLACE / "journal.jsonl").write_bytes(whole[:cut])
            kept = reopened(folder)
            assert list(kept) == list(ERAS[: max(0, n_whole - 1)])
            assert staged(folder) == {entry.folder for entry, _ in kept.values()}


@pytest.mark.parametrize(
    "damage",
    [b"\0\0\0\0\n", b"\xff\xfe\n", b"{}\n", b"[]\n", b"7\n", b'{"shard": {}}\n', b"{\n"],
    ids=["zeros", "not text", "empty", "list", "number", "no entry", "cut"],
)
def test_an_era_whose_line_is_damaged_is_made_again(tmp_path: Path, damage: bytes) -> None:
    interrupted(tmp_path / "out")
    path = tmp_path / "out" / WORKPLACE / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], damage, *lines[3:]]))
    kept = reopened(tmp_path / "out")
    assert ERAS[0] in kept
    assert ERAS[1] not in kept
    assert staged(tmp_path / "out") == {entry.folder for entry, _ in kept.values()}


def test_an_entry_is_as_it_was_written_or_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes flipped, cut out and put in anywhere: 250 journals, none of which is believed amiss."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    out, spare = tmp_path / "out", tmp_path / "spare"
    written = interrupted(spare)
    whole = (spare / WORKPLACE / "journal.jsonl").read_bytes()
    random = np.random.default_rng([4, 1])
    n_kept = Counter[int]()
    for _ in range(250):
        damaged = bytearray(whole)
        for _ in range(random.integers(1, 3)):
            place = int(random.integers(len(damaged)))
            match random.integers(3):
                case 0:
                    damaged[place] ^= 1 << int(random.integers(8))
                case 1:
                    del damaged[place : place + int(random.integers(1, 9))]
                case 2:
                    damaged[place:place] = random.choice([b"[", b"{", b"\n", b"0", b"9" * 20])
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(spare, out)
        (out / WORKPLACE / "journal.jsonl").write_bytes(damaged)
        kept = reopened(out)
        assert kept == {era: (written[era], ["target"]) for era in kept}
        assert staged(out) == {written[era].folder for era in kept}
        n_kept[len(kept)] += 1
    assert n_kept[0] > 30
    assert n_kept[1] + n_kept[2] > 30


@pytest.mark.parametrize("damage", [b"", b"\xff\n", b"\n", b"[" * 100_000 + b"\n"])
def test_a_damaged_first_line_throws_everything_away(tmp_path: Path, damage: bytes) -> None:
    interrupted(tmp_path / "out")
    path = tmp_path / "out" / WORKPLACE / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([damage, *lines[1:]]))
    assert reopened(tmp_path / "out") == {}
    assert staged(tmp_path / "out") == set()


def test_an_era_whose_file_is_cut_or_gone_is_made_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    entries = interrupted(out)
    (out / WORKPLACE / STAGED / entries["0001"].folder / "features.npy").write_bytes(b"short")
    (out / WORKPLACE / STAGED / entries["X"].folder / "targets.npy").unlink()
    assert list(reopened(out)) == ["a/b"]
    assert staged(out) == {entries["a/b"].folder}


def test_an_era_that_was_moved_but_not_noted_is_made_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    interrupted(out)
    path = out / WORKPLACE / "journal.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert list(reopened(out)) == list(ERAS[:-1])
    assert "era-a%2Fb" not in staged(out)


def test_half_written_eras_are_thrown_away(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out", JOB)
    (journal.begin("0001") / "features.npy").write_bytes(b"half")
    journal.close()
    journal = Journal(tmp_path / "out", JOB)
    assert list(journal.begin("0001").iterdir()) == []
    journal.close()


def test_half_written_eras_of_a_killed_run_are_thrown_away(tmp_path: Path) -> None:
    interrupted(tmp_path / "out")
    half = tmp_path / "out" / WORKPLACE / "partial" / "era-0009"
    half.mkdir(parents=True)
    (half / "features.npy").write_bytes(b"half")
    journal = Journal(tmp_path / "out", JOB)
    assert not half.exists()
    assert list(journal.begin("0009").iterdir()) == []
    journal.close()


def test_a_new_folder_is_as_durable_as_what_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable: list[Path] = []
    monkeypatch.setattr("memmap_train.conversion.journal.sync_directory", durable.append)
    (tmp_path / "a").mkdir()
    FolderLock(tmp_path / "a" / "b" / "c" / "out").release(done=True)
    assert sorted(durable) == [tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"]
    durable.clear()
    FolderLock(tmp_path / "a" / "b" / "c" / "out").release(done=True)
    assert durable == []


def test_a_finished_conversion_leaves_no_workplace(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "out")
    journal = Journal(tmp_path / "out", JOB)
    write_era(journal, "0001")
    journal.close()
    lock.release(done=True)
    assert os.listdir(tmp_path / "out") == []


def test_a_second_lock_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "out")
    with pytest.raises(ConversionError, match="another process is converting"):
        FolderLock(tmp_path / "out")
    lock.release(done=False)
    FolderLock(tmp_path / "out").release(done=True)
    assert os.listdir(tmp_path / "out") == []


def manifest_of(directory: Path, text: str = '{"format": "memmap-train"}') -> None:
    directory.mkdir()
    (directory / FILE_NAME).write_text(text)


def test_a_dataset_is_ours_whole_or_unfinished(tmp_path: Path) -> None:
    FolderLock(tmp_path / "unfinished").release(done=False)
    interrupted(tmp_path / "unfinished")
    assert is_ours(tmp_path / "unfinished")
    (tmp_path / "just begun" / WORKPLACE).mkdir(parents=True)
    assert is_ours(tmp_path / "just begun")
    manifest_of(tmp_path / "whole")
    (tmp_path / "whole" / "era-0001").mkdir()
    assert is_ours(tmp_path / "whole")


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": "other"}', "\x00"])
def test_a_folder_with_somebody_elses_manifest_is_not_ours(
    tmp_path: Path, text: str, begun: bool
) -> None:
    manifest_of(tmp_path / "theirs", text)
    if begun:
        FolderLock(tmp_path / "theirs").release(done=False)
    assert not is_ours(tmp_path / "theirs")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_a_folder_whose_manifest_is_no_file_is_not_ours(tmp_path: Path, make: Any) -> None:
    make(tmp_path / FILE_NAME)
    assert not is_ours(tmp_path)


@pytest.mark.parametrize(
    "foreign",
    ["notes.txt", "train.parquet", "era-notes.txt", "era-0001/notes.txt", "era-0001/deep/x"],
)
def test_a_dataset_with_a_foreign_file_is_not_ours_to_delete(tmp_path: Path, foreign: str) -> None:
    manifest_of(tmp_path / "out")
    (tmp_path / "out" / "era-0001").mkdir()
    path = tmp_path / "out" / foreign
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    assert not is_ours(tmp_path / "out")


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("what", ["folder", "link", "broken link", "file"])
def test_a_workplace_that_no_conversion_made_makes_a_folder_somebody_elses(
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
    workplace = out / WORKPLACE
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
    assert not is_ours(out)


@pytest.fixture
def without_manifest(tmp_path: Path) -> Path:
    """Return a folder with the shards of a dataset that somebody has begun to delete."""
    out = tmp_path / "out"
    interrupted(out)
    for folder in (out / WORKPLACE / STAGED).iterdir():
        folder.rename(out / folder.name)
    return out


def test_shards_of_no_dataset_are_removed_and_hidden_files_stay(without_manifest: Path) -> None:
    (without_manifest / ".gitignore").write_text("*")
    assert reopened(without_manifest) == {}
    assert sorted(os.listdir(without_manifest)) == [WORKPLACE, ".gitignore"]


def test_shards_of_a_dataset_stay(without_manifest: Path) -> None:
    (without_manifest / FILE_NAME).write_text("{}")
    before = sorted(os.listdir(without_manifest))
    assert reopened(without_manifest) == {}
    assert sorted(os.listdir(without_manifest)) == before


def test_of_an_era_that_is_a_link_the_link_is_removed(without_manifest: Path) -> None:
    elsewhere = without_manifest.with_name("elsewhere")
    (without_manifest / "era-0001").rename(elsewhere)
    (without_manifest / "era-0001").symlink_to(elsewhere)
    reopened(without_manifest)
    assert os.listdir(without_manifest) == [WORKPLACE]
    assert sorted(os.listdir(elsewhere)) == ["features.npy", "targets.npy"]
