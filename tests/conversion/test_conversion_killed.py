"""Tests of conversions that are killed: a dataset is whole or absent, and a rerun resumes."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from memmap_train.conversion.conversion import convert
from memmap_train.dataset.format import WORKSPACE
from memmap_train.dataset.opening import open_dataset
from tests.support.conversion_kills import (
    N_KILLS,
    check_whole,
    kill_added_benchmarks,
    kill_conversions,
    kill_sequences,
    kill_updates,
    kill_updates_with_benchmarks,
    kill_with_benchmarks,
    remove,
)
from tests.support.interruptions import write_source
from tests.support.killing import Killer
from tests.support.updates import write_first, write_later

N_SEQUENCES = 18


def test_a_rerun_resumes_after_a_kill(at_will: Killer, tmp_path: Path) -> None:
    found = kill_conversions(at_will, write_source(tmp_path), overwrite=False, most=N_KILLS)
    assert found.keys() == {"absent", "new"}
    assert found["absent"] > N_KILLS / 2


def test_the_same_overwrite_again_resumes_after_a_kill(at_will: Killer, tmp_path: Path) -> None:
    found = kill_conversions(at_will, write_source(tmp_path), overwrite=True, most=N_KILLS)
    assert found.keys() == {"old", "absent", "new"}
    assert found["old"] > N_KILLS / 2


def test_a_killed_update_leaves_the_old_or_the_new_dataset_or_says_how_to_resume(
    at_will: Killer, tmp_path: Path
) -> None:
    found = kill_updates(at_will, tmp_path, most=N_KILLS)
    assert found.keys() == {"old", "absent", "new"}
    assert found["old"] > N_KILLS / 2


@pytest.mark.parametrize(
    ("kill", "ends"),
    [
        (kill_with_benchmarks, {"absent", "new"}),
        (kill_added_benchmarks, {"old", "absent", "new"}),
        (kill_updates_with_benchmarks, {"old", "absent", "new"}),
    ],
)
def test_benchmarks_are_whole_or_absent_after_a_kill(
    at_will: Killer, tmp_path: Path, kill: Callable[..., Counter[str]], ends: set[str]
) -> None:
    found = kill(at_will, tmp_path, most=N_KILLS)
    assert found.keys() == ends
    assert max(found["absent"], found["old"]) > N_KILLS / 2


# -- one kill after another -----------------------------------------------------------------------


def test_an_update_killed_at_its_end_and_an_overwrite_at_its_beginning_leave_no_mixture(
    at_will: Killer, tmp_path: Path
) -> None:
    source, out = tmp_path / "validation.parquet", tmp_path / "out"
    write_first(source)
    convert(source, tmp_path / "old")
    write_later(source)
    new = convert(source, tmp_path / "new").dataset.manifest.digest
    shutil.copytree(tmp_path / "old", out)
    n_points = at_will.points(source, out)
    for before_the_end in range(1, n_points):
        remove(out)
        shutil.copytree(tmp_path / "old", out)
        at_will.kill(source, out, n_points - before_the_end)
        if (out / WORKSPACE / "old-manifest.json").exists():
            break
    assert open_dataset(out).manifest.digest == new
    for number in range(1, n_points):
        at_will.kill(source, out, number, overwrite=True)
        if not (out / "manifest.json").exists():
            break
    assert (out / WORKSPACE).exists()
    convert(source, out)
    check_whole(out, new)


def test_no_sequence_of_kills_leaves_half_a_dataset(at_will: Killer, tmp_path: Path) -> None:
    ends = kill_sequences(at_will, tmp_path, N_SEQUENCES, seed=20)
    weeks = {"week 0", "week 1", "week 2"}
    assert ends.keys() - weeks == {"killed", "done", "refused", "absent"}
    assert ends["killed"] > N_SEQUENCES
