"""Kills at every point of conversions, updates, narrowings; at random moments of a training."""

import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from test_conversion_interrupted import killed, write_source
from test_update import FIRST, die_at, write_first, write_later

import memmap_train as mt
from memmap_train.checkpoints import load_newest
from memmap_train.dataset import verify
from memmap_train.errors import ManifestError
from memmap_train.journal import WORKPLACE
from memmap_train.sample import write_sample

TRAINING_KILLS = int(os.environ.get("TORTURE_KILLS", "30"))


@pytest.mark.parametrize("overwrite", [False, True])
def test_every_point_of_a_conversion(tmp_path: Path, overwrite: bool) -> None:
    source = write_source(tmp_path)
    digest = mt.convert(source, tmp_path / "undisturbed").dataset.manifest.digest

    def begin() -> Path:
        out = tmp_path / "out"
        mt.convert(source, out, dtype="int8", overwrite=True)
        if not overwrite:
            subprocess.run(["rm", "-r", str(out)], check=True)
        return out

    n_points = killed(source, begin(), 0, overwrite=overwrite)
    for number in range(1, n_points + 1):
        out = begin()
        killed(source, out, number, overwrite=overwrite)
        mt.convert(source, out, overwrite=overwrite)
        assert mt.open_dataset(out).manifest.digest == digest
        assert list(verify(out)) == []
        assert not (out / WORKPLACE).exists()
    print(f"\nconversion, overwrite={overwrite}: killed at {n_points} of {n_points} points")


def test_every_point_of_a_narrowing(tmp_path: Path) -> None:
    parent, out = tmp_path / "parent", tmp_path / "out"
    digest = mt.convert(write_source(tmp_path), parent).dataset.manifest.digest
    n_points = killed(parent, out, 0)
    for number in range(1, n_points + 1):
        subprocess.run(["rm", "-r", str(out)], check=True)
        killed(parent, out, number)
        mt.convert(parent, out)
        assert mt.open_dataset(out).manifest.digest == digest
        assert list(verify(out)) == []
        assert not (out / WORKPLACE).exists()
    print(f"\nnarrowing: killed at {n_points} of {n_points} points")


def test_every_point_of_an_update(tmp_path: Path) -> None:
    source, out = tmp_path / "validation.parquet", tmp_path / "out"
    write_first(source)
    old = mt.convert(source, tmp_path / "old").dataset.manifest.digest
    write_later(source)
    new = mt.convert(source, tmp_path / "new").dataset.manifest.digest

    def begin() -> None:
        write_first(source)
        mt.convert(source, out, overwrite=True)
        write_later(source)

    begin()
    n_points = die_at(source, out, 10**9)
    seen = {"old": 0, "new": 0, "absent": 0}
    for number in range(1, n_points + 1):
        begin()
        die_at(source, out, number)
        try:
            digest = mt.open_dataset(out).manifest.digest
            assert digest in (old, new)
            seen["old" if digest == old else "new"] += 1
        except ManifestError:
            seen["absent"] += 1
        mt.convert(source, out)
        assert mt.open_dataset(out).manifest.digest == new
        assert list(verify(out)) == []
    print(f"\nupdate of {len(FIRST)} eras: killed at {n_points} points, then found {seen}")


def test_a_training_killed_at_random_moments_ends_in_the_same_bits(tmp_path: Path) -> None:
    write_sample(tmp_path, n_eras=40, rows_per_era=400, n_features=16)
    sources = [tmp_path / "train.parquet", tmp_path / "validation.parquet"]
    shards = mt.convert(sources, tmp_path / "shards").dataset.path
    options = ["batch_size=64", "epochs=4", "checkpoint_steps=7", "hidden=[16]", "window_size=4"]
    options += ["model=resnet", "validation_steps=5", "plateau_patience=1"]

    def command(run: Path) -> list[str]:
        settings = [part for option in options for part in ("--set", option)]
        train = ["train", str(shards), "--run", str(run), "--resume"]
        return [sys.executable, "-m", "memmap_train", *train, *settings]

    started = time.monotonic()
    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    seconds = time.monotonic() - started
    chance = random.Random(7)
    n_kills = 0
    run = tmp_path / "run0"
    runs = 1
    while n_kills < TRAINING_KILLS:
        process = subprocess.Popen(
            command(run), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(timeout=chance.uniform(0.3, 1.0) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            n_kills += 1
            continue
        assert process.returncode == 0
        check_equal(tmp_path / "whole", run)
        run = tmp_path / f"run{runs}"
        runs += 1
    subprocess.run(command(run), check=True, capture_output=True)
    check_equal(tmp_path / "whole", run)
    print(f"\ntraining: {n_kills} kills in {runs} runs, all equal to an undisturbed one")


def check_equal(one: Path, other: Path) -> None:
    """Compare scores, history (but for its times) and the weights of the newest checkpoint."""
    for name in ("era_scores.csv", "step_scores.csv"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    histories = [
        [line.split(",") for line in (run / "history.csv").read_text().splitlines()]
        for run in (one, other)
    ]
    timed = {"seconds", "rows_per_second", "data_wait"}
    kept = [i for i, name in enumerate(histories[0][0]) if name not in timed]
    first, second = ([[row[i] for i in kept] for row in history] for history in histories)
    assert first == second
    states = [load_newest(run / "checkpoints", warnings.warn) for run in (one, other)]
    assert states[0] is not None
    assert states[1] is not None
    assert states[0].arrays.keys() == states[1].arrays.keys()
    for name, array in states[0].arrays.items():
        np.testing.assert_array_equal(array, states[1].arrays[name])
