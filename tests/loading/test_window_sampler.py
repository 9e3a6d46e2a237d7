"""Tests of the order: which rows make up which batch, with rows as integers only."""

import hashlib
import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memmap_train.errors import BatchError
from memmap_train.loading.sampler import Pool
from memmap_train.loading.window_sampler import ORDER_VERSION, WindowSampler

Ints = npt.NDArray[np.int64]

OPTIONS: dict[str, Any] = {
    "batch_size": 7,
    "window_size": 4,
    "pool_batches": 3,
    "drop_remainder": True,
    "seed": 11,
}
ROWS = [40, 1, 33, 25, 8, 60, 2]
GOLDEN = "dcb99785acac1d5cd0a6bba1d6d5ae01f3086c72def3fe273064713269a931ab"

# (rows per era, options): windows of one row and longer than eras, batches of one row and of all.
orders = st.lists(st.integers(1, 30), min_size=1, max_size=12).flatmap(
    lambda rows: st.tuples(
        st.just(rows),
        st.fixed_dictionaries(
            {
                "batch_size": st.integers(1, sum(rows)),
                "window_size": st.integers(1, 40),
                "pool_batches": st.integers(1, 9),
                "drop_remainder": st.booleans(),
                "seed": st.integers(0, 2**40),
            }
        ),
    )
)


def make(rows: list[int], **options: Any) -> WindowSampler:
    return WindowSampler(rows, **{**OPTIONS, **options})


def pool_rows(pool: Pool, rows: list[int]) -> Ints:
    """Return a pool's buffer with each row as a number, counted over all eras."""
    first_of_era = np.cumsum([0, *rows])
    windows = [
        first_of_era[era] + np.arange(start, start + length)
        for era, start, length in zip(pool.eras, pool.starts, pool.lengths, strict=True)
    ]
    buffer = np.full(pool.n_rows, -1)
    buffer[pool.places] = np.concatenate(windows)
    return buffer


def batch(order: WindowSampler, rows: list[int], step: int) -> Ints:
    place = order.locate(step)
    return pool_rows(order.pool(place.epoch, place.pool), rows)[place.low : place.high]


def epoch(order: WindowSampler, rows: list[int], number: int = 0) -> list[Ints]:
    first = number * order.steps_per_epoch
    return [batch(order, rows, first + step) for step in range(order.steps_per_epoch)]


def eras_of(numbers: Ints, rows: list[int]) -> Ints:
    return np.searchsorted(np.cumsum(rows), numbers, side="right")


@given(orders, st.integers(0, 3))
def test_every_row_comes_once_per_epoch(case: tuple[list[int], Any], number: int) -> None:
    rows, options = case
    order = WindowSampler(rows, **{**options, "drop_remainder": False})
    batches = epoch(order, rows, number)
    assert np.sort(np.concatenate(batches)).tolist() == list(range(sum(rows)))
    assert {len(b) for b in batches[:-1]} <= {order.batch_size}
    assert 1 <= len(batches[-1]) <= order.batch_size


@given(orders, st.integers(0, 3))
def test_without_the_remainder_all_batches_are_full_and_no_row_is_repeated(
    case: tuple[list[int], Any], number: int
) -> None:
    rows, options = case
    order = WindowSampler(rows, **{**options, "drop_remainder": True})
    batches = epoch(order, rows, number)
    assert len(batches) == sum(rows) // order.batch_size
    assert {len(b) for b in batches} == {order.batch_size}
    numbers = np.concatenate(batches)
    assert len(np.unique(numbers)) == len(numbers)
    assert 0 <= numbers.min() <= numbers.max() < sum(rows)


@given(orders)
def test_windows_lie_within_their_era_and_in_file_order(case: tuple[list[int], Any]) -> None:
    rows, options = case
    order = WindowSampler(rows, **options)
    for number in range(order.pools_per_epoch):
        pool = order.pool(0, number)
        assert pool.lengths.min() >= 1
        assert pool.lengths.max() <= order.window_size
        assert (pool.starts >= 0).all()
        assert (pool.starts + pool.lengths <= np.array(rows)[pool.eras]).all()
        position = pool.eras.astype(np.int64) * 1000 + pool.starts
        assert (np.diff(position) > 0).all()


@given(orders, st.lists(st.integers(0, 200), min_size=1, max_size=8))
def test_a_step_computed_alone_equals_the_same_step_in_sequence(
    case: tuple[list[int], Any], steps: list[int]
) -> None:
    rows, options = case
    sequence = WindowSampler(rows, **options)
    in_sequence = [batch(sequence, rows, step) for step in range(max(steps) + 1)]
    for step in steps:
        alone = batch(WindowSampler(rows, **options), rows, step)
        np.testing.assert_array_equal(alone, in_sequence[step])


@given(orders)
def test_pools_are_nearly_equal_and_within_the_limit(
    case: tuple[list[int], Any],
) -> None:
    rows, options = case
    order = WindowSampler(rows, **options)
    pools = [order.locate(step).pool for step in range(order.steps_per_epoch)]
    assert pools == sorted(pools)
    batches_per_pool = np.bincount(pools)
    assert len(batches_per_pool) == order.pools_per_epoch
    assert batches_per_pool.max() <= order.pool_batches
    assert batches_per_pool.max() - batches_per_pool.min() <= 1


@given(orders, st.integers(0, 3))
def test_positions_cover_the_pools_exactly(case: tuple[list[int], Any], number: int) -> None:
    rows, options = case
    order = WindowSampler(rows, **options)
    ends: dict[int, int] = {}
    for step in range(order.steps_per_epoch):
        place = order.locate(number * order.steps_per_epoch + step)
        assert place.epoch == number
        assert place.low == ends.get(place.pool, 0)
        ends[place.pool] = place.high
    assert ends == {pool: order.pool(number, pool).n_rows for pool in range(order.pools_per_epoch)}


@given(orders, st.data())
def test_part_of_a_pool_is_a_slice_of_its_buffer(
    case: tuple[list[int], Any], data: st.DataObject
) -> None:
    rows, options = case
    order = WindowSampler(rows, **options)
    pool = order.pool(0, data.draw(st.integers(0, order.pools_per_epoch - 1)))
    low = data.draw(st.integers(0, pool.n_rows - 1))
    high = data.draw(st.integers(low + 1, pool.n_rows))
    part = pool.only(low, high)
    assert part.lengths.sum() == part.n_rows == high - low
    assert (np.diff(part.eras) >= 0).all()
    np.testing.assert_array_equal(pool_rows(part, rows), pool_rows(pool, rows)[low:high])


def test_the_order_depends_only_on_its_arguments() -> None:
    first = np.concatenate(epoch(make(ROWS), ROWS))
    np.random.seed(0)  # noqa: NPY002 - the global generator is what must not matter
    again = make(np.array(ROWS, np.int32))  # type: ignore[arg-type]
    again.pool(5, 0)  # nor what was asked before
    np.testing.assert_array_equal(np.concatenate(epoch(again, ROWS)), first)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 12},
        {"seed": 11 + 2**32},
        {"batch_size": 8},
        {"window_size": 5},
        {"pool_batches": 2},
    ],
)
def test_another_argument_gives_another_order(change: dict[str, int]) -> None:
    first, other = make(ROWS), make(ROWS, **change)
    one, two = (np.concatenate(epoch(order, ROWS)) for order in (first, other))
    assert one[:100].tolist() != two[:100].tolist()


def test_windows_are_permuted_differently_in_every_epoch_and_for_every_seed() -> None:
    """Seen where every batch is one window of one row."""
    alone = {"batch_size": 1, "window_size": 1, "pool_batches": 1}
    found = {
        tuple(np.concatenate(epoch(make([30], seed=seed, **alone), [30], number)).tolist())
        for seed in (0, 1, 2**32)
        for number in range(3)
    }
    assert len(found) == 9
    assert tuple(range(30)) not in found


def test_rows_are_permuted_differently_in_every_pool_and_epoch_and_for_every_seed() -> None:
    """Seen where all rows are one window: its pieces keep their order until they are mixed."""
    found = {
        tuple(make([80], window_size=80, batch_size=8, pool_batches=2, seed=seed).pool(*key).places)
        for seed in (0, 1, 2**32)
        for key in [(0, 0), (0, 1), (1, 0), (1, 1)]
    }
    assert len(found) == 12
    assert tuple(range(16)) not in found


def test_the_rows_that_are_dropped_differ_between_epochs() -> None:
    order = make(ROWS, batch_size=50, window_size=1)
    dropped = [
        frozenset(range(sum(ROWS))) - set(np.concatenate(epoch(order, ROWS, number)).tolist())
        for number in range(5)
    ]
    assert {len(rows) for rows in dropped} == {sum(ROWS) % 50}
    assert len(set(dropped)) == 5


def test_the_order_is_not_that_of_the_files() -> None:
    for window_size in (1, 4, 1000):
        numbers = np.concatenate(epoch(make(ROWS, window_size=window_size), ROWS))
        assert (np.diff(numbers) == 1).mean() < 0.1


def test_a_batch_holds_rows_of_many_eras() -> None:
    rows = [100] * 50
    for window_size in (1, 16):
        order = make(rows, batch_size=100, window_size=window_size, pool_batches=8)
        distinct = [len(np.unique(eras_of(numbers, rows))) for numbers in epoch(order, rows)]
        assert min(distinct) > 20


def test_one_batch_may_hold_all_rows() -> None:
    order = make(ROWS, batch_size=sum(ROWS))
    assert order.steps_per_epoch == 1
    assert np.sort(batch(order, ROWS, 3)).tolist() == list(range(sum(ROWS)))


def test_eras_of_one_row_are_shuffled() -> None:
    rows = [1] * 20
    for window_size in (1, 5):
        order = make(rows, batch_size=6, window_size=window_size, drop_remainder=False)
        assert [len(b) for b in epoch(order, rows)] == [6, 6, 6, 2]
        assert np.sort(np.concatenate(epoch(order, rows))).tolist() == list(range(20))


@pytest.mark.parametrize("window_size", [61, 10**6, 2**31, 2**40])
def test_windows_longer_than_every_era_are_whole_eras(window_size: int) -> None:
    whole = make(ROWS, window_size=60)
    longer = make(ROWS, window_size=window_size)
    np.testing.assert_array_equal(
        np.concatenate(epoch(longer, ROWS)), np.concatenate(epoch(whole, ROWS))
    )


def test_the_order_is_the_recorded_one() -> None:
    """Pins version 1: runs resume by it. A changed order needs a new ORDER_VERSION."""
    digest = hashlib.sha256()
    for drop_remainder in (True, False):
        for window_size in (1, 4):
            order = make(ROWS, window_size=window_size, drop_remainder=drop_remainder)
            for step in range(2 * order.steps_per_epoch + 1):
                digest.update(batch(order, ROWS, step).astype("<i8").tobytes())
    assert (ORDER_VERSION, digest.hexdigest()) == (1, GOLDEN)


def test_seven_million_rows_are_shuffled_row_by_row_in_bounded_memory() -> None:
    rows = [5_700] * 1_232
    tracemalloc.start()
    try:
        order = make(rows, batch_size=4096, window_size=1, pool_batches=8)
        order.pool(0, 0)
        held, peak = tracemalloc.get_traced_memory()
        assert held < 2 * 4 * sum(rows) + 1_000_000  # windows and ends, int32
        assert peak < 5 * 4 * sum(rows)
        tracemalloc.reset_peak()
        pool = order.pool(0, order.pools_per_epoch // 2)
        peak_of_a_pool = tracemalloc.get_traced_memory()[1] - held
    finally:
        tracemalloc.stop()
    assert pool.lengths.tolist() == [1] * pool.n_rows
    assert len(np.unique(pool_rows(pool, rows))) == pool.n_rows
    assert len(np.unique(pool.eras)) > 1_200
    assert peak_of_a_pool < 20 * 8 * pool.n_rows  # by the pool's rows, not by the dataset's


def test_more_rows_than_int32_can_count_are_shuffled() -> None:
    rows = [1_500_000_000, 1_700_000_000]
    order = make(rows, batch_size=10, window_size=1_000_000, pool_batches=2)
    for step in (0, order.steps_per_epoch // 2, order.steps_per_epoch - 1):
        numbers = batch(order, rows, step)
        assert len(np.unique(numbers)) == 10
        assert 0 <= numbers.min() <= numbers.max() < sum(rows)
    last = order.pool(0, order.pools_per_epoch - 1)
    assert last.n_rows == 20
    assert (last.starts + last.lengths <= np.array(rows)[last.eras]).all()


def same_era_rate(batches: list[Ints], rows: list[int]) -> float:
    """Return the share of pairs of rows of a batch that are of one era."""
    rates = []
    for numbers in batches:
        counts = np.bincount(eras_of(numbers, rows), minlength=len(rows))
        rates.append((counts * (counts - 1)).sum() / (len(numbers) * (len(numbers) - 1)))
    return float(np.mean(rates))


@pytest.mark.parametrize(
    ("window_size", "pool_batches"), [(1, 1), (16, 1), (16, 8), (64, 1), (64, 8), (64, 32)]
)
def test_rows_of_one_era_meet_as_often_as_the_windows_say(
    window_size: int, pool_batches: int
) -> None:
    """Two rows of a pool share a window, or they meet as by chance."""
    rows, batch_size = [256] * 150, 192
    n_rows, era_rows = sum(rows), rows[0]
    order = make(
        rows, batch_size=batch_size, window_size=window_size, pool_batches=pool_batches, seed=3
    )
    pool_size = batch_size * order.steps_per_epoch / order.pools_per_epoch
    same_window = (window_size - 1) / (pool_size - 1)
    by_chance = (era_rows - window_size) / (n_rows - window_size)
    expected = same_window + (1 - same_window) * by_chance
    batches = [numbers for number in range(4) for numbers in epoch(order, rows, number)]
    assert same_era_rate(batches, rows) == pytest.approx(expected, rel=0.05)


def test_windows_in_pools_inflate_the_variance_of_a_batch_as_the_formula_says() -> None:
    """The gradient is simulated: rows of one era share a part rho of its variance."""
    rows, batch_size, rho, draws = [256] * 150, 192, 0.05, 100
    n_rows = sum(rows)
    global_rate = (rows[0] - 1) / (n_rows - 1)
    random = np.random.default_rng(0)
    gradient = np.sqrt(rho) * np.repeat(random.normal(size=(len(rows), draws)), rows, axis=0)
    gradient += np.sqrt(1 - rho) * random.normal(size=(n_rows, draws))
    gradient -= gradient.mean(axis=0)

    def variance(batches: list[Ints]) -> float:
        return float(np.mean([gradient[numbers].mean(axis=0) ** 2 for numbers in batches]))

    def shuffled(window_size: int, pool_batches: int) -> list[Ints]:
        options = {"window_size": window_size, "pool_batches": pool_batches}
        return epoch(make(rows, batch_size=batch_size, **options), rows)

    consecutive = list(np.arange(n_rows).reshape(-1, batch_size))
    inflations = []
    for batches in (shuffled(16, 8), shuffled(64, 8), shuffled(64, 1), consecutive):
        extra = (same_era_rate(batches, rows) - global_rate) / (1 - global_rate)
        formula = 1 + (batch_size - 1) * rho * extra
        inflation = variance(batches) / variance(shuffled(1, 1))
        assert inflation == pytest.approx(formula, rel=0.1)
        inflations.append(inflation)
    pooled, longer, unpooled, unshuffled = inflations
    assert pooled < 1.2 < longer < 1.8 < unpooled < unshuffled


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("batch_size", 0),
        ("batch_size", -4),
        ("batch_size", sum(ROWS) + 1),
        ("window_size", 0),
        ("pool_batches", 0),
        ("seed", -1),
    ],
)
def test_numbers_out_of_range_are_refused(option: str, value: int) -> None:
    with pytest.raises(BatchError, match=option):
        make(ROWS, **{option: value})


def test_a_negative_step_is_refused() -> None:
    with pytest.raises(BatchError, match="step: expected a whole number, 0 or more, found -1"):
        make(ROWS).locate(-1)
