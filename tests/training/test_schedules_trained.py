"""Trainings with a warm-up or a schedule: the rate of every step, whatever interrupts them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memmap_train.errors import ConfigError, RunError
from memmap_train.runs.configuration.schedule import scheduled_rate
from memmap_train.training.train import dry_run, train_run
from tests.support.errors import refused
from tests.support.training_data import STEPS_PER_EPOCH, Script, small_config
from tests.support.training_runs import interrupt, read_csv, results, train_killed

pytest_plugins = ["tests.support.training_fixtures"]

N_STEPS = 2 * STEPS_PER_EPOCH


@pytest.mark.parametrize(
    "changes",
    [{"warmup_steps": 20}, {"warmup_steps": 4, "schedule": "cosine"}],
    ids=["warm-up", "cosine"],
)
def test_every_step_has_its_rate_in_a_run_that_was_stopped_too(
    changes: dict[str, Any], sample: Path, tmp_path: Path
) -> None:
    config = small_config(**changes, validation_steps=1)
    for name, calls in (("whole", ()), ("run", ("step 3", "step 15"))):
        for call in calls:
            script = Script(call, interrupt)
            with pytest.raises(KeyboardInterrupt):
                train_run(sample, tmp_path / name, config, resume=True, report=script)
        train_run(sample, tmp_path / name, config, resume=True)
        rows = read_csv(tmp_path / name / "step_scores.csv")
        rates = [float(row["learning_rate"]) for row in rows]
        expected = [scheduled_rate(step, N_STEPS, 0.01, config) or 0.01 for step in range(N_STEPS)]
        assert rates == pytest.approx(expected, rel=1e-6)
    assert results(tmp_path / "run") == results(tmp_path / "whole")


def test_a_run_that_was_killed_ends_like_one_that_wasnt(sample: Path, tmp_path: Path) -> None:
    config = small_config(warmup_steps=4, schedule="cosine")
    train_run(sample, tmp_path / "whole", config)
    killed = replace(config, checkpoint_steps=4)
    train_killed(sample, tmp_path / "run", killed, "step 23")
    train_run(sample, tmp_path / "run", config, resume=True)
    assert results(tmp_path / "run") == results(tmp_path / "whole")


def test_a_plateau_lowers_the_highest_rate_of_a_schedule(sample: Path, tmp_path: Path) -> None:
    # The loss of the first epoch stays the best: the rate of later epochs is lowered.
    config = small_config(
        schedule="cosine", plateau_patience=1, plateau_factor=0.1, monitor="val_corr_std", epochs=4
    )
    train_run(sample, tmp_path / "run", config)
    rows = read_csv(tmp_path / "run" / "history.csv")
    highest, n_steps = 0.01, 4 * STEPS_PER_EPOCH
    best = float("inf")
    for number, row in enumerate(rows, start=1):
        rate = scheduled_rate(number * STEPS_PER_EPOCH - 1, n_steps, highest, config)
        assert float(row["learning_rate"]) == pytest.approx(rate, rel=1e-6)
        score = float(row["val_corr_std"])
        if score < best:
            best = score
        else:
            highest *= 0.1
    assert highest < 0.01


def test_the_epochs_of_a_cosine_cant_be_raised(sample: Path, tmp_path: Path) -> None:
    config = small_config(schedule="cosine", epochs=1)
    train_run(sample, tmp_path / "run", config)
    for command in (train_run, dry_run):
        with refused(RunError, "epochs: 1 in the run, 2 now (schedule = 'cosine' ends with them)"):
            command(
                sample, tmp_path / "run", small_config(schedule="cosine", epochs=2), resume=True
            )


def test_a_warm_up_that_is_longer_than_the_run_is_refused(sample: Path, tmp_path: Path) -> None:
    for command in (train_run, dry_run):
        with refused(ConfigError, "warmup_steps: expected fewer than the 30 steps of the run"):
            command(sample, tmp_path / "run", small_config(warmup_steps=30))
    assert not (tmp_path / "run").exists()
