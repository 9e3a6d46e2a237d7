"""Kills of a sweep at random moments: all its trials end in the same bits."""

import sys
from pathlib import Path

import pytest

import memmap_train as mt
from memmap_train.conversion.sample import write_sample
from memmap_train.runs.sweeps.record import read_sweep
from tests.support.random_kills import finished_after_kills, undisturbed
from tests.torture.test_kills import TRAINING_KILLS, check_equal

pytestmark = pytest.mark.usefixtures("no_power_cut")


def test_a_sweep_killed_at_random_moments_ends_in_the_same_bits(tmp_path: Path) -> None:
    write_sample(tmp_path, n_eras=40, rows_per_era=400, n_features=16)
    sources = [tmp_path / "train.parquet", tmp_path / "validation.parquet"]
    shards = mt.convert(sources, tmp_path / "shards").dataset.path
    options = ["batch_size=64", "epochs=2", "checkpoint_steps=7", "window_size=4", "hidden=[16]"]
    options += ["sweep.model=['mlp', 'resnet']", "sweep.seed=[0, 1]", "validation_steps=5"]

    def command(sweep: Path) -> list[str]:
        settings = [part for option in options for part in ("--set", option)]
        train = ["train", str(shards), "--run", str(sweep), "--resume", *settings]
        return [sys.executable, "-m", "memmap_train", *train]

    seconds = undisturbed(command, tmp_path / "whole")
    names = [trial.name for trial in read_sweep(tmp_path / "whole").trials]
    assert len(names) == 4
    n_kills, n_sweeps = TRAINING_KILLS // 3, 0
    for sweep in finished_after_kills(command, tmp_path, seconds=seconds, n_kills=n_kills):
        for name in names:
            check_equal(tmp_path / "whole" / name, sweep / name)
        n_sweeps += 1
    print(f"\n{n_kills} kills in {n_sweeps} sweeps, all equal to an undisturbed one")
