"""Tests of what is said about shuffling: predictions beside simulations, and what is chosen."""

from math import ceil

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memmap_train.loading.shuffle_quality import (
    MAX_INFLATION,
    WindowChoice,
    choose_windows,
    pool_for_window,
    shuffling_of,
)
from memmap_train.loading.window_sampler import WindowSampler


def make_order(
    eras: int, rows: int, batch_size: int, window_size: int, pool_batches: int, seed: int = 3
) -> WindowSampler:
    """Return the order of eras of very different sizes."""
    rows_per_era = np.random.default_rng(0).integers(rows // 2, 3 * rows // 2, eras)
    return WindowSampler(
        rows_per_era,
        batch_size=batch_size,
        window_size=window_size,
        pool_batches=pool_batches,
        drop_remainder=True,
        seed=seed,
    )


def batches_of_eras(order: WindowSampler, epochs: int) -> npt.NDArray[np.int64]:
    """Return how many rows of each era are in each batch: shape (batches, eras)."""
    found = []
    for epoch in range(epochs):
        for number in range(order.pools_per_epoch):
            pool = order.pool(epoch, number)
            eras = np.empty(pool.n_rows, np.int64)
            eras[pool.places] = np.repeat(pool.eras, pool.lengths)
            found += [
                np.bincount(batch, minlength=len(order.rows_per_era))
                for batch in eras.reshape(-1, order.batch_size)
            ]
    return np.array(found)


SHAPES = {
    "single rows": (60, 400, 256, 1, 8, 4),
    "small windows": (60, 400, 256, 16, 8, 8),
    "windows, small pools": (60, 400, 256, 64, 2, 8),
    "large pools": (60, 400, 256, 64, 40, 8),
    "windows larger than batches": (30, 600, 100, 300, 5, 10),
    "windows larger than pools": (30, 600, 100, 500, 2, 10),
    "whole eras": (30, 600, 256, 10_000, 6, 30),
    "one pool": (30, 600, 256, 500, 1000, 8),
    "short eras": (300, 7, 64, 5, 4, 20),
    "few eras": (2, 3000, 64, 30, 8, 6),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_predictions_agree_with_what_the_order_does(shape: str) -> None:
    *numbers, epochs = SHAPES[shape]
    order = make_order(*numbers)
    counts = batches_of_eras(order, epochs)
    predicted = shuffling_of(order)
    size = order.batch_size
    rates = (counts * (counts - 1)).sum(axis=1) / (size * (size - 1))
    noise = 5 * rates.std() / np.sqrt(len(rates)) + 0.004 * rates.mean()
    assert predicted.same_era_rate == pytest.approx(rates.mean(), abs=noise)
    eras = (counts > 0).sum(axis=1)
    assert predicted.eras_per_batch == pytest.approx(eras.mean(), rel=0.03)
    assert predicted.eras_per_batch <= predicted.ideal_eras_per_batch * 1.005


@pytest.mark.parametrize("shape", ["single rows", "windows, small pools", "large pools"])
def test_the_inflation_of_variance_is_that_of_a_simulated_gradient(shape: str) -> None:
    """Gradients with a part common to an era, averaged over batches: their variance is compared."""
    correlation = 0.05
    *numbers, _ = SHAPES[shape]
    order = make_order(*numbers)
    counts = batches_of_eras(order, 3)
    shares = counts / order.batch_size
    rows = np.array(order.rows_per_era) / order.n_rows
    noise = (1 - correlation) / order.batch_size

    def variance(of_eras: npt.NDArray[np.float64]) -> float:
        return noise + correlation * float(((of_eras - rows) ** 2).sum(axis=1).mean())

    # A global shuffle of the same rows.
    ideal = WindowSampler(
        order.rows_per_era,
        batch_size=order.batch_size,
        window_size=1,
        pool_batches=10**6,
        drop_remainder=True,
        seed=1,
    )
    beside = variance(batches_of_eras(ideal, 3) / order.batch_size)
    predicted = shuffling_of(order).inflation(correlation)
    assert variance(shares) / beside == pytest.approx(predicted, rel=0.05)
    assert (predicted > 1.2) == (shape == "windows, small pools")


def test_a_global_shuffle_is_ideal() -> None:
    order = make_order(60, 400, 256, 1, 8)
    shuffling = shuffling_of(order)
    assert shuffling.same_era_rate == pytest.approx(shuffling.ideal_same_era_rate, rel=1e-9)
    assert shuffling.inflation() == pytest.approx(1, abs=1e-6)


def test_a_single_row_has_no_pairs() -> None:
    order = WindowSampler(
        [1], batch_size=1, window_size=1, pool_batches=1, drop_remainder=True, seed=0
    )
    shuffling = shuffling_of(order)
    assert (shuffling.same_era_rate, shuffling.eras_per_batch) == (0, 1)
    assert shuffling.inflation() == 1


# -- the choice -----------------------------------------------------------------------------------

datasets = st.tuples(
    st.lists(st.integers(1, 9000), min_size=1, max_size=40),
    st.integers(1, 5000),  # batch size
    st.integers(1, 20_000),  # bytes of a row
    st.integers(0, 34),  # log2 of the memory
    st.sampled_from([0.001, 0.05, 0.5]),
)


def choose(
    rows: list[int], batch_size: int, row_bytes: int, memory: int, max_inflation: float
) -> WindowChoice:
    return choose_windows(
        rows,
        batch_size=batch_size,
        row_bytes=row_bytes,
        buffered_row_bytes=row_bytes,
        memory=memory,
        max_inflation=max_inflation,
    )


@given(datasets)
def test_what_is_chosen_stays_below_the_ceiling_and_within_memory(
    dataset: tuple[list[int], int, int, int, float],
) -> None:
    rows, batch_size, row_bytes, log_memory, max_inflation = dataset
    batch_size = min(batch_size, sum(rows))
    memory = 2**log_memory
    choice = choose(rows, batch_size, row_bytes, memory, max_inflation)
    assert 1 <= choice.window_size <= max(rows)
    order = WindowSampler(
        rows,
        batch_size=batch_size,
        window_size=choice.window_size,
        pool_batches=choice.pool_batches,
        drop_remainder=True,
        seed=0,
    )
    pool = max(map(order.pool_rows, range(order.pools_per_epoch)))
    least = 2 * batch_size
    assert pool <= max(least, memory // (2 * row_bytes))
    if len(rows) > 1:  # otherwise all pairs are of one era
        assert shuffling_of(order).inflation() <= 1 + max_inflation * 1.01 + 1e-9


def test_much_memory_gives_windows_of_full_speed_and_little_gives_smaller_ones() -> None:
    rows = [4200] * 574
    windows = [choose(rows, 4096, 4200, memory, 0.05) for memory in (10**7, 10**8, 10**10)]
    assert [choice.window_size for choice in windows] == [11, 11, 63]
    assert [choice.pool_batches for choice in windows] == [2, 2, 14]
    small, _, large = ("; ".join(choice.reasons) for choice in windows)
    assert "as large as 10.0 MB of memory" in small
    assert "window: 262.1 kB" in large
    assert "less than 5%" in large


def test_an_epoch_is_cut_into_no_more_pools_than_windows_need() -> None:
    """24 batches in pools of at most 13 would be pools of 12: too small for these windows."""
    choice = choose([4200] * 24, 4096, 4200, 10**10, 0.05)
    assert ceil(24 / choice.pool_batches) == 1
    assert "pool: a whole epoch" in choice.reasons


def test_a_ceiling_of_none_at_all_gives_a_global_shuffle() -> None:
    assert choose([4200] * 574, 4096, 4200, 10**10, 0.0).window_size == 1


def test_a_pool_that_is_given_bounds_the_window() -> None:
    """588 batches in pools of at most 10 are 59 pools, some of them of 9."""
    choice = choose_windows(
        [4200] * 574,
        batch_size=4096,
        row_bytes=100,
        buffered_row_bytes=100,
        memory=10**10,
        pool_batches=10,
    )
    assert (choice.window_size, choice.pool_batches) == (46, 10)
    assert "window: as large as a pool of this size mixes" in choice.reasons[0]
    assert choice.reasons[1] == "pool: as asked for"


@pytest.mark.parametrize("window_size", [1, 41, 64, 1000])
def test_the_pool_of_a_given_window_keeps_inflation_below_the_ceiling(window_size: int) -> None:
    order = make_order(300, 4200, 1024, window_size, pool_for_window(window_size))
    assert shuffling_of(order).inflation() <= 1 + MAX_INFLATION * 1.05
