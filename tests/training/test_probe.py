"""What a dry run says of a training's cost, by a probe that leaves nothing behind."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

import memmap_train as mt
from memmap_train.errors import ConfigError
from memmap_train.training import probe as probe_module
from memmap_train.training.compiled import compile_model
from memmap_train.training.parts.fold_loop import dry_run_folds
from memmap_train.training.plan import plan_of
from memmap_train.training.probe import probe
from memmap_train.training.resolve import Setup, prepare
from memmap_train.training.train import dry_run, train_run
from tests.support.errors import refused
from tests.support.training_data import STEPS_PER_EPOCH, small_config
from tests.support.training_runs import results

pytest_plugins = ["tests.support.training_fixtures"]


class Clock:
    """A clock that only steps and predictions move."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Moved:
    """A compiled function that takes some seconds of a clock."""

    sums = (0.0, 0.0)

    def __init__(self, clock: Clock, seconds: float, run: Callable[..., Any] | None = None) -> None:
        self.clock, self.seconds, self.run, self.n_calls = clock, seconds, run, 0

    def __call__(self, *arguments: Any) -> Any:
        self.clock.now += self.seconds
        self.n_calls += 1
        return self.run(*arguments) if self.run else None


@pytest.fixture(scope="module")
def setup(sample: Path) -> Setup:
    return prepare(mt.open_dataset(sample), None, small_config(batch_size=32, hidden=()))


@pytest.mark.parametrize(
    ("step_seconds", "n_measured"),
    [(0.001, 30), (1.0, 4), (100.0, 3)],  # an epoch of 30 steps; 4 seconds; three in any case
)
def test_the_probe_is_short_and_extrapolates(
    step_seconds: float, n_measured: int, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(probe_module, "time", clock)
    step, predictor = compile_model(setup)
    predictor.run = Moved(clock, 0.25, predictor.run)
    moved: Any = Moved(clock, step_seconds)
    plan = plan_of(setup, step.model, 0, 0)
    monkeypatch.setattr(probe_module, "resident_bytes", lambda path: path.stat().st_size)
    cost = probe(setup, moved, predictor, plan, 7.0)
    assert (cost.n_steps, moved.n_calls) == (n_measured, n_measured + 1)
    assert cost.training_seconds == pytest.approx(30 * step_seconds)
    assert cost.rows_per_second == pytest.approx(32 / step_seconds)
    assert cost.scoring_seconds == pytest.approx(0.25)  # 320 rows of 4 eras are one block
    assert cost.once == {"first step": pytest.approx(7.0)}
    assert (cost.epochs, cost.unread_bytes) == (2, 0)


def test_features_that_arent_in_memory_are_measured_again_from_there(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(probe_module, "time", clock)
    step, predictor = compile_model(setup)
    moved: Any = Moved(clock, 0.01)  # never so long that the probe ends before an epoch does
    monkeypatch.setattr(probe_module, "resident_bytes", lambda path: 0)
    disk = iter([0, 10**6] * 2)
    monkeypatch.setattr(probe_module, "read_bytes", lambda: next(disk))
    original = setup.batches.reader.__class__.announce

    def slow(*arguments: Any) -> None:
        clock.now += 0.01
        original(*arguments)

    monkeypatch.setattr(setup.batches.reader.__class__, "announce", slow)
    cost = probe(setup, moved, predictor, plan_of(setup, step.model, 0, 0), 0.0)
    assert moved.n_calls == 2 * (cost.n_steps + 1)
    assert cost.unread_bytes == cost.feature_bytes
    assert cost.disk_bytes_per_second is not None
    assert cost.reading_seconds > 0


def test_a_model_that_doesnt_fit_into_memory_is_one_line(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, predictor = compile_model(setup)

    def fail(*arguments: Any) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")

    with refused(ConfigError, "fails", "OOM when allocating", "lower batch_size (now 32)"):
        probe(setup, Moved(Clock(), 0, fail), predictor, plan_of(setup, step.model, 0, 0), 0.0)  # type: ignore[arg-type]


def test_a_dry_run_leaves_nothing_behind(
    finished: tuple[Path, Any], sample: Path, tmp_path: Path
) -> None:
    cost = dry_run(sample, tmp_path / "run", small_config()).cost
    assert cost is not None
    assert cost.n_steps == STEPS_PER_EPOCH
    assert 1 <= cost.n_eras <= 4
    assert 0 < cost.epoch_seconds < cost.total_seconds
    assert cost.peak_bytes is None or cost.peak_bytes > 10**7
    assert not list(tmp_path.iterdir())
    train_run(sample, tmp_path / "run", small_config())
    assert results(tmp_path / "run") == results(finished[0])
    plan = dry_run(sample, tmp_path / "run", None, resume=True)
    assert plan.already_finished
    assert plan.cost is None


@pytest.mark.parametrize(
    "changes",
    [
        {"era_weights": "half_life:4"},
        {"eras_per_batch": 4, "rows_per_era": 16, "target_transform": "gaussian"},
        {"monitor": "val_fnc_mean", "model": "linear"},
    ],
)
def test_what_steps_and_scores_need_is_in_the_probe(
    changes: dict[str, Any], sample: Path, tmp_path: Path
) -> None:
    cost = dry_run(sample, tmp_path / "run", small_config(**changes)).cost
    assert cost is not None
    assert ("transform of targets" in cost.once) == ("target_transform" in changes)
    assert not list(tmp_path.iterdir())


def test_folds_are_probed_once(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, original = [], probe_module.probe

    def noted(*given: Any) -> Any:
        calls.append(given[3])
        return original(*given)

    monkeypatch.setattr(probe_module, "probe", noted)
    config = small_config(validation_eras=None)
    plans, _ = dry_run_folds(sample, tmp_path / "run", config, folds=2)
    assert calls == [replace(plans[-1], cost=None)]
    first, last = (plan.cost for plan in plans)
    assert first is not None
    assert last is not None
    ratio = plans[0].steps_per_epoch / plans[1].steps_per_epoch
    assert 0 < ratio < 1
    assert first.training_seconds == pytest.approx(ratio * last.training_seconds)
