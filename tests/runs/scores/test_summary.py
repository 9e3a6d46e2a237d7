"""Tests of summaries of many eras' scores, and of the names that they have in files."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from numerai_tools import scoring

from memmap_train.runs.scores.monitor import FURTHER_SCORES, MONITORS, further_score
from memmap_train.runs.scores.score_files import HISTORY_COLUMNS, history_columns
from memmap_train.runs.scores.summary import Summary, history_scores, result_scores, summary


def test_a_summary_equals_what_numerais_notebook_computes() -> None:
    scores = pd.Series(np.random.default_rng([3]).normal(0.01, 0.03, size=200))
    total = scores.cumsum()
    found = summary(scores.to_numpy())
    assert found.mean == pytest.approx(scores.mean())
    assert found.std == pytest.approx(scores.std(ddof=0))
    assert found.sharpe == pytest.approx(scoring.sharpe_ratio(scores))
    assert found.max_drawdown == pytest.approx((total.expanding(min_periods=1).max() - total).max())
    assert found.max_drawdown > 0
    assert found.n_eras == 200


def test_eras_without_a_score_are_left_out_of_a_summary() -> None:
    scores = [0.02, math.nan, -0.01, 0.03, math.nan]
    assert summary(scores) == summary([0.02, -0.01, 0.03])
    assert summary(scores).n_eras == 3


@pytest.mark.parametrize("scores", [[], [math.nan, math.nan]])
def test_a_summary_of_nothing_is_nan(scores: list[float]) -> None:
    found = summary(scores)
    assert found.n_eras == 0
    numbers = dataclasses.asdict(found)
    del numbers["n_eras"]
    assert all(math.isnan(value) for value in numbers.values())


def test_a_loss_in_the_first_era_is_no_drawdown() -> None:
    assert summary([-0.5, 0.25]).max_drawdown == 0
    assert summary([0.25, -0.5]).max_drawdown == 0.5


def test_a_drawdown_is_measured_from_the_highest_sum_so_far() -> None:
    assert summary([1, -0.25, 0.125, -0.5, 4, -0.5]).max_drawdown == 0.625


def test_an_era_with_zero_correlation_is_not_positive() -> None:
    assert summary([0.5, 0, -0.5, math.nan, 0.25]).positive == 0.5
    assert summary([-0.5]).positive == 0


@pytest.mark.parametrize("scores", [[0.25], [0.1, 0.1, 0.1]])
def test_equal_scores_have_no_sharpe_ratio(scores: list[float]) -> None:
    found = summary(scores)
    assert math.isnan(found.sharpe)
    assert found.mean == pytest.approx(scores[0])
    without = dataclasses.replace(found, sharpe=0.0)  # NaN equals nothing
    assert without == Summary(found.mean, 0.0, 0.0, 0.0, 1.0, len(scores))


def test_scores_have_the_names_of_columns_and_of_keys() -> None:
    corr = Summary(mean=1.0, std=2.0, sharpe=3.0, max_drawdown=4.0, positive=5.0, n_eras=6)
    pearson = dataclasses.replace(corr, mean=7.0)
    scores = history_scores(corr, pearson)
    assert {*scores, "loss"} == {name for name in MONITORS if further_score(name) is None}
    assert [name for name in HISTORY_COLUMNS if name.startswith("val_")] == list(scores)
    assert result_scores(corr, pearson) == {
        "corr_mean": 1.0,
        "corr_std": 2.0,
        "corr_sharpe": 3.0,
        "max_drawdown": 4.0,
        "corr_positive": 5.0,
        "pearson_mean": 7.0,
    }


@pytest.mark.parametrize("name", FURTHER_SCORES)
def test_a_further_score_has_columns_of_its_own_and_keys_of_the_same_names(name: str) -> None:
    corr = Summary(mean=1.0, std=2.0, sharpe=3.0, max_drawdown=4.0, positive=5.0, n_eras=6)
    further = {name: dataclasses.replace(corr, mean=8.0)}
    expected = {"mean": 8.0, "std": 2.0, "sharpe": 3.0, "max_drawdown": 4.0, "positive": 5.0}
    scores = history_scores(corr, corr, further)
    added = {column: scores[column] for column in scores.keys() - history_scores(corr, corr).keys()}
    assert added == {f"val_{name}_{key}": value for key, value in expected.items()}
    assert set(added) == {column for column in MONITORS if further_score(column) == name}
    columns = history_columns(f"val_{name}_std")
    assert [column for column in columns if column.startswith("val_")] == list(scores)
    assert tuple(column for column in columns if column not in added) == HISTORY_COLUMNS
    assert result_scores(corr, corr, further) == result_scores(corr, corr) | {
        f"{name}_{key}": value for key, value in expected.items()
    }
