"""Tests of the ranks of a distributed training: one order of rows, whatever their number."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import memmap_train as mt
from memmap_train.arrays import Array, Int64
from memmap_train.dataset.direct_array import DirectArray
from memmap_train.errors import BatchError
from memmap_train.loading.columns import Columns
from memmap_train.loading.explanation import shuffling_line
from memmap_train.loading.placement import placement_of
from memmap_train.loading.plans import Storage, plan_of
from memmap_train.loading.ranks import sampler_of_rank, share
from memmap_train.loading.sampler import Pool, Sampler, StepLocation
from memmap_train.loading.stitched_map import StitchedArray
from memmap_train.system.direct_io import can_read_directly
from memmap_train.system.memory_budget import MemoryBudget
from tests.support.errors import refused
from tests.support.toy_batches import N_ROWS, STORES, assert_same, rows_of, take, toy_batches
from tests.support.toy_datasets import ERAS, N_FEATURES

LARGE = [era for era, n_rows in ERAS.items() if n_rows >= 10]
LITTLE_MEMORY = MemoryBudget(lambda: 1000)
"""Less than any dataset takes: all features are read with direct I/O."""


class Overlapping:
    """A sampler of one's own: batches of 9 rows that share 4 with the next one; 60 rows a pool."""

    steps_per_epoch, max_pool_rows = 20, 60

    def locate(self, step: int) -> StepLocation:
        epoch, number = divmod(step, 20)
        pool, first = divmod(number, 10)
        return StepLocation(epoch, pool + 7, first * 5, first * 5 + 9, step - first + 10)

    def pool(self, epoch: int, pool: int) -> Pool:
        eras, starts = np.array([0, 2, 2, 4], np.int32), np.array([3, 0, 41, 17]) + pool
        places = np.random.default_rng([epoch, pool]).permutation(60)
        return Pool(eras, starts, np.array([10, 20, 5, 25]), places)


def ranks_of(path: Path, world_size: int, **options: Any) -> list[mt.Batches]:
    """Return the batches of each rank; of eras those that are large enough for blocks."""
    dataset = mt.open_dataset(path)
    if "eras_per_batch" in options:
        dataset = dataset.select(LARGE)
    return [
        mt.Batches(dataset, rank=rank, world_size=world_size, **options)
        for rank in range(world_size)
    ]


def joined(parts: list[Any]) -> list[Any]:
    """Return the batches of all ranks, their rows one after another."""
    return [
        (np.concatenate([x for x, _ in of_step]), np.concatenate([y for _, y in of_step]))
        for of_step in zip(*parts, strict=True)
    ]


# -- one order of rows ----------------------------------------------------------------------------

sizes = {"seed": st.integers(0, 9), "pool_batches": st.integers(1, 5)}
windows = {"window_size": st.integers(1, 90)}
of_rows = {
    "world_size": st.integers(1, 8),
    "batch_size": st.integers(8, 60),
    "drop_remainder": st.booleans(),
}
of_eras = {"rows_per_era": st.sampled_from([1, 7, 10]), "era_weights": st.just("equal")}
of_whole_eras = {"rows_per_era": st.just(0), "drop_remainder": st.booleans()}
of_own = {"world_size": st.integers(1, 9), "sampler": st.just(Overlapping())}
shared_out = st.sampled_from([(2, 1), (2, 2), (4, 2), (4, 4), (6, 2), (6, 3), (6, 6)]).map(
    lambda pair: {"eras_per_batch": pair[0], "world_size": pair[1]}
)
"""Numbers of eras of a batch, and of ranks that share them out."""
arguments = (
    st.fixed_dictionaries(of_rows | sizes | windows)
    | st.fixed_dictionaries(of_own)
    | st.builds(dict.__or__, shared_out, st.fixed_dictionaries(of_eras | sizes | windows))
    | st.builds(dict.__or__, shared_out, st.fixed_dictionaries(of_whole_eras | sizes))
)


@settings(max_examples=40)
@given(
    arguments=arguments,
    store=st.sampled_from(STORES),
    budget=st.sampled_from([MemoryBudget(lambda: 10**9), LITTLE_MEMORY]),
)
def test_the_ranks_together_read_the_batches_of_one(
    toys: dict[str, Path], arguments: dict[str, Any], store: str, budget: MemoryBudget
) -> None:
    options = arguments | {"memory_budget": budget}
    ranks = ranks_of(toys[store], **options)
    (alone,) = ranks_of(toys[store], **(options | {"world_size": 1}))
    assert {len(batches) for batches in ranks} == {len(alone)}
    n_steps = len(alone) + min(len(alone), 6)
    expected = take(alone.stream(), n_steps)
    assert_same(joined([take(batches.stream(), n_steps) for batches in ranks]), expected)
    for step in (0, len(alone) - 1, n_steps - 1):
        assert_same(joined([[batches[step]] for batches in ranks]), [expected[step]])


@pytest.mark.parametrize("world_size", [1, 2, 3, 5, 8])
def test_no_row_is_lost_or_comes_twice(toys: dict[str, Path], world_size: int) -> None:
    """Nor where the last batch has fewer rows than there are ranks: some then have none of it."""
    for batch_size in (8, 20, 51):
        ranks = ranks_of(
            toys["int8"],
            world_size,
            batch_size=batch_size,
            seed=3,
            window_size=4,
            pool_batches=2,
            drop_remainder=False,
        )
        assert N_ROWS % batch_size
        seen = [rows_of(y) for batches in ranks for _, y in take(batches.epoch(1), 99)]
        assert sorted(np.concatenate(seen)) == list(range(N_ROWS))
        of_last = [len(batches[len(batches) - 1][0]) for batches in ranks]
        assert sum(of_last) == N_ROWS % batch_size
        if (batch_size, world_size) == (8, 5):
            assert of_last == [0, 0, 1, 0, 1]


def test_parts_of_a_batch_differ_by_a_row_at_most() -> None:
    for n_rows in range(40):
        for world_size in range(1, 12):
            parts = [share(n_rows, rank, world_size) for rank in range(world_size)]
            assert [row for part in parts for row in part] == list(range(n_rows))
            assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("store", STORES)
def test_a_rank_has_its_part_of_everything(toys: dict[str, Path], store: str) -> None:
    """Sizes, epochs, later steps, weights, and targets that the caller holds."""
    options: dict[str, Any] = {"batch_size": 21, "seed": 5, "window_size": 4, "pool_batches": 3}
    options |= {"era_weights": "half_life:2"}
    ranks = ranks_of(toys[store], 2, **options)
    (alone,) = ranks_of(toys[store], 1, **options)
    assert [batches.batch_size for batches in ranks] == [10, 11]
    assert all(batches.are_even for batches in ranks)
    assert ranks[1].pool_bytes == alone.pool_bytes // 63 * 33
    assert [(batches.rank, batches.world_size) for batches in ranks] == [(0, 2), (1, 2)]
    n = len(alone)
    assert_same(take(ranks[1].epoch(2), n), [(x[10:], y[10:]) for x, y in take(alone.epoch(2), n)])
    for step in (3, n + 7):
        weights = [batches.row_weights(step) for batches in ranks]
        np.testing.assert_array_equal(np.concatenate(weights), alone.row_weights(step))
        with ranks[0].stream(step) as stream:
            assert_same(take(stream, 1), [(alone[step][0][:10], alone[step][1][:10])])
    copy = pickle.loads(pickle.dumps(ranks[1]))
    assert_same([copy[n + 1]], [ranks[1][n + 1]])
    held = np.arange(N_ROWS * len(alone.target_names), dtype=np.float32)
    for batches in (alone, ranks[0], ranks[1]):
        batches.reader.hold_targets(held.reshape(N_ROWS, -1))
    assert_same(joined([[batches[5]] for batches in ranks]), [alone[5]])


@pytest.mark.parametrize("world_size", [2, 4])
@pytest.mark.parametrize("rows_per_era", [10, 0])
def test_a_rank_reads_whole_eras(toys: dict[str, Path], rows_per_era: int, world_size: int) -> None:
    options: dict[str, Any] = {"eras_per_batch": 4, "rows_per_era": rows_per_era, "seed": 5}
    options |= {"window_size": 4, "drop_remainder": rows_per_era > 0, "era_weights": "equal"}
    ranks = ranks_of(toys["int8"], world_size, **options)
    (alone,) = ranks_of(toys["int8"], 1, **options)
    for step in range(2 * len(alone)):
        eras = [batches.eras_of(step) for batches in ranks]
        assert sum(eras, ()) == alone.eras_of(step)
        block = rows_per_era or max(ERAS.values())
        assert [len(batches[step][0]) for batches in ranks] == [len(own) * block for own in eras]
    n_of_last = [1, 1] if world_size == 2 else [0, 1, 0, 1]  # a last batch of two whole eras
    assert list(map(len, eras)) == ([4 // world_size] * world_size if rows_per_era else n_of_last)


def test_where_a_step_is_found_depends_on_the_step_alone(toys: dict[str, Path]) -> None:
    """Not on the steps that were asked for before, of which few are remembered."""
    dataset = mt.open_dataset(toys["int8"])
    plan = plan_of(
        sampler=Overlapping(),
        batch_size=None,
        eras_per_batch=None,
        rows_per_era=None,
        drop_remainder=True,
    )
    planned = plan.planned(Storage(dataset, placement_of(dataset), 9))
    steps = range(150)
    alone = [sampler_of_rank(planned, 1, 2).locate(step) for step in steps]
    sampler = sampler_of_rank(planned, 1, 2)
    for step in np.random.default_rng(0).permutation(150).tolist():
        assert sampler.locate(step) == alone[step]
    assert {place.pool for place in alone} == set(range(0, 150, 10))


# -- what is read ---------------------------------------------------------------------------------


@pytest.fixture
def copied_rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list of the numbers of the rows that are copied from mapped features."""
    found: list[int] = []
    gather = Columns.gather

    def noted(self: Columns, space: StitchedArray, numbers: Int64, out: Array) -> None:
        if out.shape[1] == N_FEATURES:
            found.extend(numbers.tolist())
        gather(self, space, numbers, out)

    monkeypatch.setattr(Columns, "gather", noted)
    return found


@pytest.fixture
def direct_eras(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of the eras of all requests to the disk."""
    found: list[str] = []
    rows = DirectArray.rows

    def noted(self: DirectArray, start: int, stop: int) -> npt.NDArray[np.generic]:
        found.append(self._path.parent.name)
        return rows(self, start, stop)

    monkeypatch.setattr(DirectArray, "rows", noted)
    return found


@pytest.mark.parametrize("rank", [0, 2])
def test_no_other_rows_are_copied(toys: dict[str, Path], rank: int, copied_rows: list[int]) -> None:
    options: dict[str, Any] = {"batch_size": 20, "seed": 5, "window_size": 16}
    batches = ranks_of(toys["float32"], 3, **options)[rank]
    n_rows = sum(len(x) for x, _ in batches)
    assert n_rows == len(batches) * len(share(20, rank, 3))
    assert len(copied_rows) == len(set(copied_rows)) == n_rows


@pytest.mark.parametrize("rows_per_era", [16, 0])
def test_the_eras_of_other_ranks_are_not_read_from_the_disk(
    toys: dict[str, Path], rows_per_era: int, direct_eras: list[str]
) -> None:
    options: dict[str, Any] = {"eras_per_batch": 2, "rows_per_era": rows_per_era, "seed": 5}
    options |= {"window_size": 16, "pool_batches": 1, "memory_budget": LITTLE_MEMORY}
    batches = ranks_of(toys["float32"], 2, **options)[1]
    if not can_read_directly(next(toys["float32"].glob("*/features.npy"))):
        pytest.skip("this file system can't read past the page cache")
    for step in range(len(batches)):
        with batches.stream(step, step + 1) as stream:
            next(stream)
        assert set(direct_eras) == {f"era-{era}" for era in batches.eras_of(step)}
        direct_eras.clear()


# -- what is said and what is refused -------------------------------------------------------------


def test_a_rank_is_described(toys: dict[str, Path]) -> None:
    line = shuffling_line(toy_batches(toys["int8"]))
    ranked = shuffling_line(toy_batches(toys["int8"], rank=1, world_size=3))
    assert ranked == f"{line}; rank 1 of 3 reads 7 rows of a batch"


def test_ranks_that_make_no_sense_are_refused(toys: dict[str, Path]) -> None:
    def make(**options: Any) -> None:
        ranks_of(toys["int8"], 3, **({"batch_size": 20, "seed": 5} | options))

    with refused(BatchError, "rank: expected 0 to 1 of 2, found 2"):
        toy_batches(toys["int8"], rank=2, world_size=2)
    with refused(BatchError, "rank: expected 0 to 0 of 1, found 1; ranks count from 0"):
        toy_batches(toys["int8"], rank=1)
    for wrong in (-1, 1.0, "0", None):
        with refused(BatchError, "rank: expected a whole number, 0 or more, found"):
            toy_batches(toys["int8"], rank=wrong, world_size=2)
    with refused(BatchError, "world_size: expected a whole number, 1 or more, found 0"):
        toy_batches(toys["int8"], world_size=0)
    with refused(BatchError, "world_size: a batch has 2 rows, too few for 3 ranks"):
        make(batch_size=2, window_size=4)
    with refused(BatchError, "window_size: expected a number where there are several ranks"):
        make()
    eras: dict[str, Any] = {"batch_size": None, "eras_per_batch": 4}
    with refused(BatchError, "world_size: expected a divisor of eras_per_batch, 4,", "found 3"):
        make(**eras, rows_per_era=0)
    with refused(BatchError, "window_size: expected a number", "window_size=2, pool_batches=16"):
        make(**eras | {"eras_per_batch": 3}, rows_per_era=10)


def test_a_sampler_of_ones_own_is_shared_out_with_checks(toys: dict[str, Path]) -> None:
    class Wrong(Overlapping):
        def pool(self, epoch: int, pool: int) -> Pool:
            found = super().pool(epoch, pool)
            return Pool(found.eras, found.starts + 1000, found.lengths, found.places)

    sampler: Sampler = Wrong()
    batches = mt.Batches(mt.open_dataset(toys["int8"]), sampler=sampler, rank=1, world_size=2)
    with refused(BatchError, "Wrong.pool(0, 7): expected windows within their eras"):
        batches[0]
