"""Tests of narrowings that are stopped, killed, repeated, or that meet another one at work."""

import json
from pathlib import Path

import pytest

import memmap_train as mt
from memmap_train.conversion.conversion import convert
from memmap_train.dataset.format import WORKSPACE
from memmap_train.errors import ConversionError
from tests.support.conversion_kills import N_KILLS
from tests.support.errors import refused
from tests.support.interruptions import (
    check_ctrl_c_leaves_only_finished_eras,
    check_whole,
    held_up,
    marks,
    stopped_after,
    write_source,
)
from tests.support.killing import Killer
from tests.support.subset_kills import kill_subset_conversions, kill_subset_updates
from tests.support.toy_datasets import PLAIN_ARRAYS


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    return convert(write_source(tmp_path), tmp_path / "parent").dataset.path


@pytest.fixture
def undisturbed(parent: Path) -> str:
    """Return the digest that every narrowing to all that there is must come to."""
    return mt.open_dataset(parent).manifest.digest


@pytest.mark.parametrize("n_eras", [0, 1, 3])
def test_a_rerun_keeps_the_eras_that_were_finished(
    monkeypatch: pytest.MonkeyPatch, parent: Path, undisturbed: str, n_eras: int
) -> None:
    out = parent.with_name("out")
    stopped_after(monkeypatch, n_eras, lambda: convert(parent, out))
    before = marks(out)
    assert len(before) == len(PLAIN_ARRAYS) * n_eras
    assert not (out / WORKSPACE / "partial").exists()
    report = convert(parent, out, workers=3)
    assert (report.status, report.n_eras_kept) == ("converted", n_eras)
    assert before.items() <= marks(out).items()
    check_whole(out, undisturbed)


def test_another_source_dataset_or_its_parquet_files_start_from_the_beginning(
    monkeypatch: pytest.MonkeyPatch, parent: Path, undisturbed: str
) -> None:
    """The parent's digest counts, not only the sources that it says it comes from."""
    out = parent.with_name("out")
    stopped_after(monkeypatch, 3, lambda: convert(parent, out))
    whole = json.loads((parent / "manifest.json").read_text())
    other = json.loads((parent / "manifest.json").read_text())
    other["shards"][-1]["files"]["features"]["digest"] = "xxh3_128:0"
    (parent / "manifest.json").write_text(json.dumps(other))
    stopped_after(monkeypatch, 1, lambda: convert(parent, out))
    assert len(marks(out)) == len(PLAIN_ARRAYS)
    (parent / "manifest.json").write_text(json.dumps(whole))
    stopped_after(monkeypatch, 2, lambda: convert(parent, out))
    report = convert(parent.with_name("toy.parquet"), out)
    assert report.n_eras_kept == 0
    check_whole(out, undisturbed)


def test_ctrl_c_leaves_only_finished_eras(parent: Path, undisturbed: str) -> None:
    check_ctrl_c_leaves_only_finished_eras(parent, undisturbed)


def test_a_second_conversion_to_the_same_folder_is_refused_and_disturbs_nothing(
    parent: Path, undisturbed: str
) -> None:
    out = parent.with_name("out")
    with held_up(parent, out) as reports, refused(ConversionError, "another process"):
        convert(parent, out)
    assert reports[0].n_eras_kept == 0
    check_whole(out, undisturbed)


def test_a_rerun_resumes_after_a_kill(tmp_path: Path, at_will: Killer) -> None:
    found = kill_subset_conversions(at_will, tmp_path, most=N_KILLS)
    assert found.keys() == {"absent", "new"}


def test_a_killed_update_of_a_subset_leaves_the_old_or_the_new_dataset_or_advice(
    tmp_path: Path, at_will: Killer
) -> None:
    found = kill_subset_updates(at_will, tmp_path, most=N_KILLS)
    assert found.keys() == {"old", "absent", "new"}
