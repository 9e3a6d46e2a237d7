"""Every key of the configuration, changed on ``--resume``: it takes effect, or nothing happens."""

import json
import os
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import memmap_train as mt
from memmap_train.errors import ConfigError, RunError
from memmap_train.loading.batches import Batches
from memmap_train.runs.configuration.config import TrainConfig
from memmap_train.runs.run import read_run
from memmap_train.runs.run_folder import begin_run
from memmap_train.training.resolve import prepare
from memmap_train.training.train import dry_run, train_run
from tests.support.errors import refused
from tests.support.files import contents
from tests.support.training_data import STEPS_PER_EPOCH, Script, small_config
from tests.support.training_runs import interrupt, results

pytest_plugins = ["tests.support.training_fixtures"]

# What `small_config` doesn't have.
CHANGES: dict[str, Any] = {
    "features": "small",
    "targets": ("target_beta_20",),
    "target_transform": "rank",
    "validation_eras": 3,
    "embargo_eras": 9,
    "allow_overlap": True,
    "batch_size": 32,
    "eras_per_batch": 4,
    "rows_per_era": 16,
    "era_weights": "equal",
    "window_size": 5,
    "pool_batches": 3,
    "memory": 7,
    "fill_missing": 0.5,
    "model": "linear",
    "model_params": {"k": 3},
    "hidden": (9,),
    "activation": "gelu",
    "additive": "linear",
    "normalization": "batch",
    "dropout": 0.3,
    "precision": "mixed_bfloat16",
    "loss": "mae",
    "target_weights": (2.0,),
    "corr_weight": 0.1,
    "std_weight": 0.2,
    "exposure_weight": 0.3,
    "learning_rate": 0.02,
    "warmup_steps": 5,
    "schedule": "cosine",
    "weight_decay": 0.2,
    "plateau_patience": 1,
    "plateau_factor": 0.25,
    "epochs": 3,
    "monitor": "loss",
    "patience": 1,
    "validation_steps": 4,
    "callbacks": ("mine:Callback",),
    "tensorboard": True,
    "baseline": "ridge",
    "seed": 1,
    "deterministic": False,
    "checkpoint_steps": 4,
    "checkpoint_minutes": 1e-9,
}
TAKE_EFFECT = {
    "epochs",
    "memory",
    "tensorboard",
    "baseline",
    "checkpoint_steps",
    "checkpoint_minutes",
}


@pytest.fixture(scope="module")
def whole(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the results of a run that nothing interrupted."""
    path = tmp_path_factory.mktemp("whole") / "run"
    train_run(sample, path, small_config())
    return results(path)


@pytest.fixture(scope="module")
def stopped(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that was interrupted in its second epoch: to be copied."""
    path = tmp_path_factory.mktemp("stopped") / "run"
    script = Script("step 18", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, path, small_config(), report=script)
    return path


def test_the_test_changes_every_key() -> None:
    assert list(CHANGES) == [key.name for key in fields(TrainConfig)]
    same = small_config()
    assert all(getattr(same, key) != value for key, value in CHANGES.items())


# Keys that need batches of eras, which the run doesn't have.
NEED_ERAS = {"rows_per_era", "corr_weight", "std_weight", "exposure_weight"}


@pytest.mark.parametrize("key", sorted(CHANGES.keys() - TAKE_EFFECT))
def test_a_key_that_affects_results_is_refused_and_the_run_stays_as_it_was(
    key: str, stopped: Path, sample: Path
) -> None:
    before, changes, named = contents(stopped), {key: CHANGES[key]}, f"{key}: "
    if key in NEED_ERAS:
        changes["eras_per_batch"] = CHANGES["eras_per_batch"]
    if key == "model_params":
        changes["model"], named = "tabm", "model_params.k: "  # which the run's model hasn't
    for command in (train_run, dry_run):
        with refused(RunError, named, " in the run, ", "resume without these changes"):
            command(sample, stopped, small_config(**changes), resume=True)
        assert contents(stopped) == before


@pytest.mark.parametrize("key", sorted(TAKE_EFFECT))
def test_a_key_that_may_change_takes_effect_without_changing_results(
    key: str, stopped: Path, sample: Path, whole: dict[str, Any], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(stopped, run)
    changed = small_config(**{key: CHANGES[key]})
    seen: list[list[str]] = []
    script = Script("step 9", lambda: seen.append(sorted(os.listdir(run / "checkpoints"))))
    report = train_run(sample, run, changed, resume=True, report=script)
    assert script.warnings == []
    assert json.loads((run / "config.json").read_text())[key] == CHANGES[key]
    assert (report.n_epochs == 3) == (key == "epochs")
    if key != "epochs":
        assert results(run) == whole
    logs = list((run / "tensorboard").glob("*")) if (run / "tensorboard").exists() else []
    assert len(logs) == (key == "tensorboard")
    # Resumed after step 18: step 9 is the run's 27th.
    steps = {"checkpoint_steps": (20, 24), "checkpoint_minutes": (25, 26)}
    kept = {STEPS_PER_EPOCH, *steps.get(key, (STEPS_PER_EPOCH, 18))}
    assert seen == [[f"step-{step:09d}.npz" for step in sorted(kept)]]
    # And back again.
    again = Script()
    back = small_config(epochs=report.n_epochs)
    (run / "state.json").unlink()
    train_run(sample, run, back, resume=True, report=again)
    assert again.warnings == []


def test_tensorboard_may_be_turned_off_while_other_callbacks_stay(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stopping.py").write_text(
        "import keras\n\n\ndef stopping():\n"
        "    return keras.callbacks.EarlyStopping('loss', patience=2, min_delta=10.0)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    options: dict[str, Any] = {"callbacks": ["stopping:stopping"], "epochs": 9}
    train_run(sample, tmp_path / "whole", small_config(**options))
    for tensorboard, call in ((True, "step 18"), (False, "step 3"), (True, "step 1")):
        config = small_config(**options, tensorboard=tensorboard)
        with pytest.raises(KeyboardInterrupt):
            train_run(sample, tmp_path / "run", config, resume=True, report=Script(call, interrupt))
    script = Script()
    train_run(sample, tmp_path / "run", small_config(**options), resume=True, report=script)
    assert script.warnings == []
    assert results(tmp_path / "run") == results(tmp_path / "whole")
    assert len(results(tmp_path / "run")["history"]) == 3


def test_the_memory_must_hold_the_buffers_of_the_run(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = mt.open_dataset(sample)
    begin_run(tmp_path / "run", prepare(dataset, None, small_config(memory=50)).record)
    run = read_run(tmp_path / "run")
    init = Batches.__init__

    def with_large_pools(batches: Batches, *arguments: Any, **options: Any) -> None:
        init(batches, *arguments, **options)
        batches.pool_bytes = 30_000_000

    monkeypatch.setattr(Batches, "__init__", with_large_pools)
    for memory in (None, 50, 60):
        assert prepare(dataset, run, small_config(memory=memory)).config.memory == memory
    with refused(ConfigError, "memory: expected 60 MB or more", "found 59", "--run"):
        prepare(dataset, run, small_config(memory=59))
