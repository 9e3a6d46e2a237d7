"""Sweeps: trials trained one after another, checked beforehand, resumed, failed and grown."""

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

import memmap_train as mt
from memmap_train.cli.commands import main
from memmap_train.errors import (
    BatchError,
    ConfigError,
    DatasetError,
    FoldError,
    ModelError,
    RunError,
)
from memmap_train.runs.configuration.config import TrainConfig
from memmap_train.runs.run import Run, read_run
from memmap_train.runs.sweeps.record import read_sweep
from memmap_train.training.sweeps import loop as sweep_loop
from memmap_train.training.sweeps.loop import train_sweep
from memmap_train.training.sweeps.setup import resolve_sweep
from memmap_train.training.sweeps.trained_sweep import Sweep
from memmap_train.training.train import train_run
from tests.support.errors import refused
from tests.support.pictures import pictures
from tests.support.training_data import Script, small_config
from tests.support.training_runs import interrupt, results

pytest_plugins = ["tests.support.training_fixtures"]

SWEPT = {"learning_rate": [0.01, 0.001], "seed": [0, 1]}
NAMES = [
    "001-learning_rate=0.01-seed=0",
    "002-learning_rate=0.01-seed=1",
    "003-learning_rate=0.001-seed=0",
    "004-learning_rate=0.001-seed=1",
]


def sweep_config(**changes: Any) -> TrainConfig:
    return small_config(**{"epochs": 1} | changes)


@pytest.fixture(scope="module")
def swept(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a sweep of two settings with two seeds each that nothing interrupted."""
    path = tmp_path_factory.mktemp("swept") / "sweep"
    with pictures(are_drawn=True):
        record = train_sweep(sample, path, SWEPT, sweep_config())
    assert [trial.failure for trial in record.trials] == [None] * 4
    return path


@pytest.fixture(autouse=True)
def quick(swept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let trainings after the first sweep collect no memory: it takes as long as an epoch."""
    monkeypatch.setattr("gc.collect", lambda: 0)


def without(swept: Path, path: Path, *names: str) -> Path:
    """Return a copy of a sweep in which trials haven't begun."""
    shutil.copytree(swept, path)
    for name in names:
        shutil.rmtree(path / name)
    return path


def test_each_trial_is_a_run_with_a_name_of_its_own(swept: Path) -> None:
    assert sorted(path.name for path in swept.iterdir() if path.is_dir()) == NAMES
    for name, rate, seed in zip(NAMES, (0.01, 0.01, 0.001, 0.001), (0, 1, 0, 1), strict=True):
        run = read_run(swept / name)
        assert run.read_result() is not None
        config = run.train_config()
        assert (config.learning_rate, config.seed, config.hidden) == (rate, seed, (8,))
    assert (swept / "sweep.png").exists()


def test_a_trial_ends_in_the_bits_of_a_run_of_its_configuration(
    sample: Path, swept: Path, tmp_path: Path
) -> None:
    train_run(sample, tmp_path / "run", sweep_config(learning_rate=0.001, seed=1))
    assert results(tmp_path / "run") == results(swept / NAMES[3])
    assert results(swept / NAMES[2])["model"] != results(swept / NAMES[3])["model"]


def test_an_interrupted_sweep_ends_in_the_bits_of_an_uninterrupted_one(
    sample: Path, swept: Path, tmp_path: Path
) -> None:
    path = without(swept, tmp_path / "sweep", *NAMES[2:])
    script = Script("step 7", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_sweep(sample, path, resume=True, report=script)
    assert not (path / NAMES[2] / "state.json").exists()
    assert not (path / NAMES[3]).exists()
    script = Script()
    train_sweep(sample, path, SWEPT, sweep_config(), resume=True, report=script)
    assert script.calls.count("started") == 2  # finished trials aren't trained again
    assert script.calls.count("step") == 15 - 7 + 15
    for name in NAMES[2:]:
        assert results(path / name) == results(swept / name)


def test_a_finished_sweep_has_nothing_to_do(
    sample: Path, swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, arguments = without(swept, tmp_path / "sweep"), ["train", str(sample), "--run"]
    with refused(RunError, "a sweep is there already, with 4 of 4 trials", "--resume"):
        train_sweep(sample, path, SWEPT, sweep_config())
    capsys.readouterr()
    assert main([*arguments, str(path), "--resume", "--dry-run"]) == 0
    *trials, last = capsys.readouterr().out.splitlines()
    assert trials[2] == ("003  learning_rate=0.001 seed=0: 81 parameters, 15 steps; finished")
    assert "4 trials, already finished; nothing to do" in last
    with refused(RunError, "its trials have --folds None", "found 2"):
        train_sweep(sample, path, folds=2, resume=True)
    with refused(ConfigError, "sweep.seed: --seeds gives seeds, too"):
        train_sweep(sample, path, seeds=2, resume=True)
    with refused(RunError, "no longer asked for: '003-learning_rate=0.001-seed=0'"):
        train_sweep(sample, path, {**SWEPT, "learning_rate": [0.01]}, resume=True)
    with refused(RunError, f"trial {NAMES[0]}", "the configuration differs", "hidden"):
        train_sweep(sample, path, SWEPT, sweep_config(hidden=(4,)), resume=True)


def test_values_may_be_added_to_a_sweep(sample: Path, swept: Path, tmp_path: Path) -> None:
    path = without(swept, tmp_path / "sweep", NAMES[3])
    grown = {"dropout": [0.1], **SWEPT, "learning_rate": [0.1, 0.01, 0.001]}
    grown.pop("dropout")
    resolved = resolve_sweep(sample, path, grown, None, None, resume=True)
    names = [trial.name for trial in resolved.record.trials]
    assert names[:4] == NAMES
    assert names[4:] == ["005-learning_rate=0.1-seed=0", "006-learning_rate=0.1-seed=1"]
    done = [plans[0].already_finished for plans in resolved.plans]
    assert done == [True, True, True, False, False, False]
    assert read_sweep(path).trials != resolved.record.trials  # nothing is written
    orders = [trial.order for trial in resolved.record.trials]
    assert orders == [{"window_size": 4, "pool_batches": 4}] * 6


def test_trials_with_batches_of_one_size_shuffle_alike(sample: Path, tmp_path: Path) -> None:
    swept = {"batch_size": [64, 128], "features": ["small", "all"]}
    config = sweep_config(window_size=None, pool_batches=None)
    path = tmp_path / "sweep"
    resolved = resolve_sweep(sample, path, swept, config, None, resume=False)
    orders = [trial.order for trial in resolved.record.trials]
    assert orders[0] == orders[1]
    assert orders[2] == orders[3]
    assert orders[0]["window_size"] is not None
    shuffling = [plans[0].shuffling for plans in resolved.plans]
    assert shuffling[0] == shuffling[1]
    assert not path.exists()


def test_a_ridge_regression_decides_nothing_about_the_shuffling_of_nets(
    sample: Path, tmp_path: Path
) -> None:
    orders: dict[tuple[str, ...], dict[str, Any]] = {}
    for models in (["ridge", "mlp"], ["mlp"]):
        resolved = resolve_sweep(
            sample,
            tmp_path / "sweep",
            {"model": models},
            sweep_config(window_size=None, pool_batches=None),
            None,
            resume=False,
        )
        orders |= {(*models, trial.name[4:]): trial.order for trial in resolved.record.trials}
    assert orders["ridge", "mlp", "model=ridge"] == {}
    assert orders["ridge", "mlp", "model=mlp"] == orders["mlp", "model=mlp"]


def test_equal_trainings_are_one_trial(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, script = tmp_path / "sweep", Script()
    settings = {"model": ["linear", "ridge"], "dropout": [0.1, 0.2]}
    # Which would be refused alone.
    config = sweep_config(normalization="batch", additive="linear")
    record = train_sweep(sample, path, settings, config, seeds=2, report=script)
    assert [trial.name for trial in record.trials] == [
        "001-model=linear-dropout=0.1",
        "002-model=ridge-dropout=0.1",
    ]
    assert "2 combinations left out: the same trainings as others" in script.warnings[0]
    first, second = (read_run(path / trial.name) for trial in record.trials)
    assert (first.seeds, second.seeds) == ((0, 1), ())  # a ridge regression has none
    assert sorted(row["n_scores"] for row in Sweep(path).table()) == [1, 2]
    # A sweep that grows keeps its trials, whichever comes first now.
    grown = {**settings, "dropout": [0.3, 0.2, 0.1]}
    record = train_sweep(sample, path, grown, None, resume=True)
    assert len(record.trials) == 2
    arguments = ["train", str(sample), "--run", str(path), "--resume", "--dry-run"]
    assert main(arguments) == 0
    assert "\n4 combinations left out: " in capsys.readouterr().out


def test_a_sweep_that_another_process_has_begun_meanwhile_is_resolved_again(
    sample: Path, swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sweep"
    begun = let_fail(monkeypatch, ConfigError("it isn't trained here"))

    def resolved_slowly(*arguments: Any, **options: Any) -> Any:
        found = resolve_sweep(*arguments, **options)
        if not path.exists():
            shutil.copytree(swept, path)
        return found

    monkeypatch.setattr(sweep_loop, "resolve_sweep", resolved_slowly)
    with refused(RunError, "a sweep is there already, with 4 of 4 trials"):
        train_sweep(sample, path, {"dropout": [0.1]}, sweep_config())
    shutil.rmtree(path)
    with refused(RunError, "no longer asked for"):
        train_sweep(sample, path, {"dropout": [0.1]}, sweep_config(), resume=True)
    shutil.rmtree(path)
    grown = {**SWEPT, "learning_rate": [0.1, 0.01, 0.001]}
    train_sweep(sample, path, grown, sweep_config(), resume=True)
    assert begun == [*NAMES, "005-learning_rate=0.1-seed=0", "006-learning_rate=0.1-seed=1"]


BEFORE: dict[str, tuple[dict[str, Any], dict[str, Any], type[Exception], tuple[str, ...]]] = {
    "feature set": (
        {"features": ["all", "smal"]},
        {},
        DatasetError,
        ("trial 002-features=smal: ", "'small'?"),
    ),
    "loss": (
        {"loss": ["mse", "pearson"]},
        {},
        ConfigError,
        ("trial 002-loss=pearson: ", "eras_per_batch"),
    ),
    "size": ({"batch_size": [64, 10**6]}, {}, BatchError, ("trial 002-batch_size=1000000: ",)),
    "model": ({"model": ["mlp", "nlp"]}, {}, ConfigError, ("trial 002-model=nlp: ", "'mlp'?")),
    "memory": (
        {"hidden": [[8], [10**6, 10**6]]},
        {},
        ConfigError,
        ("trial 002-hidden=1000000x1000000: hidden: ", "weights"),
    ),
    "other eras": (
        {"targets": [["target"], ["target_alpha_60"]]},
        {},
        FoldError,
        ("trial 002-targets=target_alpha_60: expected the validation eras of 001-targets=",),
    ),
}


@pytest.mark.parametrize("case", BEFORE)
def test_a_trial_that_does_not_suit_is_an_error_before_the_first_step(
    case: str, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, changes, kind, said = BEFORE[case]
    # Compiling takes a second, and is not what is tested.
    monkeypatch.setattr("memmap_train.training.sweeps.setup.compile_model", lambda _: None)
    with refused(kind, *said):  # type: ignore[arg-type]
        train_sweep(sample, tmp_path / "sweep", asked, sweep_config(**changes))
    assert not (tmp_path / "sweep").exists()


def test_a_trial_that_fails_is_recorded_and_the_sweep_goes_on(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sweep"
    settings = sweep_config().to_dict()
    del settings["learning_rate"]
    options = [f"{key}={json.dumps(value)}" for key, value in settings.items() if value]
    train = ["train", str(sample), "--run", str(path), "--quiet"]
    arguments = [*train, *(part for option in options for part in ("--set", option))]
    assert main([*arguments, "--set", "sweep.learning_rate=[1e30, 0.01]"]) == 1
    printed = capsys.readouterr()
    _, first, second, *notes = printed.out.splitlines()
    assert first.split()[0] == "002"
    assert second.split()[0] == "001"
    assert second.split()[-1] == "failed"
    assert notes[0].startswith("001-learning_rate=1e+30: failed: ")
    assert "lower learning_rate" in notes[0]
    (error,) = printed.err.splitlines()
    assert error.startswith(f"error: {path}: 1 of 2 trials failed: '001-learning_rate=1e+30'")
    # It isn't tried again, unless its folder is removed.
    script = Script()
    train_sweep(sample, path, resume=True, report=script)
    assert script.calls == []
    shutil.rmtree(path / "001-learning_rate=1e+30")
    script = Script()
    record = train_sweep(sample, path, resume=True, report=script)
    assert script.calls.count("started") == 1
    assert [trial.failure is None for trial in record.trials] == [False, True]


def raising(error: Exception) -> Callable[..., None]:
    """Return a function that raises an error."""

    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def let_fail(monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[str]:
    """Let all trainings fail with an error; return the list of those that began."""
    begun: list[str] = []
    monkeypatch.setattr("memmap_train.training.sweeps.setup.compile_model", lambda _: None)

    def fail(dataset: object, run_dir: Path, *_: object, **__: object) -> None:
        begun.append(run_dir.name)
        raise error

    monkeypatch.setattr(sweep_loop, "train_any", fail)
    return begun


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            MemoryError("cannot allocate 9 GB"),
            "too large for the memory: MemoryError: cannot allocate 9 GB",
        ),
        (ModelError("era '0001': predictions aren't numbers"), "predictions aren't numbers"),
    ],
    ids=["memory", "numbers"],
)
def test_a_model_that_can_not_be_trained_fails_alone(
    error: Exception,
    said: str,
    sample: Path,
    swept: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = without(swept, tmp_path / "sweep", *NAMES[2:])
    begun = let_fail(monkeypatch, error)
    record = train_sweep(sample, path, resume=True)
    assert begun == NAMES
    assert said in str(record.trials[3].failure)
    assert Sweep(path).failures.keys() == set(NAMES)


def test_a_full_disk_ends_a_sweep(
    sample: Path, swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = without(swept, tmp_path / "sweep", *NAMES[2:])
    monkeypatch.setattr("memmap_train.training.sweeps.setup.compile_model", lambda _: None)

    monkeypatch.setattr(Run, "write_era_scores", raising(OSError(errno.ENOSPC, "No space left")))
    with refused(RunError, "the results can't be written: No space left"):
        train_sweep(sample, path, resume=True)
    assert (path / NAMES[2] / "checkpoints").is_dir()
    assert not (path / NAMES[3]).exists()
    assert [trial.failure for trial in read_sweep(path).trials] == [None] * 4


def test_numbers_that_diverge_at_the_last_step_are_the_failure_of_a_trial(
    sample: Path, tmp_path: Path
) -> None:
    # The loss of the only step is that of the weights before it.
    config = sweep_config(eras_per_batch=8, rows_per_era=0)
    settings = {"learning_rate": [1e38, 0.01]}
    record = train_sweep(sample, tmp_path / "sweep", settings, config, seeds=2)
    first, second = (trial.failure for trial in record.trials)
    assert "predictions aren't numbers" in str(first)
    assert second is None


def test_a_baseline_that_fails_does_not_make_a_trial_fail(
    sample: Path, swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = without(swept, tmp_path / "sweep")
    monkeypatch.setattr(sweep_loop, "wants_baseline", lambda _: True)
    error = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")
    monkeypatch.setattr("memmap_train.training.baseline._fit", raising(error))
    script = Script()
    record = train_sweep(sample, path, resume=True, report=script)
    assert [trial.failure for trial in record.trials] == [None] * 4
    assert "OOM when allocating" in script.warnings[0]


def test_eras_that_came_later_belong_to_no_trial(
    growing: Callable[..., Path], tmp_path: Path
) -> None:
    dataset, path = growing(22), tmp_path / "sweep"
    with pytest.raises(KeyboardInterrupt):
        train_sweep(
            dataset,
            path,
            {"dropout": [0.1, 0.2]},
            sweep_config(),
            report=Script("started 2", interrupt),
        )
    growing(24)
    shutil.rmtree(path / "002-dropout=0.2")
    train_sweep(dataset, path, resume=True)
    first, second = (
        read_run(path / name).record for name in ("001-dropout=0.1", "002-dropout=0.2")
    )
    assert second.validation_eras == first.validation_eras == ("0019", "0020", "0021", "0022")
    assert second.train_eras == first.train_eras


def test_each_trial_may_be_a_run_of_folds(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sweep"
    found = mt.sweep(
        sample,
        path,
        {"dropout": [0.1]},
        sweep_config(validation_eras=None),
        folds=2,
        progress=False,
    )
    assert len(found.best.folds) == 2
    (row,) = found.table()
    assert row["score"] == found.best.result.corr.mean
    assert row["standard_error"] > 0
    assert main(["runs", str(path)]) == 0
    assert "out-of-fold eras" in capsys.readouterr().out


def test_each_trial_may_be_a_run_of_seeds(
    sample: Path, swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sweep"
    settings = {"learning_rate": [0.001]}
    found = mt.sweep(sample, path, settings, sweep_config(), seeds=2, progress=False)
    (row,) = found.table()
    of_each = next(
        row for row in Sweep(swept).table() if row["settings"] == {"learning_rate": 0.001}
    )
    for key in ("score", "standard_error", "standard_error_over", "n_scores"):
        assert row[key] == of_each[key]
    assert row["score_together"] == found.best.result.corr.mean
    assert main(["runs", str(path)]) == 0
    head, *_ = capsys.readouterr().out.splitlines()
    assert head.split() == ["trial", "corr_mean", "±", "n", "together", "state"]
    resolved = resolve_sweep(sample, path, None, None, None, resume=True)
    assert resolved.is_finished


def test_the_table_and_the_best_run_are_had_from_python(swept: Path) -> None:
    found = Sweep(swept)
    rows = found.table()
    assert [row["n_scores"] for row in rows] == [2, 2]
    assert rows[0]["score"] > rows[1]["score"]
    assert found.best.path == swept / rows[0]["trials"][0]
    assert found.failures == {}
    assert str(found).split()[:6] == ["trial", "corr_mean", "±", "n", "learning_rate", "state"]
    by_loss = found.table(by="loss")
    assert by_loss[0]["score"] < by_loss[1]["score"]
    assert found.chart_path == swept / "sweep.png"
