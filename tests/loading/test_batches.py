"""Tests of the batches: every cell at its place, whatever the store, the step or the selection.

The toy's cells know their place: a batch's rows are recognised by their first target, and their
features then compared with what the toy says of those rows.
"""

import itertools
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memmap_train as mt
from memmap_train.errors import BatchError, DatasetError, MemmapTrainError, ShardError
from memmap_train.loading.sampler import Pool
from memmap_train.loading.window_sampler import WindowSampler
from memmap_train.system.direct_io import can_read_directly
from memmap_train.system.memory_budget import MemoryBudget
from tests.support.errors import refused
from tests.support.toy import feature_names, target_names
from tests.support.toy_batches import (
    N_ROWS,
    STORES,
    assert_same,
    reader_threads,
    rows_of,
    take,
    toy_batches,
    toy_rows,
)
from tests.support.toy_datasets import ERAS, FEATURE_SETS, N_FEATURES, N_TARGETS, MakeToy

# Windows that are gathered (below 8 rows), copied (from 8 on), and longer than every era.
WINDOWS = [1, 3, 16, 1000]


# -- every cell at its place ----------------------------------------------------------------------


@pytest.mark.parametrize("window_size", WINDOWS)
@pytest.mark.parametrize("store", STORES)
def test_every_cell_of_an_epoch_is_at_its_coordinates(
    toys: dict[str, Path], store: str, window_size: int
) -> None:
    all_x, all_y = toy_rows()
    batches = toy_batches(toys[store], window_size=window_size, drop_remainder=False)
    seen = []
    for x, y in batches:
        assert x.dtype == y.dtype == np.float32
        rows = rows_of(y)
        np.testing.assert_array_equal(x, all_x[rows])
        np.testing.assert_array_equal(y, all_y[rows])
        seen.extend(rows.tolist())
    assert sorted(seen) == list(range(N_ROWS))
    assert seen != sorted(seen)


@pytest.mark.parametrize("window_size", WINDOWS)
def test_coordinates_of_a_source_of_floats_arrive_unchanged(
    toys: dict[str, Path], window_size: int
) -> None:
    all_x, _ = toy_rows("float32")
    batches = toy_batches(toys["coordinates"], window_size=window_size)
    for x, y in take(batches.stream(), 2 * len(batches)):
        np.testing.assert_array_equal(x, all_x[rows_of(y)])


@pytest.mark.parametrize("kind", ["", "nulls "])
def test_both_stores_give_the_same_batches(toys: dict[str, Path], kind: str) -> None:
    of_floats, of_codes = (toy_batches(toys[kind + store]) for store in STORES)
    assert_same(take(of_codes.stream(), 40), take(of_floats.stream(), 40))
    assert_same([of_codes[33]], [of_floats[33]])


@pytest.mark.parametrize("store", STORES)
def test_missing_features_become_a_half_and_missing_targets_nan(
    toys: dict[str, Path], store: str
) -> None:
    batches = toy_batches(toys[f"nulls {store}"], drop_remainder=False)
    found = np.concatenate([np.hstack(pair) for pair in batches])
    expected = np.hstack(toy_rows(nulls=True))
    assert np.isnan(expected).any()
    by_bytes = [np.sort(rows.view(f"V{rows.strides[0]}").ravel()) for rows in (found, expected)]
    assert by_bytes[0].tolist() == by_bytes[1].tolist()


# -- steps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("drop_remainder", [True, False])
@pytest.mark.parametrize("store", STORES)
def test_any_step_at_random_equals_the_stream(
    toys: dict[str, Path], store: str, drop_remainder: bool
) -> None:
    batches = toy_batches(toys[store], drop_remainder=drop_remainder)
    n_steps = 3 * len(batches) + 2
    in_sequence = take(batches.stream(), n_steps)
    steps = list(range(n_steps))
    random.Random(0).shuffle(steps)
    for step in steps:
        assert_same([batches[step]], [in_sequence[step]])


@pytest.mark.parametrize("store", STORES)
def test_a_stream_may_start_anywhere(toys: dict[str, Path], store: str) -> None:
    batches = toy_batches(toys[store], drop_remainder=False)
    in_sequence = take(batches.stream(), 2 * len(batches))
    for start in range(len(batches) + 2):
        with batches.stream(start=start) as stream:
            assert_same(take(stream, 5), in_sequence[start : start + 5])
            assert stream.step == start + 5


@pytest.mark.parametrize("store", STORES)
def test_a_stream_gives_any_other_step_too(toys: dict[str, Path], store: str) -> None:
    batches = toy_batches(toys[store])
    with batches.stream() as stream:
        for step in (0, 1, 2, 40, 41, 3, 3, 0, 17, 18):
            x, y = stream.at(step)
            assert_same([(x, y)], [batches[step]])


def test_iterating_yields_epoch_0_each_time(toys: dict[str, Path]) -> None:
    batches = toy_batches(toys["float32"])
    first, again = (take(iter(batches), 10**6) for _ in range(2))
    assert_same(first, take(batches.stream(), len(batches)))
    assert_same(again, first)


def test_an_epoch_has_the_batches_of_its_steps(toys: dict[str, Path]) -> None:
    batches = toy_batches(toys["float32"])
    epochs: tuple[Any, ...] = (0, 3, np.int64(2))
    for epoch in epochs:
        steps = range(int(epoch) * len(batches), (int(epoch) + 1) * len(batches))
        assert_same(take(batches.epoch(epoch), 10**6), [batches[step] for step in steps])
    for wrong in (-1, 1.0, True, "0"):
        with refused(BatchError, "epoch: expected a whole number, 0 or more"):
            batches.epoch(wrong)  # type: ignore[arg-type]


def test_iterating_in_any_way_ends_after_an_epoch(toys: dict[str, Path]) -> None:
    batches = toy_batches(toys["float32"])
    epoch = take(batches.epoch(0), 10**6)
    assert len(epoch) == len(batches) > 3
    assert_same(list(batches), epoch)
    assert_same([batch for batch, _ in zip(batches, itertools.count(), strict=False)], epoch)
    assert_same(list(reversed(batches)), epoch[::-1])
    # PyTorch's DataLoader with batch_size=None: `range(len(dataset))` is its sampler.
    assert_same([batches[step] for step in range(len(batches))], epoch)


@pytest.mark.parametrize("step", [-1, np.int64(-1), 1.0, np.float64(1), True, "1", None, (0, 1)])
def test_a_step_that_is_not_a_whole_number_from_0_is_refused(
    toys: dict[str, Path], step: object
) -> None:
    with refused(BatchError, "step: expected a whole number, 0 or more, found"):
        toy_batches(toys["float32"])[step]  # type: ignore[index]


def test_a_slice_is_refused_with_advice(toys: dict[str, Path]) -> None:
    with refused(BatchError, "found slice(None, 3, None)", "batches.stream(start, end)"):
        toy_batches(toys["float32"])[:3]  # type: ignore[index]


def test_a_step_may_be_a_numpy_integer(toys: dict[str, Path]) -> None:
    batches = toy_batches(toys["float32"])
    numbers: tuple[Any, ...] = (np.int32(7), np.uint64(7))
    assert_same([batches[step] for step in numbers], [batches[7]] * 2)


def test_iterating_does_not_read_the_next_epoch(
    toys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    batches, others = (toy_batches(toys["float32"], pool_batches=20) for _ in range(2))
    asked = []

    def noting(self: WindowSampler, epoch: int, pool: int) -> Pool:
        if self is batches.sampler:
            asked.append((epoch, pool))
        return original(self, epoch, pool)

    original = WindowSampler.pool
    monkeypatch.setattr(WindowSampler, "pool", noting)
    for _ in batches:
        list(others)  # the time in which a thread would begin to read
    assert asked == [(0, 0)]


def test_epochs_hold_the_same_rows_in_another_order(toys: dict[str, Path]) -> None:
    batches = toy_batches(toys["float32"], drop_remainder=False)
    steps = take(batches.stream(), 2 * len(batches))
    first, second = (
        [row for _, y in part for row in rows_of(y)]
        for part in (steps[: len(batches)], steps[len(batches) :])
    )
    assert first != second
    assert sorted(first) == sorted(second)


def test_without_the_remainder_all_batches_are_full(toys: dict[str, Path]) -> None:
    batches = toy_batches(toys["float32"])
    assert N_ROWS % 20
    assert len(batches) == N_ROWS // 20
    assert {len(x) for x, _ in take(batches.stream(), 2 * len(batches))} == {20}


@pytest.mark.parametrize("store", STORES)
def test_with_the_remainder_only_the_last_batch_of_an_epoch_is_short(
    toys: dict[str, Path], store: str
) -> None:
    batches = toy_batches(toys[store], drop_remainder=False)
    assert len(batches) == N_ROWS // 20 + 1
    epoch = [20] * (N_ROWS // 20) + [N_ROWS % 20]
    assert [len(y) for _, y in take(batches.stream(), 2 * len(batches))] == epoch * 2
    assert len(batches[len(batches) - 1][0]) == N_ROWS % 20


def test_a_batch_may_hold_all_rows(toys: dict[str, Path]) -> None:
    batches = toy_batches(toys["int8"], batch_size=N_ROWS)
    ((x, y),) = batches
    assert len(x) == N_ROWS
    np.testing.assert_array_equal(x, toy_rows()[0][rows_of(y)])


# -- selections -----------------------------------------------------------------------------------


NAMES = feature_names(N_FEATURES)


SELECTIONS: dict[str, tuple[Any, list[str]]] = {
    "all": (None, NAMES),
    "the set of all": ("all", NAMES),
    "a set, in the manifest's order": ("small", [NAMES[2], NAMES[5], NAMES[7]]),
    "a set of neighbours": ("medium", NAMES[2:6]),
    "a list, in its own order": (FEATURE_SETS["small"], FEATURE_SETS["small"]),
    "all, backwards": (NAMES[::-1], NAMES[::-1]),
    "neighbours": (NAMES[3:6], NAMES[3:6]),
    "one": ([NAMES[4]], [NAMES[4]]),
}


@pytest.mark.parametrize("window_size", [1, 16])
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("features", SELECTIONS)
def test_features_are_chosen_by_set_or_by_list(
    toys: dict[str, Path], features: str, store: str, window_size: int
) -> None:
    chosen, names = SELECTIONS[features]
    batches = toy_batches(toys[store], features=chosen, window_size=window_size)
    assert batches.feature_names == tuple(names)
    columns = [NAMES.index(name) for name in names]
    for x, y in [*take(batches.stream(), len(batches)), batches[7]]:
        np.testing.assert_array_equal(x, toy_rows()[0][rows_of(y)][:, columns])


@pytest.mark.parametrize("window_size", [1, 16])
@pytest.mark.parametrize("columns", [[0], [0, 2], [2, 0], [0, 1], [2, 1, 0]])
def test_targets_are_chosen_by_name_in_the_order_given(
    toys: dict[str, Path], columns: list[int], window_size: int
) -> None:
    names = [target_names(N_TARGETS)[column] for column in columns]
    batches = toy_batches(toys["float32"], targets=names, window_size=window_size)
    assert batches.target_names == tuple(names)
    everything = toy_batches(toys["float32"], window_size=window_size)
    for (_, y), (_, all_y) in zip(batches, everything, strict=True):
        np.testing.assert_array_equal(y, all_y[:, columns])


def test_a_target_may_be_given_as_text(toys: dict[str, Path]) -> None:
    assert toy_batches(toys["float32"], targets="target").target_names == ("target",)


def test_a_dataset_without_targets_gives_targets_of_no_columns(make_toy: MakeToy) -> None:
    batches = toy_batches(make_toy(n_targets=0), drop_remainder=False)
    assert {(y.shape[1], len(x) == len(y)) for x, y in batches} == {(0, True)}


def test_only_the_selected_eras_are_read(toys: dict[str, Path]) -> None:
    dataset = mt.open_dataset(toys["float32"]).select(["0010", "0002"])
    batches = mt.Batches(dataset, batch_size=10, seed=0, drop_remainder=False)
    seen = np.concatenate([rows_of(y) for _, y in batches])
    first = sum(ERAS[era] for era in ("0001", "0002", "0003", "0005"))
    assert sorted(seen) == [ERAS["0001"], *range(first, first + ERAS["0010"])]


def test_the_order_depends_neither_on_selected_columns_nor_on_the_store(
    toys: dict[str, Path],
) -> None:
    expected = [rows_of(y).tolist() for _, y in toy_batches(toys["float32"])]
    for options in ({"features": "small"}, {"targets": ["target"]}, {"memory": 1}):
        assert [rows_of(y).tolist() for _, y in toy_batches(toys["int8"], **options)] == expected


# -- window and pool ------------------------------------------------------------------------------


def test_the_automatic_window_is_recorded_as_numbers_that_give_the_same_batches(
    toys: dict[str, Path],
) -> None:
    chosen = toy_batches(toys["float32"], window_size=None, pool_batches=None)
    assert (type(chosen.window_size), type(chosen.pool_batches)) == (int, int)
    repeated = toy_batches(
        toys["float32"], window_size=chosen.window_size, pool_batches=chosen.pool_batches
    )
    assert_same(take(repeated.stream(), 30), take(chosen.stream(), 30))


def test_the_pool_depends_only_on_a_given_window(toys: dict[str, Path]) -> None:
    for window_size in (1, 64, 4096):
        pools = {
            toy_batches(
                toys[store], window_size=window_size, pool_batches=None, memory=memory, **options
            ).pool_batches
            for store in STORES
            for memory in (None, 1, 10**6)
            for options in ({}, {"features": "small"}, {"seed": 1})
        }
        assert len(pools) == 1


def test_pools_of_a_given_window_fit_into_the_memory(make_toy: MakeToy) -> None:
    path = make_toy({"0001": 600, "0002": 500}, n_features=320, dtype="float32")
    automatic: dict[str, Any] = {"window_size": None, "pool_batches": None}
    windows = []
    for memory in (1, 4, 1000):
        batches = toy_batches(path, memory=memory, **automatic)
        windows.append(batches.window_size)
        assert 2 * batches.pool_bytes <= memory * 1_000_000
        assert batches.shuffling.inflation() <= 1.05
    assert windows[0] < windows[1] <= windows[2]


LITTLE_MEMORY = MemoryBudget(lambda: 1000)
"""Less than any dataset takes."""


@pytest.mark.parametrize("window_size", [1, 5, 16, 1000])
@pytest.mark.parametrize("store", STORES)
def test_direct_reads_give_the_same_batches_as_the_page_cache(
    toys: dict[str, Path], store: str, window_size: int
) -> None:
    for options in ({}, {"features": [NAMES[3], NAMES[1]]}, {"drop_remainder": False}):
        expected = toy_batches(toys[store], window_size=window_size, **options)
        found = toy_batches(
            toys[store], window_size=window_size, memory_budget=LITTLE_MEMORY, **options
        )
        assert expected.direct_eras == ()
        if can_read_directly(next(toys[store].glob("era-*/features.npy"))):
            assert len(found.direct_eras) == len(ERAS)
        assert_same(take(found.stream(), 30), take(expected.stream(), 30))
        assert_same([found[17]], [expected[17]])


def test_an_automatic_window_for_the_disk_is_no_longer_than_an_era(toys: dict[str, Path]) -> None:
    automatic: dict[str, Any] = {"window_size": None, "pool_batches": None, "memory": 1000}
    batches = toy_batches(toys["float32"], memory_budget=LITTLE_MEMORY, **automatic)
    assert batches.window_size <= max(ERAS.values())


def test_an_automatic_window_for_the_disk_depends_on_whole_rows(
    make_toy: MakeToy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read of a file are its rows, however few of their columns are wanted."""
    path = make_toy({"0001": 4000}, n_features=320, dtype="float32")
    options: dict[str, Any] = {"window_size": None, "pool_batches": None, "memory": 1000}
    options["memory_budget"] = LITTLE_MEMORY
    monkeypatch.setattr("memmap_train.loading.placement.efficient_bytes", lambda path: 2**18)
    few = toy_batches(path, features=feature_names(320)[:40], **options)
    assert few.window_size == toy_batches(path, **options).window_size


@pytest.mark.parametrize("store", STORES)
def test_batches_depend_neither_on_threads_nor_on_memory(
    toys: dict[str, Path], store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = take(toy_batches(toys[store]).stream(), 40)
    for n_cores in (1, 3, 64):
        monkeypatch.setattr("memmap_train.loading.gather.n_cores", lambda n=n_cores: n)
        assert_same(take(toy_batches(toys[store], memory=1 + n_cores).stream(), 40), expected)


# -- errors at once -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size: expected a whole number, 1 or more, found 0"),
        ({"batch_size": -3}, "batch_size: expected a whole number, 1 or more, found -3"),
        ({"batch_size": N_ROWS + 1}, f"batch_size {N_ROWS + 1} is larger than the data"),
        ({"batch_size": 2.5}, "batch_size: expected .*, found 2.5"),
        ({"batch_size": "64"}, "batch_size: expected .*, found '64'"),
        ({"window_size": 0}, "window_size: expected a whole number, 1 or more, found 0"),
        ({"pool_batches": 0}, "pool_batches: expected a whole number, 1 or more, found 0"),
        ({"seed": -1}, "seed: expected a whole number, 0 or more, found -1"),
        ({"memory": 0}, "memory"),
    ],
)
def test_numbers_that_make_no_sense_are_refused_at_once(
    toys: dict[str, Path], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BatchError, match=message):
        toy_batches(toys["float32"], **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": "medum"}, "no feature set 'medum'.*did you mean 'medium'"),
        ({"features": ["feature_z0", "feature_y99"]}, "no feature 'feature_y99' among 9"),
        ({"features": ["feature_z00"]}, "no feature 'feature_z00'.*did you mean 'feature_z0'"),
        ({"features": []}, "expected at least one"),
        ({"features": ["feature_z0", "feature_z0"]}, "twice.*'feature_z0'"),
        ({"targets": ["target_t1_02"]}, "no target 'target_t1_02'.*did you mean 'target_t1_20'"),
        ({"targets": "targets"}, "no target 'targets'.*did you mean 'target'"),
        ({"targets": []}, "expected at least one"),
    ],
)
def test_unknown_names_are_refused_at_once_with_the_nearest(
    toys: dict[str, Path], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        toy_batches(toys["float32"], **options)


def test_negative_steps_are_refused_at_once(toys: dict[str, Path]) -> None:
    batches = toy_batches(toys["float32"])
    before = reader_threads()
    with pytest.raises(BatchError, match="step: expected a whole number, 0 or more, found -1"):
        batches[-1]
    with pytest.raises(BatchError, match="start: expected a whole number, 0 or more, found -5"):
        batches.stream(start=-5)
    assert reader_threads() == before


@pytest.mark.parametrize("error", [BatchError("x"), DatasetError("x"), ShardError("x")])
def test_errors_can_be_pickled(error: MemmapTrainError) -> None:
    assert isinstance(error, MemmapTrainError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
