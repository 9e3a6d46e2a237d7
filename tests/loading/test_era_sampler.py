"""Tests of batches of eras: which rows make up which batch, with rows as integers only."""

import hashlib
import pickle
import tracemalloc
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memmap_train.errors import BatchError
from memmap_train.loading.era_sampler import ERA_ORDER_VERSION, EraSampler
from memmap_train.loading.sampler import Pool
from tests.support.errors import refused

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

ROWS = [40, 11, 33, 25, 18, 60, 12]
OPTIONS: dict[str, Any] = {
    "eras_per_batch": 3,
    "rows_per_era": 7,
    "weights": ROWS,
    "window_size": 4,
    "pool_batches": 3,
    "drop_remainder": True,
    "seed": 11,
}
GOLDEN = "e394b79025219f5971e13a69cb585a3c331990adfd763e8c1b8ee44b8465d715"


def make(rows: list[int], **options: Any) -> EraSampler:
    given = {**OPTIONS, **options}
    given["weights"] = np.array(given["weights"], np.float64)
    return EraSampler({f"{number:04}": n for number, n in enumerate(rows, start=1)}, **given)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[int], dict[str, Any]]:
    """Draw rows per era and options: blocks of a row and of whole eras, windows of all lengths."""
    rows = draw(st.lists(st.integers(1, 30), min_size=1, max_size=12))
    n_eras = draw(st.integers(1, len(rows)))
    rows_per_era = draw(st.just(0) | st.integers(1, min(rows)))
    # So that no era has a larger share than a batch has of it.
    equal = [1.0] * len(rows)
    possible = [equal, [1.0 if i < n_eras else 0.3 for i in range(len(rows))]]
    if max(rows) * n_eras <= sum(rows):
        possible.append([float(n) for n in rows])
    weights = draw(st.sampled_from(possible))
    is_equal = weights == equal
    return rows, {
        "eras_per_batch": n_eras,
        "rows_per_era": rows_per_era,
        "weights": weights,
        "window_size": draw(st.integers(1, 40)),
        "pool_batches": draw(st.integers(1, 9)),
        "drop_remainder": draw(st.booleans()) if is_equal and not rows_per_era else True,
        "seed": draw(st.integers(0, 2**40)),
    }


def filled(pool: Pool, rows: list[int]) -> tuple[Ints, Mask]:
    """Return a pool's buffer with each row as a number over all eras, and which are padding."""
    first_of_era = np.cumsum([0, *rows])
    windows = [
        first_of_era[era] + np.arange(start, start + length)
        for era, start, length in zip(pool.eras, pool.starts, pool.lengths, strict=True)
    ]
    numbers, is_padding = np.full(pool.n_rows, -1), np.zeros(pool.n_rows, np.bool_)
    numbers[pool.places] = np.concatenate(windows)
    if pool.padding is not None:
        is_padding[pool.places] = np.repeat(pool.padding, pool.lengths)
    return numbers, is_padding


def batch(sampler: EraSampler, rows: list[int], step: int) -> tuple[Ints, Mask]:
    """Return the rows of a step's batch, and which are padding, of shape (eras, rows of each)."""
    place = sampler.locate(step)
    numbers, is_padding = filled(sampler.pool(place.epoch, place.pool), rows)
    shape = (-1, sampler.block_rows)
    some = slice(place.low, place.high)
    return numbers[some].reshape(shape), is_padding[some].reshape(shape)


def epoch(sampler: EraSampler, rows: list[int], number: int = 0) -> list[tuple[Ints, Mask]]:
    first = number * sampler.steps_per_epoch
    return [batch(sampler, rows, first + step) for step in range(sampler.steps_per_epoch)]


def eras_of(numbers: Ints, rows: list[int]) -> Ints:
    return np.searchsorted(np.cumsum(rows), numbers, side="right")


# -- batches --------------------------------------------------------------------------------------


@given(cases(), st.integers(0, 3))
def test_a_batch_has_blocks_of_different_rows_of_different_eras(
    case: tuple[list[int], Any], number: int
) -> None:
    rows, options = case
    sampler = make(rows, **options)
    labels = list(sampler.eras)
    for step, (blocks, is_padding) in enumerate(epoch(sampler, rows, number)):
        eras = eras_of(blocks, rows)
        assert (eras == eras[:, :1]).all()
        assert len(set(eras[:, 0].tolist())) == len(blocks)
        found = sampler.eras_of(number * sampler.steps_per_epoch + step)
        assert found == tuple(labels[era] for era in eras[:, 0])
        for block, padded in zip(blocks, is_padding, strict=True):
            assert len(np.unique(block[~padded])) == (~padded).sum()


@given(cases(), st.integers(0, 3))
def test_batches_are_full(case: tuple[list[int], Any], number: int) -> None:
    rows, options = case
    sampler = make(rows, **options)
    n_eras, n_rows = sampler.eras_per_batch, sampler.rows_per_era or max(rows)
    shapes = [blocks.shape for blocks, _ in epoch(sampler, rows, number)]
    whole = shapes if options["drop_remainder"] else shapes[:-1]
    assert set(whole) <= {(n_eras, n_rows)}
    assert sampler.batch_size == n_eras * n_rows
    if not options["drop_remainder"]:
        assert shapes[-1] == ((len(rows) - 1) % n_eras + 1, n_rows)


@given(cases(), st.integers(0, 3))
def test_rows_of_an_era_come_equally_often_up_to_one_time(
    case: tuple[list[int], Any], number: int
) -> None:
    rows, options = case
    sampler = make(rows, **options)
    counts = np.zeros(sum(rows), np.int64)
    for blocks, is_padding in epoch(sampler, rows, number):
        np.add.at(counts, blocks[~is_padding], 1)
    for of_era in np.split(counts, np.cumsum(rows)[:-1]):
        assert np.ptp(of_era) <= (1 if sampler.rows_per_era else 0)


@given(cases())
def test_an_epoch_has_as_many_rows_as_the_dataset_less_a_part_of_a_batch(
    case: tuple[list[int], Any],
) -> None:
    rows, options = case
    sampler = make(rows, **options)
    if sampler.rows_per_era:
        assert sampler.steps_per_epoch == sum(rows) // sampler.batch_size
    elif options["drop_remainder"]:
        assert sampler.steps_per_epoch == len(rows) // sampler.eras_per_batch
    else:
        assert sampler.steps_per_epoch == ceil(len(rows) / sampler.eras_per_batch)
        real = [blocks[~is_padding] for blocks, is_padding in epoch(sampler, rows)]
        assert np.sort(np.concatenate(real)).tolist() == list(range(sum(rows)))


@given(cases())
def test_whole_eras_come_in_their_order_and_are_filled_up_with_themselves(
    case: tuple[list[int], Any],
) -> None:
    rows, options = case
    sampler = make(rows, **{**options, "rows_per_era": 0, "weights": [1] * len(rows)})
    firsts = np.cumsum([0, *rows])
    for blocks, is_padding in epoch(sampler, rows):
        for block, padded in zip(blocks, is_padding, strict=True):
            era = int(eras_of(block[:1], rows)[0])
            positions = np.arange(max(rows))
            np.testing.assert_array_equal(block, firsts[era] + positions % rows[era])
            np.testing.assert_array_equal(padded, positions >= rows[era])


# -- how often rows come --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "window_size"), [([10, 7, 13, 9], 3), ([1, 1, 1, 1], 1), ([4, 1, 0.5, 3], 8)]
)
def test_in_expectation_rows_come_as_often_as_their_era_is_due(
    weights: list[float], window_size: int
) -> None:
    """The mean over seeds; with weights by rows it is the same for all rows of all eras."""
    rows, n_seeds = [10, 7, 13, 9], 2_000
    counts = np.zeros(sum(rows))
    for seed in range(n_seeds):
        sampler = make(
            rows,
            weights=weights,
            eras_per_batch=2,
            rows_per_era=5,
            window_size=window_size,
            pool_batches=9,
            seed=seed,
        )
        counts += np.bincount(filled(sampler.pool(1, 0), rows)[0], minlength=sum(rows))
    n_blocks = 6 * np.array(weights) / sum(weights)
    expected = np.repeat(n_blocks * 5 / rows, rows)
    np.testing.assert_allclose(sampler.blocks_per_epoch, n_blocks)
    assert np.abs(counts / n_seeds - expected).max() < 4.5 * np.sqrt(0.25 / n_seeds)
    if weights == rows:
        assert np.ptp(expected) < 1e-9


def test_the_rows_that_come_once_more_differ_between_epochs() -> None:
    sampler = make([20] * 3, weights=[1] * 3, rows_per_era=7, pool_batches=99)
    found = set()
    for number in range(20):
        counts = np.bincount(filled(sampler.pool(number, 0), [20] * 3)[0], minlength=60)
        assert counts.sum() == 2 * 21
        found.add(tuple(counts.tolist()))
    assert len(found) == 20


def test_heavier_eras_come_more_often() -> None:
    weights = [4, 1, 1, 1, 1, 1, 2]
    sampler = make([50] * 7, weights=weights, eras_per_batch=2, rows_per_era=10, pool_batches=99)
    blocks = np.zeros(7)
    for number in range(50):
        pool = sampler.pool(number, 0)
        blocks += np.bincount(pool.eras, pool.lengths, minlength=7)
    np.testing.assert_allclose(blocks / blocks.sum(), np.array(weights) / 11, atol=0.01)


# -- a function of seed and step ------------------------------------------------------------------


@given(cases(), st.lists(st.integers(0, 100), min_size=1, max_size=6))
def test_a_step_computed_alone_equals_the_same_step_in_sequence(
    case: tuple[list[int], Any], steps: list[int]
) -> None:
    rows, options = case
    sequence = make(rows, **options)
    in_sequence = [batch(sequence, rows, step)[0] for step in range(max(steps) + 1)]
    for step in steps:
        alone = batch(make(rows, **options), rows, step)[0]
        np.testing.assert_array_equal(alone, in_sequence[step])


@given(cases(), st.integers(1, 9), st.integers(0, 60))
def test_pools_have_no_influence_on_the_order(
    case: tuple[list[int], Any], pool_batches: int, step: int
) -> None:
    rows, options = case
    one, other = make(rows, **options), make(rows, **{**options, "pool_batches": pool_batches})
    np.testing.assert_array_equal(batch(one, rows, step)[0], batch(other, rows, step)[0])


@given(cases(), st.integers(0, 3))
def test_positions_cover_the_pools_exactly(case: tuple[list[int], Any], number: int) -> None:
    rows, options = case
    sampler = make(rows, **options)
    ends: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for step in range(sampler.steps_per_epoch):
        place = sampler.locate(number * sampler.steps_per_epoch + step)
        assert place.epoch == number
        assert place.low == ends.get(place.pool, 0)
        ends[place.pool] = place.high
        following = sampler.locate(place.next_pool_step)
        before = sampler.locate(place.next_pool_step - 1)
        assert following.low == 0
        assert (before.epoch, before.pool) == (place.epoch, place.pool)
        sizes[place.pool] = sizes.get(place.pool, 0) + 1
    assert ends == {pool: sampler.pool(number, pool).n_rows for pool in ends}
    assert max(ends.values()) == sampler.max_pool_rows
    assert max(sizes.values()) <= sampler.pool_batches
    assert max(sizes.values()) - min(sizes.values()) <= 1


@pytest.mark.parametrize("pool_batches", [1, 2, 3, 9])
@pytest.mark.parametrize("n_eras", [3, 5, 6, 7])
def test_a_short_last_batch_makes_its_pool_smaller(n_eras: int, pool_batches: int) -> None:
    rows = list(range(5, 5 + n_eras))
    options = {"eras_per_batch": 2, "rows_per_era": 0, "drop_remainder": False}
    sampler = make(rows, weights=[1] * n_eras, pool_batches=pool_batches, **options)
    steps = range(sampler.steps_per_epoch)
    sizes = {place.pool: place.high for place in map(sampler.locate, steps)}
    assert sum(sizes.values()) == n_eras * max(rows)
    assert sizes == {pool: sampler.pool(0, pool).n_rows for pool in sizes}
    assert sampler.max_pool_rows == max(sizes.values())


@given(cases(), st.data())
def test_windows_are_in_file_order_and_part_of_a_pool_is_a_slice_of_its_buffer(
    case: tuple[list[int], Any], data: st.DataObject
) -> None:
    rows, options = case
    sampler = make(rows, **options)
    place = sampler.locate(data.draw(st.integers(0, 2 * sampler.steps_per_epoch - 1)))
    pool = sampler.pool(place.epoch, place.pool)
    assert pool.lengths.min() >= 1
    assert pool.lengths.max() <= sampler.window_size
    assert (pool.starts >= 0).all()
    assert (pool.starts + pool.lengths <= np.array(rows)[pool.eras]).all()
    assert np.sort(pool.places).tolist() == list(range(pool.n_rows))
    windows = pool.eras.astype(np.int64) * 1000 + pool.starts // sampler.window_size
    assert (np.diff(windows) >= 0).all()
    low = data.draw(st.integers(0, pool.n_rows - 1))
    high = data.draw(st.integers(low + 1, pool.n_rows))
    for found, expected in zip(filled(pool.only(low, high), rows), filled(pool, rows), strict=True):
        np.testing.assert_array_equal(found, expected[low:high])


def test_windows_that_divide_a_block_are_read_whole() -> None:
    """Except where an era's rows end, and from the block on that goes through them again."""
    rows, n_pieces = [5_570 + era for era in range(40)], []
    for window_size in (128, 100):
        sampler = make(
            rows, weights=rows, rows_per_era=512, window_size=window_size, pool_batches=999
        )
        pool = sampler.pool(3, 0)
        n_pieces.append(len(pool.lengths) / (sampler.steps_per_epoch * 3))
    assert n_pieces[0] < 4.4
    assert n_pieces[1] > 5.9


def test_padding_follows_the_window_whose_rows_it_repeats() -> None:
    """Then the reader has these rows already."""
    sampler = make([20, 3, 9], rows_per_era=0, weights=[1] * 3, window_size=4)
    pool = sampler.pool(0, 0)
    assert pool.padding is not None
    assert pool.padding.any()
    for window in np.flatnonzero(pool.padding).tolist():
        assert pool.eras[window - 1] == pool.eras[window]
        assert pool.starts[window - 1] == pool.starts[window]
        assert pool.lengths[window - 1] >= pool.lengths[window]
    assert make(ROWS).pool(0, 0).padding is None


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 12},
        {"seed": 11 + 2**32},
        {"rows_per_era": 8},
        {"window_size": 5},
        {"weights": [1] * 7},
    ],
)
def test_another_argument_gives_another_order(change: dict[str, Any]) -> None:
    one, other = (
        np.concatenate([blocks.ravel() for blocks, _ in epoch(sampler, ROWS)])
        for sampler in (make(ROWS), make(ROWS, **change))
    )
    assert one[:100].tolist() != other[:100].tolist()


def test_a_copy_in_another_process_has_the_same_order() -> None:
    sampler = make(ROWS)
    sampler.pool(3, 0)  # what was computed isn't sent
    data = pickle.dumps(sampler)
    assert len(data) < 2_000
    copy = pickle.loads(data)
    for step in (0, 5, 17):
        np.testing.assert_array_equal(batch(copy, ROWS, step)[0], batch(sampler, ROWS, step)[0])
        assert copy.eras_of(step) == sampler.eras_of(step)


def test_the_order_is_not_that_of_the_files() -> None:
    for window_size in (1, 4):
        blocks = np.concatenate([b for b, _ in epoch(make(ROWS, window_size=window_size), ROWS)])
        assert (np.diff(blocks, axis=1) == 1).mean() < (0.15 if window_size == 1 else 0.85)
        eras = eras_of(blocks[:, 0], ROWS)
        assert (np.diff(eras) >= 0).mean() < 0.7


def test_a_step_far_away_takes_no_longer() -> None:
    sampler = make(ROWS)
    step = 10**15
    assert len(sampler.eras_of(step)) == 3
    assert batch(sampler, ROWS, step)[0].shape == (3, 7)


def test_the_order_is_the_recorded_one() -> None:
    """Pins version 1: runs resume by it. A changed order needs a new ERA_ORDER_VERSION."""
    digest = hashlib.sha256()
    for rows_per_era, weights in ((7, ROWS), (5, [3, 1, 2, 1, 1, 2, 1]), (0, [1] * 7)):
        for window_size in (1, 4):
            options = {"rows_per_era": rows_per_era, "weights": weights}
            sampler = make(ROWS, window_size=window_size, **options)
            for step in range(2 * sampler.steps_per_epoch + 1):
                digest.update(batch(sampler, ROWS, step)[0].astype("<i8").tobytes())
    assert (ERA_ORDER_VERSION, digest.hexdigest()) == (1, GOLDEN)


def test_random_rows_of_seven_million_are_drawn_in_bounded_memory() -> None:
    rows = [5_700] * 1_232
    tracemalloc.start()
    try:
        options = {"eras_per_batch": 8, "rows_per_era": 512, "weights": rows}
        sampler = make(rows, window_size=1, pool_batches=8, **options)
        sampler.pool(0, 0)
        held, peak = tracemalloc.get_traced_memory()
        assert held < 2 * 4 * sum(rows) + 1_000_000  # windows and ends, int32
        assert peak < 5 * 4 * sum(rows)
        tracemalloc.reset_peak()
        pool = sampler.pool(0, 50)
        peak_of_a_pool = tracemalloc.get_traced_memory()[1] - held
    finally:
        tracemalloc.stop()
    assert len(np.unique(filled(pool, rows)[0])) > 0.99 * pool.n_rows
    assert peak_of_a_pool < 20 * 8 * pool.n_rows  # by the pool's rows, not by the dataset's


def test_the_plans_of_past_epochs_are_dropped() -> None:
    rows = [5_000] * 40
    sampler = make(rows, weights=rows, rows_per_era=50, window_size=1, pool_batches=9)
    tracemalloc.start()
    try:
        sampler.pool(0, 0)
        of_one = tracemalloc.get_traced_memory()[0]
        for number in range(1, 12):
            sampler.pool(number, 0)
        for number in range(200):
            sampler.eras_of(number * sampler.steps_per_epoch)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert of_one > 8 * sum(rows)
    assert held < 2.5 * of_one


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"eras_per_batch": 0}, "eras_per_batch: expected a whole number, 1 or more, found 0"),
        ({"eras_per_batch": 8}, "eras_per_batch 8 is larger than the data (7 eras)"),
        ({"rows_per_era": -1}, "rows_per_era: expected a whole number, 0 or more, found -1"),
        (
            {"rows_per_era": 19},
            "rows_per_era 19 is larger than 3 eras ('0002', '0005', '0007'), of which the smallest "
            "has 11 rows; choose fewer, or leave such eras out by dataset.select(...)",
        ),
        ({"window_size": 0}, "window_size: expected a whole number, 1 or more"),
        ({"pool_batches": 0}, "pool_batches: expected a whole number, 1 or more"),
        ({"seed": -1}, "seed: expected a whole number, 0 or more"),
        (
            {"weights": [1, 1, 1, 9, 1, 1, 1]},
            "era_weights: era '0004' has 60.0% of the weights; expected 33.3% at most, since a "
            "batch has 3 different eras",
        ),
        ({"weights": [0, 0, 1, 1, 0, 0, 0]}, "era '0003' has 50.0% of the weights"),
        ({"drop_remainder": False}, "drop_remainder: expected True, since batches of eras are"),
        (
            {"drop_remainder": False, "rows_per_era": 0, "weights": [1, 2, 1, 1, 1, 1, 1]},
            "drop_remainder: expected True",
        ),
    ],
    ids=str,
)
def test_numbers_out_of_range_are_refused(change: dict[str, Any], said: str) -> None:
    with refused(BatchError, said):
        make(ROWS, **change)


def test_a_negative_step_is_refused() -> None:
    for act in (make(ROWS).locate, make(ROWS).eras_of):
        with refused(BatchError, "step: expected a whole number, 0 or more, found -1"):
            act(-1)


def test_the_largest_weight_that_is_possible_is_accepted() -> None:
    """Also where sums of floats are rounded."""
    weights = [1 / 2, 1 / 6, 1 / 6, 1 / 6]
    rows = [9] * 4
    sampler = make(rows, weights=weights, eras_per_batch=2, rows_per_era=3)
    for step in range(3 * sampler.steps_per_epoch):
        assert "0001" in sampler.eras_of(step)
