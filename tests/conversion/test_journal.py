"""Tests of the journal: which eras a rerun keeps."""

import os
import shutil
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memmap_train.conversion.journal import FinishedEra, Journal
from memmap_train.conversion.workspace import Workspace
from memmap_train.dataset.format import FILE_NAME, WORKSPACE
from memmap_train.dataset.manifest import FileEntry, ShardEntry

JOB = {"job_version": 1, "dtype": "int8", "sources": [["train.parquet", 10]]}
ERAS = ("0001", "X", "a/b")


def write_era(journal: Journal, era: str) -> FinishedEra:
    """Write and publish an era whose files hold its label."""
    folder = journal.begin(era)
    files = {}
    for array in ("features", "targets"):
        content = f"{array} of {era}".ljust(128).encode()
        (folder / f"{array}.npy").write_bytes(content)
        files[array] = FileEntry(len(content), f"digest of {era}")
    entry = ShardEntry(era, 1, {"train": 1}, 0, {"target": 0}, files)
    return journal.publish(FinishedEra(entry, ("target",)))


def interrupted(out: Path, job: dict[str, Any] = JOB) -> dict[str, FinishedEra]:
    """Publish all eras and stop before the end."""
    with closing(Journal(Workspace(out), job)) as journal:
        return {era: write_era(journal, era) for era in ERAS}


def reopened(out: Path, job: dict[str, Any] = JOB) -> dict[str, FinishedEra]:
    """Return the eras that a rerun keeps."""
    with closing(Journal(Workspace(out), job)) as journal:
        return journal.finished


def staged(folder: Path) -> set[str]:
    return set(os.listdir(Workspace(folder).staged))


def folders_of(eras: Iterable[FinishedEra]) -> set[str]:
    return {era.entry.folder for era in eras}


def test_a_rerun_of_the_same_job_keeps_what_was_published(tmp_path: Path) -> None:
    eras = interrupted(tmp_path / "out")
    assert reopened(tmp_path / "out") == eras
    assert staged(tmp_path / "out") == folders_of(eras.values())


def test_what_was_kept_is_kept_again_by_the_rerun_after_that(tmp_path: Path) -> None:
    interrupted(tmp_path / "out")
    first = reopened(tmp_path / "out")
    assert reopened(tmp_path / "out") == first


def test_a_restarted_journal_forgets_all_eras_and_removes_their_files(tmp_path: Path) -> None:
    interrupted(tmp_path / "out")
    with closing(Journal(Workspace(tmp_path / "out"), JOB)) as journal:
        journal.begin("0002")
        journal.restart()
        assert journal.finished == {}
        assert staged(tmp_path / "out") == set()
        again = {era: write_era(journal, era) for era in (*ERAS, "0002")}
    assert reopened(tmp_path / "out") == again


def test_another_job_throws_everything_away(tmp_path: Path) -> None:
    interrupted(tmp_path / "out")
    assert reopened(tmp_path / "out", {**JOB, "dtype": "float32"}) == {}
    assert staged(tmp_path / "out") == set()
    assert reopened(tmp_path / "out") == {}


def test_a_journal_cut_anywhere_loses_only_the_eras_that_were_cut(tmp_path: Path) -> None:
    out = tmp_path / "out"
    interrupted(out)
    path = Workspace(out).journal
    whole = path.read_bytes()
    ends = [end for end in range(len(whole)) if whole[end : end + 1] == b"\n"]
    assert len(ends) == 1 + len(ERAS)
    for n_whole, end in enumerate(ends):
        for cut in (end - 1, end - 20):
            folder = tmp_path / f"{n_whole} lines and {cut} bytes"
            interrupted(folder)
            Workspace(folder).journal.write_bytes(whole[:cut])
            kept = reopened(folder)
            assert list(kept) == list(ERAS[: max(0, n_whole - 1)])
            assert staged(folder) == folders_of(kept.values())


@pytest.mark.parametrize(
    "damage",
    [b"\0\0\0\0\n", b"\xff\xfe\n", b"{}\n", b"[]\n", b"7\n", b'{"shard": {}}\n', b"{\n"],
    ids=["zeros", "not text", "empty", "list", "number", "no entry", "cut"],
)
def test_an_era_whose_line_is_damaged_is_made_again(tmp_path: Path, damage: bytes) -> None:
    interrupted(tmp_path / "out")
    path = Workspace(tmp_path / "out").journal
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], damage, *lines[3:]]))
    kept = reopened(tmp_path / "out")
    assert ERAS[0] in kept
    assert ERAS[1] not in kept
    assert staged(tmp_path / "out") == folders_of(kept.values())


def test_an_entry_is_as_it_was_written_or_is_made_again(tmp_path: Path) -> None:
    """Bytes flipped, cut out and put in anywhere: 250 journals, none of which is believed amiss."""
    out, spare = tmp_path / "out", tmp_path / "spare"
    written = interrupted(spare)
    whole = Workspace(spare).journal.read_bytes()
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
        Workspace(out).journal.write_bytes(damaged)
        kept = reopened(out)
        assert kept == {era: written[era] for era in kept}
        assert staged(out) == folders_of(kept.values())
        n_kept[len(kept)] += 1
    assert n_kept[0] > 30
    assert n_kept[1] + n_kept[2] > 30


@pytest.mark.parametrize("damage", [b"", b"\xff\n", b"\n", b"[" * 100_000 + b"\n"])
def test_a_damaged_first_line_throws_everything_away(tmp_path: Path, damage: bytes) -> None:
    interrupted(tmp_path / "out")
    path = Workspace(tmp_path / "out").journal
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([damage, *lines[1:]]))
    assert reopened(tmp_path / "out") == {}
    assert staged(tmp_path / "out") == set()


def test_an_era_whose_file_is_cut_or_gone_is_made_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    eras = interrupted(out)
    folder = Workspace(out).staged
    (folder / eras["0001"].entry.folder / "features.npy").write_bytes(b"short")
    (folder / eras["X"].entry.folder / "targets.npy").unlink()
    assert list(reopened(out)) == ["a/b"]
    assert staged(out) == {eras["a/b"].entry.folder}


def test_an_era_that_was_moved_but_not_noted_is_made_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    interrupted(out)
    path = Workspace(out).journal
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert list(reopened(out)) == list(ERAS[:-1])
    assert "era-a%2Fb" not in staged(out)


def test_half_written_eras_are_thrown_away(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "out")
    with closing(Journal(workspace, JOB)) as journal:
        (journal.begin("0001") / "features.npy").write_bytes(b"half")
    with closing(Journal(workspace, JOB)) as journal:
        assert list(journal.begin("0001").iterdir()) == []


def test_half_written_eras_of_a_killed_run_are_thrown_away(tmp_path: Path) -> None:
    interrupted(tmp_path / "out")
    workspace = Workspace(tmp_path / "out")
    half = workspace.partial / "era-0009"
    half.mkdir(parents=True)
    (half / "features.npy").write_bytes(b"half")
    with closing(Journal(workspace, JOB)) as journal:
        assert not half.exists()
        assert list(journal.begin("0009").iterdir()) == []


@pytest.fixture
def without_manifest(tmp_path: Path) -> Path:
    """Return a folder with the shards of a dataset that somebody has begun to delete."""
    out = tmp_path / "out"
    interrupted(out)
    for folder in Workspace(out).staged.iterdir():
        folder.rename(out / folder.name)
    return out


def test_shards_of_no_dataset_are_removed_and_hidden_files_stay(without_manifest: Path) -> None:
    (without_manifest / ".gitignore").write_text("*")
    assert reopened(without_manifest) == {}
    assert sorted(os.listdir(without_manifest)) == [WORKSPACE, ".gitignore"]


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
    assert os.listdir(without_manifest) == [WORKSPACE]
    assert sorted(os.listdir(elsewhere)) == ["features.npy", "targets.npy"]
