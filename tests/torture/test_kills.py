"""Kills and failures at every point of conversions, and kills at random moments of a training."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

import memmap_train as mt
from memmap_train.conversion.sample import write_sample
from memmap_train.runs.run import read_run
from tests.support.conversion_faults import PREPARATIONS, let_fail
from tests.support.conversion_kills import (
    kill_added_benchmarks,
    kill_conversions,
    kill_sequences,
    kill_updates,
    kill_updates_with_benchmarks,
    kill_with_benchmarks,
)
from tests.support.interruptions import write_source
from tests.support.killing import Killer
from tests.support.random_kills import finished_after_kills, undisturbed
from tests.support.subset_kills import kill_subset_conversions, kill_subset_updates
from tests.support.training_data import newest_checkpoint

pytestmark = pytest.mark.usefixtures("no_power_cut")

TRAINING_KILLS = int(os.environ.get("TORTURE_KILLS", "100"))
CONVERSION_SEQUENCES = int(os.environ.get("TORTURE_SEQUENCES", "300"))


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_conversion_killed_at_any_point_can_be_resumed(
    tmp_path: Path, at_will: Killer, overwrite: bool
) -> None:
    source = write_source(tmp_path)
    found = kill_conversions(at_will, source, overwrite=overwrite, most=None)
    print(f"\nconversion, overwrite={overwrite}: killed at {found.total()} points, found {found}")


def test_a_conversion_to_a_subset_killed_at_any_point_can_be_resumed(
    tmp_path: Path, at_will: Killer
) -> None:
    for kill in (kill_subset_conversions, kill_subset_updates):
        folder = tmp_path / kill.__name__
        folder.mkdir()
        found = kill(at_will, folder, most=None)
        print(f"\n{kill.__name__}: killed at {found.total()} points, found {found}")


def test_an_update_killed_at_any_point_can_be_resumed(tmp_path: Path, at_will: Killer) -> None:
    found = kill_updates(at_will, tmp_path, most=None)
    print(f"\nupdate: killed at {found.total()} points, found {found}")


def test_benchmarks_are_whole_or_absent_after_a_kill_at_any_point(
    tmp_path: Path, at_will: Killer
) -> None:
    for kill in (kill_with_benchmarks, kill_added_benchmarks, kill_updates_with_benchmarks):
        folder = tmp_path / kill.__name__
        folder.mkdir()
        found = kill(at_will, folder, most=None)
        print(f"\n{kill.__name__}: killed at {found.total()} points, found {found}")


def test_a_conversion_that_fails_at_any_point_can_be_resumed(tmp_path: Path) -> None:
    for prepare in PREPARATIONS:
        folder = tmp_path / prepare.__name__
        folder.mkdir()
        found = let_fail(folder, prepare, most=None)
        print(f"\n{prepare.__name__}: failed at {found['refused'] + found['done']} points, {found}")


def test_sequences_of_kills_leave_a_whole_dataset_or_none(tmp_path: Path, at_will: Killer) -> None:
    ends = kill_sequences(at_will, tmp_path, CONVERSION_SEQUENCES, seed=1)
    print(f"\n{CONVERSION_SEQUENCES} sequences of conversions, {ends['killed']} of them killed")


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("resnet", ""),
        ("resnet", "--folds 2"),
        ("resnet", "--seeds 3"),
        ("resnet", "--seeds 2 --folds 2"),
        ("tabm", ""),
        ("autoencoder", ""),
        ("ridge", ""),
    ],
)
def test_a_training_killed_at_random_moments_ends_in_the_same_bits(
    tmp_path: Path, model: str, kind: str
) -> None:
    write_sample(tmp_path, n_eras=40, rows_per_era=400, n_features=16)
    sources = [tmp_path / "train.parquet", tmp_path / "validation.parquet"]
    shards = mt.convert(sources, tmp_path / "shards").dataset.path
    options = [f"model={model}", "baseline=none"]
    if model == "ridge":
        options += ["checkpoint_steps=1", "era_weights=half_life:9"]
    else:
        options += ["batch_size=64", "epochs=4", "checkpoint_steps=7", "hidden=[16]"]
        options += ["window_size=4", "validation_steps=5"]
        options += [] if "folds" in kind else ["plateau_patience=1"]

    def command(run: Path) -> list[str]:
        settings = [part for option in options for part in ("--set", option)]
        train = ["train", str(shards), "--run", str(run), "--resume"]
        return [sys.executable, "-m", "memmap_train", *train, *settings, *kind.split()]

    seconds = undisturbed(command, tmp_path / "whole")
    n_kills = TRAINING_KILLS // 3 if kind or model == "ridge" else TRAINING_KILLS
    n_runs = 0
    for run in finished_after_kills(command, tmp_path, seconds=seconds, n_kills=n_kills):
        check_all_equal(tmp_path / "whole", run)
        n_runs += 1
    what = f"training of {model} {kind}"
    print(f"\n{what}: {n_kills} kills in {n_runs} runs, all equal to an undisturbed one")


def check_all_equal(one: Path, other: Path) -> None:
    """Compare two runs; of runs with folds or seeds, all of these and their joint scores."""
    parts = read_run(one).part_paths
    if not parts:
        check_equal(one, other)
        return
    assert (one / "era_scores.csv").read_bytes() == (other / "era_scores.csv").read_bytes()
    for part in parts:
        check_all_equal(part, other / part.name)


def check_equal(one: Path, other: Path) -> None:
    """Compare scores, history without its times, and weights of the newest checkpoint."""
    for name in ("era_scores.csv", "step_scores.csv"):
        assert (one / name).exists() == (other / name).exists()
        assert not (one / name).exists() or (one / name).read_bytes() == (other / name).read_bytes()
    histories = [
        [line.split(",") for line in (run / "history.csv").read_text().splitlines()]
        for run in (one, other)
    ]
    timed = {"seconds", "rows_per_second", "data_wait"}
    kept = [i for i, name in enumerate(histories[0][0]) if name not in timed]
    first, second = ([[row[i] for i in kept] for row in history] for history in histories)
    assert first == second
    states = [newest_checkpoint(run) for run in (one, other)]
    assert states[0] is not None
    assert states[1] is not None
    assert states[0].arrays.keys() == states[1].arrays.keys()
    for name, array in states[0].arrays.items():
        np.testing.assert_array_equal(array, states[1].arrays[name])
