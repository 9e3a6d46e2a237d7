"""What a dry run says of the time of a sweep."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memmap_train.cli.commands import main
from memmap_train.runs.reports.plan import TrainPlan
from memmap_train.training.sweeps import cost as sweep_costs
from memmap_train.training.sweeps.cost import sweep_cost
from memmap_train.training.sweeps.setup import plans_of_trial, resolve_sweep
from tests.support.costs import COST
from tests.support.training_data import small_config

pytest_plugins = ["tests.support.training_fixtures"]


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let a probed trial take a second for each of its parameters; return those probed."""
    names: list[str] = []

    def measured(*arguments: Any, measures_cost: bool) -> tuple[list[TrainPlan], bool]:
        assert measures_cost
        names.append(arguments[1].name)
        plans, is_finished = plans_of_trial(*arguments)
        seconds = plans[-1].n_parameters
        cost = replace(COST, training_seconds=seconds, scoring_seconds=0.0, once={})
        return [*plans[:-1], replace(plans[-1], cost=cost)], is_finished

    monkeypatch.setattr(sweep_costs, "plans_of_trial", measured)
    monkeypatch.setattr(sweep_costs, "seconds_per_row", lambda _: 1000.0)
    monkeypatch.setattr("memmap_train.training.sweeps.setup.compile_model", lambda _: None)
    return names


def test_few_trials_are_probed_and_the_others_cost_what_larger_ones_do(
    probed: list[str], sample: Path, tmp_path: Path
) -> None:
    swept = {"hidden": [[], [8], [16], [32], [64]], "learning_rate": [0.1, 0.01]}
    path = tmp_path / "sweep"
    resolved = resolve_sweep(sample, path, swept, small_config(epochs=1), None, resume=False)
    found = sweep_cost(path, resolved)
    sizes = [plan.n_parameters for (plan,) in resolved.plans[::2]]  # one of each two rates
    assert found.n_probed == 3
    assert [name[:3] for name in probed] == ["009", "005", "001"]
    expected = 2 * (2 * sizes[4] + 2 * sizes[2] + sizes[0])
    assert found.seconds == pytest.approx(expected)


@pytest.mark.parametrize(
    ("swept", "n_fits", "options"),
    [
        ({"learning_rate": [0.1, 0.01]}, 1, {}),
        ({"features": ["small", "all"]}, 2, {}),
        ({"model": ["mlp", "ridge"]}, 2, {}),
        ({"learning_rate": [0.1, 0.01]}, 1, {"seeds": 2}),
    ],
)
def test_a_baseline_that_trials_share_is_fitted_once(
    swept: dict[str, Any],
    n_fits: int,
    options: dict[str, Any],
    probed: list[str],
    sample: Path,
    tmp_path: Path,
) -> None:
    config, path = small_config(hidden=(), epochs=1, baseline="ridge"), tmp_path / "sweep"
    resolved = resolve_sweep(sample, path, swept, config, None, resume=False, **options)
    n_rows = resolved.plans[0][0].n_train_rows
    assert int(sweep_cost(path, resolved).seconds / n_rows / 1000) == n_fits


def test_a_dry_run_says_how_long_all_trials_take(
    probed: list[str], sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", str(sample), "--run", str(tmp_path / "sweep"), "--dry-run"]
    settings = ["--set", "sweep.dropout=[0.1, 0.2]", "--set", "baseline=none", "--set", "hidden=[]"]
    settings += ["--set", "epochs=60", "--set", "batch_size=64", "--set", "additive=none"]
    assert main([*arguments, *settings]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert " at most, in about 18 min by a probe of 2 trials; would write " in last
    assert not (tmp_path / "sweep").exists()
