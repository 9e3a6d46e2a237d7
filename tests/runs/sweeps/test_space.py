"""Tests of what a sweep varies: combinations, draws, and what is refused."""

import json
import math
from typing import Any

import pytest

from memmap_train.errors import ConfigError
from memmap_train.runs.configuration.config import TrainConfig
from memmap_train.runs.sweeps.ranges import Range
from memmap_train.runs.sweeps.space import sweep_space, with_settings
from tests.support.errors import refused

LISTS = {"dropout": [0, 0.5], "hidden": [[8], [8, 4], []], "seed": [3, 5]}


def drawn(swept: dict[str, Any], n_runs: int, seed: int = 0) -> list[dict[str, Any]]:
    return sweep_space(swept, n_runs).settings(seed)


def test_every_combination_comes_once_and_seeds_come_together() -> None:
    settings = sweep_space(LISTS, None).settings(0)
    assert len(settings) == 12 == len({json.dumps(of_trial) for of_trial in settings})
    assert [of_trial["seed"] for of_trial in settings] == [3, 5] * 6
    assert settings[:2] == [
        {"dropout": 0.0, "hidden": [8], "seed": 3},
        {"dropout": 0.0, "hidden": [8], "seed": 5},
    ]


def test_what_is_swept_survives_json() -> None:
    for swept, n_runs in (
        (LISTS, None),
        ({"dropout": {"min": 0.1, "max": 0.4}, "batch_size": {"min": 8, "max": 64}}, 9),
    ):
        space = sweep_space(swept, n_runs)
        again = sweep_space(json.loads(json.dumps(space.to_json())), n_runs)
        assert again == space
        assert again.settings(7) == space.settings(7)


def test_draws_are_different_and_depend_on_the_seed_alone() -> None:
    swept = {"dropout": [0.0, 0.1, 0.2], "learning_rate": [1.0, 2.0, 3.0, 4.0]}
    some, more = drawn(swept, 5), drawn(swept, 12)
    assert len({json.dumps(of_trial) for of_trial in more}) == 12
    assert more[:5] == some
    assert drawn(swept, 12, seed=1) != more
    other_order = drawn(dict(reversed(swept.items())), 12)
    assert other_order == more
    assert [*other_order[0]] != [*more[0]]
    of_a_range = {"learning_rate": {"min": 0.1, "max": 0.2}, "dropout": [0.1, 0.2]}
    assert [*drawn(of_a_range, 1)[0]] == ["learning_rate", "dropout"]


def test_each_draw_is_trained_with_every_seed() -> None:
    settings = drawn({"dropout": [0.0, 0.1, 0.2], "seed": [1, 2]}, 2)
    assert [of_trial["seed"] for of_trial in settings] == [1, 2, 1, 2]
    assert [settings[0]["dropout"]] * 2 == [of_trial["dropout"] for of_trial in settings[:2]]


@pytest.mark.parametrize(
    ("asked", "least", "most", "median"),
    [
        ({"min": 1e-4, "max": 1e-2, "scale": "log"}, 1e-4, 1e-2, 1e-3),
        ({"min": 1e-4, "max": 1e-2}, 1e-4, 1e-2, 5e-3),
        ({"min": 0.5, "max": 0.5001}, 0.5, 0.5001, 0.50005),
    ],
)
def test_numbers_are_drawn_from_all_of_a_range(
    asked: dict[str, Any], least: float, most: float, median: float
) -> None:
    rates = sorted(of_trial["learning_rate"] for of_trial in drawn({"learning_rate": asked}, 400))
    assert least <= rates[0] < rates[-1] <= most
    below = sum(rate < median for rate in rates)
    assert 150 < below < 250
    written = TrainConfig(learning_rate=rates[3]).learning_rate
    assert written == float(repr(rates[3]))
    assert len(repr(rates[3])) <= 12


def test_whole_numbers_are_drawn_evenly_with_both_ends() -> None:
    sizes = {of_trial["batch_size"] for of_trial in drawn({"batch_size": {"min": 8, "max": 11}}, 4)}
    assert sizes == {8, 9, 10, 11}
    found = drawn({"batch_size": {"min": 1, "max": 1023, "scale": "log"}}, 40)
    small = sum(of_trial["batch_size"] < 32 for of_trial in found)
    assert 8 < small < 32
    assert all(isinstance(of_trial["batch_size"], int) for of_trial in found)
    # 0 and 1 are whole numbers, a share of units isn't.
    shares = drawn({"dropout": {"min": 0, "max": 0.9}, "weight_decay": {"min": 1, "max": 2}}, 20)
    assert all(isinstance(of_trial["weight_decay"], float) for of_trial in shares)
    assert len({of_trial["weight_decay"] for of_trial in shares}) > 10


def test_a_range_counts_its_values() -> None:
    assert Range(8, 11, False).n_values == 4
    assert Range(0.1, 0.2, False).n_values == 1000


def test_parameters_of_a_model_are_swept_by_name() -> None:
    for swept in ({"model_params": {"k": [1, 2]}}, {"model_params.k": [1, 2]}):
        first, second = sweep_space(swept, None).settings(0)
        assert (first, second) == ({"model_params.k": 1}, {"model_params.k": 2})
        config = with_settings(TrainConfig(model_params={"k": 9, "units": 3}), second)
        assert config.model_params == {"k": 2, "units": 3}
    whole = sweep_space({"model_params": [{"k": 1}, {"k": 2}]}, None).settings(0)
    assert with_settings(TrainConfig(), whole[1]).model_params == {"k": 2}


REFUSED: dict[str, tuple[dict[str, Any], int | None, tuple[str, ...]]] = {
    "nothing": ({}, None, ("nothing to sweep", "sweep.dropout = [0.1, 0.3]")),
    "unknown key": ({"dropuot": [0]}, None, ("sweep.dropuot: unknown key", "'dropout'?")),
    "a value": ({"dropout": 0.1}, None, ("sweep.dropout: expected a list of values, found 0.1",)),
    "empty": ({"dropout": []}, None, ("sweep.dropout: expected a list of values",)),
    "wrong value": (
        {"dropout": [0, 0.5, 1]},
        None,
        ("sweep.dropout: value 3 of 3: expected a number from 0 to below 1, found 1",),
    ),
    "two faults": ({"dropout": [2], "epochs": [0]}, None, ("sweep.dropout", "sweep.epochs")),
    "twice": ({"dropout": [0, 0.5, 0.0]}, None, ("value 3 of 3: 0.0 comes twice",)),
    "no list of lists": (
        {"hidden": [128, 64]},
        None,
        ("sweep.hidden: value 1 of 2", "found 128; write a list of lists: [[128, 64]]"),
    ),
    "eras": ({"validation_eras": [4, 8]}, None, ("can't be swept", "same eras")),
    "range without draws": ({"dropout": {"min": 0.1, "max": 0.2}}, None, ("set sweep_runs",)),
    "range of names": ({"loss": {"min": 1, "max": 2}}, 2, ("sweep.loss: ",)),
    "range without an end": ({"dropout": {"min": 0.1}}, 2, ("found max = None",)),
    "range of text": ({"dropout": {"min": "a", "max": 1}}, 2, ("found min = 'a'",)),
    "range reversed": ({"dropout": {"min": 0.2, "max": 0.1}}, 2, ("min below max",)),
    "range with a wrong end": ({"dropout": {"min": 0.2, "max": 1.5}}, 2, ("found 1.5",)),
    "range of another key": ({"dropout": {"min": 0.2, "most": 1}}, 2, ("found the key 'most'",)),
    "logarithm of 0": (
        {"dropout": {"min": 0, "max": 0.5, "scale": "log"}},
        2,
        ("expected min above 0",),
    ),
    "another scale": (
        {"dropout": {"min": 0, "max": 0.5, "scale": "ln"}},
        2,
        ('"linear" or "log"',),
    ),
    "range of seeds": ({"seed": {"min": 0, "max": 5}}, 2, ("sweep.seed: expected a list",)),
    "no draws": ({"dropout": [0, 0.1]}, 0, ("sweep_runs: expected a whole number, 1 to 10000",)),
    "too many draws": ({"dropout": [0, 0.1]}, 3, ("at most 2", "found 3")),
    "too many trials": (
        {"epochs": list(range(1, 200)), "batch_size": list(range(1, 200))},
        None,
        ("39,601 trials, expected at most 10,000",),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_swept_is_refused_in_one_line(case: str) -> None:
    swept, n_runs, said = REFUSED[case]
    with refused(ConfigError, *said):
        sweep_space(swept, n_runs)


def test_drawing_all_of_many_combinations_ends() -> None:
    swept = {"epochs": list(range(1, 41)), "batch_size": list(range(1, 26))}
    assert len({math.prod(d.values()) + d["epochs"] * 10**6 for d in drawn(swept, 1000)}) == 1000
