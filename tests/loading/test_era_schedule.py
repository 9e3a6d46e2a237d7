"""Tests of the plan of eras: how often each one comes, and which ones meet."""

from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memmap_train.loading.era_schedule import EraSchedule

Ints = npt.NDArray[np.int64]


def make(weights: list[float], n_steps: int, n_eras: int, seed: int = 5) -> EraSchedule:
    return EraSchedule(
        np.array(weights, np.float64),
        steps_per_epoch=n_steps,
        eras_per_batch=n_eras,
        n_blocks=n_steps * n_eras,
        seed=seed,
    )


@st.composite
def schedules(draw: st.DrawFn) -> tuple[list[float], int, int, int]:
    """Draw weights of which none is above its share of a batch, steps, eras of a batch, a seed."""
    n_eras = draw(st.integers(1, 5))
    size = st.one_of(st.just(0.0), st.floats(1e-6, 1e6), st.integers(1, 9).map(float))
    others = draw(st.lists(size, max_size=12))
    most = max([*others, 1.0])
    weights = draw(st.permutations([*others, *[most] * n_eras]))  # no share is above 1 / n_eras
    return list(weights), draw(st.integers(1, 30)), n_eras, draw(st.integers(0, 2**70))


@given(schedules(), st.integers(0, 2**70))
def test_eras_of_a_batch_are_different_and_as_many_as_planned(
    case: tuple[list[float], int, int, int], epoch: int
) -> None:
    weights, n_steps, n_eras, seed = case
    schedule = make(weights, n_steps, n_eras, seed)
    blocks, eras = schedule.blocks(epoch), schedule.eras(epoch)
    assert np.bincount(eras, minlength=len(weights)).tolist() == blocks.tolist()
    assert all(len(set(batch)) == n_eras for batch in eras.reshape(n_steps, n_eras).tolist())


@given(schedules(), st.integers(0, 2**70))
def test_blocks_are_quotas_rounded_down_or_up(
    case: tuple[list[float], int, int, int], epoch: int
) -> None:
    weights, n_steps, n_eras, seed = case
    schedule = make(weights, n_steps, n_eras, seed)
    quotas = n_steps * n_eras * np.array(weights) / np.sum(weights)
    np.testing.assert_allclose(schedule.quotas, quotas, rtol=1e-6, atol=1e-9)
    blocks = schedule.blocks(epoch)
    assert blocks.sum() == n_steps * n_eras
    assert (blocks >= np.floor(quotas - 1e-6)).all()
    assert (blocks <= np.ceil(quotas + 1e-6)).all()


def test_over_many_epochs_no_era_is_far_from_its_quota() -> None:
    """By chance alone some era would be 40 blocks away."""
    random = np.random.default_rng(0)
    farthest = 0.0
    for seed in range(5):
        weights = random.exponential(size=60) + 0.02
        schedule = make(weights.tolist(), 20, 3, seed)
        found = np.cumsum([schedule.blocks(epoch) for epoch in range(1_000)], axis=0)
        expected = np.outer(np.arange(1, 1_001), schedule.quotas)
        farthest = max(farthest, float(np.abs(found - expected).max()))
    assert 0.5 < farthest < 4


def test_over_all_seeds_the_mean_is_the_quota() -> None:
    weights = [3.0, 0.5, 1.7, 2.2, 0.1, 2.0]
    found = np.array([make(weights, 3, 2, seed).blocks(4) for seed in range(4_000)])
    quotas = 6 * np.array(weights) / sum(weights)
    error = np.sqrt(0.25 / len(found))  # of a mean of numbers that are rounded down or up
    assert np.abs(found.mean(axis=0) - quotas).max() < 4 * error
    assert len(np.unique(found, axis=0)) > 3


def test_an_era_with_a_small_weight_comes_regularly() -> None:
    schedule = make([1.0] * 9 + [0.1], 9, 1)
    epochs = np.flatnonzero([schedule.blocks(epoch)[-1] for epoch in range(300)])
    distances = np.diff(epochs)
    assert distances.mean() == pytest.approx(9.1 / 0.9, rel=0.1)
    assert distances.max() <= 2 * distances.mean()


def test_an_era_without_weight_never_comes() -> None:
    schedule = make([1, 0, 2, 0, 1], 5, 2)
    assert all(not schedule.blocks(epoch)[[1, 3]].any() for epoch in range(50))
    assert set(schedule.eras(0).tolist()) == {0, 2, 4}


@pytest.mark.parametrize("weights", [[2.0] * 12, [2.0] * 6 + [1.0] * 6])
def test_any_two_eras_meet_as_often_as_by_chance(weights: list[float]) -> None:
    """Rows of a batch are drawn apart from each other: eras don't stay together."""
    n_steps, n_eras, n_epochs = 12, 3, 300
    schedule = make(weights, n_steps, n_eras)
    together: Counter[tuple[int, int]] = Counter()
    for epoch in range(n_epochs):
        for batch in schedule.eras(epoch).reshape(n_steps, n_eras).tolist():
            together.update(combinations(sorted(batch), 2))
    for heavy in (True, False):
        found = [
            together[pair]
            for pair in combinations(range(12), 2)
            if all((weights[era] == 2.0) is heavy for era in pair)
        ]
        if found:
            assert np.std(found) < 3 * np.sqrt(np.mean(found))
            assert max(found) < 1.6 * np.mean(found)


def test_the_blocks_of_an_era_are_spread_over_the_epoch() -> None:
    eras = make([1.0] * 10, 100, 2).eras(0).reshape(100, 2)
    first_half = np.bincount(eras[:50].ravel(), minlength=10)
    assert first_half.min() > 3
    assert first_half.max() < 17


def test_seeds_and_epochs_give_different_batches() -> None:
    found = {
        tuple(make([1.0] * 9, 6, 3, seed).eras(epoch).tolist())
        for seed in (0, 1, 2**32)
        for epoch in (0, 1, 2)
    }
    assert len(found) == 9
    again: Any = make([1.0] * 9, 6, 3, 1).eras(2)
    assert tuple(again.tolist()) in found


def test_a_short_last_batch_has_the_eras_that_are_left() -> None:
    schedule = EraSchedule(np.ones(7), steps_per_epoch=3, eras_per_batch=3, n_blocks=7, seed=0)
    for epoch in range(20):
        assert sorted(schedule.eras(epoch).tolist()) == list(range(7))
