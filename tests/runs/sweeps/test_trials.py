"""The trials that a sweep gets: their names, and those that come later."""

import re
from pathlib import Path
from typing import Any

import pytest

from memmap_train.errors import RunError
from memmap_train.runs.sweeps.trials import grown_trials
from tests.support.errors import refused


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"learning_rate": 0.001, "dropout": 0.1}, "001-learning_rate=0.001-dropout=0.1"),
        ({"hidden": [512, 256], "tensorboard": True}, "001-hidden=512x256-tensorboard=true"),
        ({"model": "runs/a b/model.keras"}, "001-model=runs_a_b_model.keras"),
        ({"loss": "my:loss", "memory": None}, "001-loss=my_loss-memory=auto"),
        ({"target_transform": "residual:a*b+rank"}, "001-target_transform=residual_a_b+rank"),
        ({"features": [f"feature_{n}" for n in range(99)]}, "001-features=feature_0+98_more"),
    ],
)
def test_the_name_of_a_trial_says_its_settings(
    tmp_path: Path, settings: dict[str, Any], name: str
) -> None:
    assert [trial.name for trial in grown_trials([], [settings], tmp_path)] == [name]


def test_names_are_different_short_and_fit_every_file_system(tmp_path: Path) -> None:
    words = ["x" * 400, "a/b", "A/B", "CON", "é", "\udcff", "a.", " ", "\n", ""]
    settings = [{f"key_{n}_of_a_long_name": word for n in range(9)} for word in words]
    names = [trial.name for trial in grown_trials([], settings, tmp_path)]
    assert len({name.lower() for name in names}) == len(words)
    for name in names:
        assert re.fullmatch(r"\d{3}-[A-Za-z0-9._+=-]+", name)
        assert len(name) <= 100
        assert not name.endswith((".", " "))


def test_a_sweep_that_grows_keeps_its_trials_and_their_names(tmp_path: Path) -> None:
    old = grown_trials([], [{"dropout": 0.1}, {"dropout": 0.3}], tmp_path)
    asked = [{"dropout": 0.2}, {"dropout": 0.3}, {"dropout": 0.1}]
    grown = grown_trials(old, asked, tmp_path)
    assert grown[:2] == old
    assert [trial.name for trial in grown[2:]] == ["003-dropout=0.2"]
    assert len(grown_trials([], [{"epochs": n} for n in range(1000)], tmp_path)[0].name) == 13
    with refused(RunError, "no longer asked for: '002-dropout=0.3'", "--run"):
        grown_trials(old, [{"dropout": 0.1}], tmp_path)
