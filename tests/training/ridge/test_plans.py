"""What dry runs say of ridge regressions: whether one is fitted, and how long that takes."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memmap_train.cli.commands import main
from memmap_train.runs.reports.plan import TrainPlan
from memmap_train.runs.reports.report import TrainReport
from memmap_train.training.parts.fold_loop import dry_run_folds
from memmap_train.training.parts.seed_loop import dry_run_seeds
from memmap_train.training.ridge import model as ridge_model
from memmap_train.training.ridge.model import seconds_per_row
from memmap_train.training.train import dry_run, train_run
from tests.support.training_data import small_config

pytest_plugins = ["tests.support.training_fixtures"]

SECONDS_PER_ROW = 0.5


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the cost of nets out, and give ridge regressions a known one."""
    monkeypatch.setattr("memmap_train.training.train.probe", lambda *_: None)
    monkeypatch.setattr(
        "memmap_train.training.ridge.plans.seconds_per_row", lambda _: SECONDS_PER_ROW
    )
    parts = "memmap_train.training.parts.part_plans"
    monkeypatch.setattr(f"{parts}.probed", lambda *_: None)
    monkeypatch.setattr(f"{parts}.with_costs", lambda plans, _: plans)


def net_config(**changes: Any) -> Any:
    return small_config(hidden=(), **{"baseline": "ridge", **changes})


def seconds(plan: TrainPlan) -> float:
    return plan.n_train_rows * SECONDS_PER_ROW


def test_a_baseline_takes_time_where_it_is_fitted_alone(
    finished: tuple[Path, TrainReport],
    sample: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config, path = net_config(), tmp_path / "runs" / "new"
    plan = dry_run(sample, path, config)
    assert (plan.baseline, plan.ridge_seconds) == (
        "a ridge regression, fitted afterwards",
        seconds(plan),
    )
    assert dry_run(sample, path, net_config(baseline="none")).ridge_seconds is None
    net = tmp_path / "runs" / "net"
    shutil.copytree(finished[0], net)
    arguments = ["train", str(sample), "--run", str(net), "--resume", "--dry-run"]
    assert main([*arguments, "--set", "baseline=ridge"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"{net}: already finished; nothing to do but its baseline, in about 8 min"
    train_run(sample, tmp_path / "runs" / "ridge", small_config(model="ridge"), draws=False)
    plan = dry_run(sample, path, config)
    assert plan.baseline == f"a ridge regression, copied from {tmp_path / 'runs' / 'ridge'}"
    assert plan.ridge_seconds is None
    shutil.copytree(tmp_path / "runs" / "ridge", net / "baseline")
    shutil.rmtree(tmp_path / "runs" / "ridge")
    assert main([*arguments, "--set", "baseline=ridge"]) == 0
    printed = capsys.readouterr().out
    assert "\nbaseline    a ridge regression, which is there\n" in printed
    assert printed.endswith("already finished; nothing to do\n")
    assert not path.exists()


def test_all_seeds_have_one_baseline_and_each_fold_its_own(sample: Path, tmp_path: Path) -> None:
    of_seeds, _ = dry_run_seeds(sample, tmp_path / "run", net_config(), seeds=2)
    times = [plan.ridge_seconds for (plan,) in of_seeds.values()]
    assert times == [seconds(of_seeds[0][0]), None]
    config = net_config(validation_eras=None)
    plans, _ = dry_run_folds(sample, tmp_path / "run", config, folds=2)
    assert [plan.ridge_seconds for plan in plans] == [seconds(plan) for plan in plans]
    assert plans[0].n_train_rows < plans[1].n_train_rows


def test_folds_of_a_ridge_regression_take_time(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", str(sample), "--run", str(tmp_path / "run"), "--set", "model=ridge"]
    assert main([*arguments, "--folds", "2", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    plans, _ = dry_run_folds(
        sample, tmp_path / "run", small_config(model="ridge", validation_eras=None), folds=2
    )
    total = sum(map(seconds, plans)) / 60
    assert f"\ntotal       about {total:.0f} min for 2 ridge regressions\n" in printed


def test_the_first_product_which_is_slower_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now, durations = [0.0], iter([100.0, 0.05, 0.02, 0.15])

    def matmul(*_: Any, out: Any) -> None:
        now[0] += next(durations)

    monkeypatch.setattr(ridge_model.time, "perf_counter", lambda: now[0])  # type: ignore[attr-defined]
    monkeypatch.setattr(np, "matmul", matmul)
    assert seconds_per_row(3) == pytest.approx(0.02 / 2048 / 0.85)
