import math
from dataclasses import astuple
from functools import cache

import numpy as np
import pandas as pd
import pytest
from numerai_tools import scoring
from numpy.typing import NDArray

from memmap_train.runs.folds.embargo import overlapping_eras
from memmap_train.runs.scores.statistics import (
    by_year,
    era_positions,
    paired_difference,
    score_statistics,
)

Floats = NDArray[np.float64]
N_SIMULATIONS = 500


def overlapping_scores(generator: np.random.Generator, n_eras: int, overlap: int) -> Floats:
    """Return scores with mean 0, each the sum of returns that the following eras share."""
    sums = np.cumsum(np.concatenate([[0.0], generator.normal(size=n_eras + overlap)]))
    scores: Floats = (sums[overlap + 1 :] - sums[: -overlap - 1]) / math.sqrt(overlap + 1)
    return scores


@cache
def simulated(n_eras: int, overlap: int, kept: str = "all") -> tuple[Floats, Floats]:
    """Return means and standard errors of simulated scores, of which some eras are kept."""
    generator = np.random.default_rng([n_eras, overlap])
    positions = {
        "all": np.arange(n_eras),
        "every fifth": np.arange(0, n_eras, 5),
        "two blocks": np.r_[0 : n_eras // 4, n_eras - n_eras // 4 : n_eras],
    }[kept]
    found = [
        score_statistics(
            overlapping_scores(generator, n_eras, overlap)[positions], overlap, positions
        )
        for _ in range(N_SIMULATIONS)
    ]
    return np.array([f.mean for f in found]), np.array([f.standard_error for f in found])


@pytest.mark.parametrize("overlap", [0, 4, 12])
@pytest.mark.parametrize("n_eras", [50, 200, 650])
def test_the_mean_lies_within_two_standard_errors_in_95_of_100_simulations(
    n_eras: int, overlap: int
) -> None:
    means, errors = simulated(n_eras, overlap)
    coverage = np.mean(np.abs(means) < 1.96 * errors)
    assert 0.92 <= coverage <= 0.98  # three times the simulation's own error around 0.95


@pytest.mark.parametrize(("n_eras", "overlap"), [(200, 0), (200, 4), (650, 4), (650, 12)])
def test_the_standard_error_is_the_spread_of_simulated_means(n_eras: int, overlap: int) -> None:
    means, errors = simulated(n_eras, overlap)
    assert 0.9 < errors.mean() / means.std() < 1.15


def test_the_simulated_scores_need_it() -> None:
    """Without regard to the overlap the error is less than half of what it should be."""
    generator = np.random.default_rng([1])
    scores = np.array([overlapping_scores(generator, 200, 4) for _ in range(N_SIMULATIONS)])
    naive = scores.std(axis=1, ddof=1) / math.sqrt(200)
    assert np.mean(np.abs(scores.mean(axis=1)) < 1.96 * naive) < 0.7


@pytest.mark.parametrize("kept", ["every fifth", "two blocks"])
def test_eras_with_others_between_them_arent_neighbours(kept: str) -> None:
    means, errors = simulated(400, 4, kept)
    assert 0.92 <= np.mean(np.abs(means) < 1.96 * errors) <= 0.98
    assert 0.9 < errors.mean() / means.std() < 1.2


def test_absent_eras_and_eras_without_a_score_are_the_same() -> None:
    scores = overlapping_scores(np.random.default_rng([2]), 100, 4)
    scores[[3, 50, 51, 52]] = math.nan
    known = ~np.isnan(scores)
    absent = score_statistics(scores[known], 4, np.flatnonzero(known))
    assert score_statistics(scores, 4) == absent
    adjacent = score_statistics(scores[known], 4)
    assert adjacent.standard_error != absent.standard_error
    assert adjacent.autocorrelation != absent.autocorrelation
    assert adjacent.n_eras == absent.n_eras == 96


def test_the_numbers_equal_those_of_pandas_and_numerai_tools() -> None:
    scores = pd.Series(overlapping_scores(np.random.default_rng([3]), 100, 4) + 0.1)
    found = score_statistics(scores.to_numpy(), 4)
    total = scores.cumsum()
    assert found.mean == pytest.approx(scores.mean())
    assert found.std == pytest.approx(scores.std(ddof=0))
    assert found.sharpe == pytest.approx(scoring.sharpe_ratio(scores))
    assert found.max_drawdown == pytest.approx((total.cummax() - total).max())
    assert found.positive == (scores > 0).mean()
    assert found.autocorrelation == pytest.approx(scores.autocorr())
    assert found.autocorrelation > 0.5


def test_the_difference_of_two_models_is_more_certain_than_either() -> None:
    generator = np.random.default_rng([4])
    common = overlapping_scores(generator, 200, 4)
    first = common + 0.1 * overlapping_scores(generator, 200, 4) + 0.2
    second = common + 0.1 * overlapping_scores(generator, 200, 4)
    first[:20], second[-20:] = math.nan, math.nan
    found = paired_difference(first, second, 4)
    assert found.n_eras == 160
    assert found.mean == pytest.approx(np.nanmean(first - second))
    assert found.mean > 4 * found.standard_error
    assert found.standard_error < score_statistics(first, 4).standard_error / 3


def test_few_scores_and_equal_scores_have_statistics_as_far_as_these_are_defined() -> None:
    nothing = astuple(score_statistics([math.nan], 4))
    assert nothing[-1] == 0
    assert np.isnan(nothing[:-1]).all()
    one = score_statistics([0.5], 4)
    assert (one.mean, one.std, one.max_drawdown, one.positive, one.n_eras) == (0.5, 0, 0, 1, 1)
    assert math.isnan(one.standard_error)
    assert score_statistics([0.5, 0.7], 12).standard_error > 0.1
    equal = score_statistics([0.1] * 30, 4)
    assert equal.standard_error == pytest.approx(0, abs=1e-15)
    assert math.isnan(equal.sharpe)
    assert math.isnan(equal.autocorrelation)


def test_the_overlap_follows_from_the_targets_name() -> None:
    eras = [f"{number:04}" for number in range(1, 30)]
    assert overlapping_eras(eras, "target_cyrusd_20") == 4
    assert overlapping_eras(eras, "target_cyrusd_60") == 12
    assert overlapping_eras(eras, "target", {"target": "target_ender_20"}) == 4
    assert overlapping_eras(eras, "target") == 12  # unknown: the longest of Numerai's
    months = [f"2024-{month:02}-01" for month in range(1, 13)]
    assert overlapping_eras(months, "target_x_20") == 0


def test_positions_are_era_numbers_or_weeks_or_places_in_the_dataset() -> None:
    assert era_positions(["era3", "era7"], ["era3", "era7"]).tolist() == [3, 7]
    weeks = ["2024-01-05", "2024-01-12", "2024-01-26"]
    assert np.diff(era_positions(weeks, weeks)).tolist() == [1, 2]
    days = ["2024-01-05", "2024-01-08", "2024-01-09"]
    assert era_positions(days[::2], days).tolist() == [0, 2]
    assert era_positions(["X"], ["0001", "X"]).tolist() == [1]
    assert era_positions([], []).tolist() == []


def test_years_are_of_52_eras_or_of_the_calendar() -> None:
    eras = [f"{number:04}" for number in range(50, 160)]
    years = by_year(eras)
    assert [name for name, _ in years] == ["0050-0052", "0053-0104", "0105-0156", "0157-0159"]
    assert [eras[part][0] for _, part in years] == ["0050", "0053", "0105", "0157"]
    assert sum(part.stop - part.start for _, part in years) == len(eras)
    assert by_year(["2023-12-29", "20240105"]) == [("2023", slice(0, 1)), ("2024", slice(1, 2))]
    assert by_year(["a", "b"]) == [("a-b", slice(0, 2))]
    assert by_year([]) == []
