"""Tests of the batches: every cell at its place, whatever the store, the start or the thread.

The toy's cells know their place: a batch's rows are recognised by their first target, and their
features then compared with what the toy says of those rows.
"""

import gc
import hashlib
import itertools
import os
import pickle
import random
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import memmap_train as mt
from memmap_train.errors import BatchError, DatasetError, MemmapTrainError, ShardError
from memmap_train.loading import batches as batches_module
from memmap_train.loading.sampler import Pool
from memmap_train.loading.stream import Stream
from memmap_train.loading.window_sampler import WindowSampler
from memmap_train.system.direct_io import can_read_directly
from memmap_train.system.memory_budget import MemoryBudget
from tests.support.allocations import counted_allocations
from tests.support.errors import refused
from tests.support.toy import feature_names, target_names, toy_features, toy_targets
from tests.support.toy_datasets import ERAS, FEATURE_SETS, N_FEATURES, N_TARGETS, MakeToy

Float32 = npt.NDArray[np.float32]
Batch = tuple[Float32, Float32]

ALIGNMENT = 64  # bytes: TensorFlow aborts on a borrowed array that has less
STORES = ["float32", "int8"]
# Windows that are gathered (below 8 rows), copied (from 8 on), and longer than every era.
WINDOWS = [1, 3, 16, 1000]
N_ROWS = sum(ERAS.values())


def make(path: Path, **options: Any) -> mt.Batches:
    defaults: dict[str, Any] = {"batch_size": 20, "seed": 5, "window_size": 4, "pool_batches": 3}
    return mt.Batches(mt.open_dataset(path), **{**defaults, **options})


def toy_rows(dtype: str = "int8", *, nulls: bool = False) -> tuple[Float32, Float32]:
    """Return x and y of all rows of a toy, in the dataset's order."""
    x = [toy_features(era, rows, N_FEATURES, dtype, nulls=nulls) for era, rows in ERAS.items()]
    y = [toy_targets(era, rows, N_TARGETS, nulls=nulls) for era, rows in ERAS.items()]
    return np.concatenate(x), np.concatenate(y)


def rows_of(y: Float32) -> npt.NDArray[np.int64]:
    """Return which rows of the dataset a batch holds, by their first target."""
    first_targets = toy_rows()[1][:, 0]
    by_value = np.argsort(first_targets)
    found: npt.NDArray[np.int64] = by_value[
        np.searchsorted(first_targets[by_value], y[:, 0]).clip(max=N_ROWS - 1)
    ]
    np.testing.assert_array_equal(first_targets[found], y[:, 0])
    return found


def take(stream: Iterator[Batch], n: int) -> list[Batch]:
    """Return the next batches, copied."""
    return [(x.copy(), y.copy()) for x, y in itertools.islice(stream, n)]


def assert_same(found: list[Batch], expected: list[Batch]) -> None:
    assert len(found) == len(expected)
    for (x, y), (expected_x, expected_y) in zip(found, expected, strict=True):
        assert x.tobytes() == expected_x.tobytes()
        assert y.tobytes() == expected_y.tobytes()


def reader_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("memmap-train")]


@contextmanager
def all_threads_end() -> Iterator[list[threading.Thread]]:
    """Check that the threads which the block notes in the list come to their end."""
    threads: list[threading.Thread] = []
    yield threads
    assert threads
    for thread in threads:
        thread.join(timeout=60)
    assert not [thread.name for thread in threads if thread.is_alive()]


# -- every cell at its place ----------------------------------------------------------------------


@pytest.mark.parametrize("window_size", WINDOWS)
@pytest.mark.parametrize("store", STORES)
def test_every_cell_of_an_epoch_is_at_its_coordinates(
    toys: dict[str, Path], store: str, window_size: int
) -> None:
    all_x, all_y = toy_rows()
    batches = make(toys[store], window_size=window_size, drop_remainder=False)
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
    batches = make(toys["coordinates"], window_size=window_size)
    for x, y in take(batches.stream(), 2 * len(batches)):
        np.testing.assert_array_equal(x, all_x[rows_of(y)])


@pytest.mark.parametrize("kind", ["", "nulls "])
def test_both_stores_give_the_same_batches(toys: dict[str, Path], kind: str) -> None:
    of_floats, of_codes = (make(toys[kind + store]) for store in STORES)
    assert_same(take(of_codes.stream(), 40), take(of_floats.stream(), 40))
    assert_same([of_codes[33]], [of_floats[33]])


@pytest.mark.parametrize("store", STORES)
def test_missing_features_become_a_half_and_missing_targets_nan(
    toys: dict[str, Path], store: str
) -> None:
    batches = make(toys[f"nulls {store}"], drop_remainder=False)
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
    batches = make(toys[store], drop_remainder=drop_remainder)
    n_steps = 3 * len(batches) + 2
    in_sequence = take(batches.stream(), n_steps)
    steps = list(range(n_steps))
    random.Random(0).shuffle(steps)
    for step in steps:
        assert_same([batches[step]], [in_sequence[step]])


@pytest.mark.parametrize("store", STORES)
def test_a_stream_may_start_anywhere(toys: dict[str, Path], store: str) -> None:
    batches = make(toys[store], drop_remainder=False)
    in_sequence = take(batches.stream(), 2 * len(batches))
    for start in range(len(batches) + 2):
        with batches.stream(start=start) as stream:
            assert_same(take(stream, 5), in_sequence[start : start + 5])
            assert stream.step == start + 5


@pytest.mark.parametrize("store", STORES)
def test_a_stream_gives_any_other_step_too(toys: dict[str, Path], store: str) -> None:
    batches = make(toys[store])
    with batches.stream() as stream:
        for step in (0, 1, 2, 40, 41, 3, 3, 0, 17, 18):
            x, y = stream.at(step)
            assert_same([(x, y)], [batches[step]])


def test_iterating_yields_epoch_0_each_time(toys: dict[str, Path]) -> None:
    batches = make(toys["float32"])
    first, again = (take(iter(batches), 10**6) for _ in range(2))
    assert_same(first, take(batches.stream(), len(batches)))
    assert_same(again, first)


def test_an_epoch_has_the_batches_of_its_steps(toys: dict[str, Path]) -> None:
    batches = make(toys["float32"])
    epochs: tuple[Any, ...] = (0, 3, np.int64(2))
    for epoch in epochs:
        steps = range(int(epoch) * len(batches), (int(epoch) + 1) * len(batches))
        assert_same(take(batches.epoch(epoch), 10**6), [batches[step] for step in steps])
    for wrong in (-1, 1.0, True, "0"):
        with refused(BatchError, "epoch: expected a whole number, 0 or more"):
            batches.epoch(wrong)  # type: ignore[arg-type]


def test_iterating_in_any_way_ends_after_an_epoch(toys: dict[str, Path]) -> None:
    batches = make(toys["float32"])
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
        make(toys["float32"])[step]  # type: ignore[index]


def test_a_slice_is_refused_with_advice(toys: dict[str, Path]) -> None:
    with refused(BatchError, "found slice(None, 3, None)", "batches.stream(start, end)"):
        make(toys["float32"])[:3]  # type: ignore[index]


def test_a_step_may_be_a_numpy_integer(toys: dict[str, Path]) -> None:
    batches = make(toys["float32"])
    numbers: tuple[Any, ...] = (np.int32(7), np.uint64(7))
    assert_same([batches[step] for step in numbers], [batches[7]] * 2)


def test_iterating_does_not_read_the_next_epoch(
    toys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    batches, others = (make(toys["float32"], pool_batches=20) for _ in range(2))
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
    batches = make(toys["float32"], drop_remainder=False)
    steps = take(batches.stream(), 2 * len(batches))
    first, second = (
        [row for _, y in part for row in rows_of(y)]
        for part in (steps[: len(batches)], steps[len(batches) :])
    )
    assert first != second
    assert sorted(first) == sorted(second)


def test_without_the_remainder_all_batches_are_full(toys: dict[str, Path]) -> None:
    batches = make(toys["float32"])
    assert N_ROWS % 20
    assert len(batches) == N_ROWS // 20
    assert {len(x) for x, _ in take(batches.stream(), 2 * len(batches))} == {20}


@pytest.mark.parametrize("store", STORES)
def test_with_the_remainder_only_the_last_batch_of_an_epoch_is_short(
    toys: dict[str, Path], store: str
) -> None:
    batches = make(toys[store], drop_remainder=False)
    assert len(batches) == N_ROWS // 20 + 1
    epoch = [20] * (N_ROWS // 20) + [N_ROWS % 20]
    assert [len(y) for _, y in take(batches.stream(), 2 * len(batches))] == epoch * 2
    assert len(batches[len(batches) - 1][0]) == N_ROWS % 20


def test_a_batch_may_hold_all_rows(toys: dict[str, Path]) -> None:
    batches = make(toys["int8"], batch_size=N_ROWS)
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
    batches = make(toys[store], features=chosen, window_size=window_size)
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
    batches = make(toys["float32"], targets=names, window_size=window_size)
    assert batches.target_names == tuple(names)
    everything = make(toys["float32"], window_size=window_size)
    for (_, y), (_, all_y) in zip(batches, everything, strict=True):
        np.testing.assert_array_equal(y, all_y[:, columns])


def test_a_target_may_be_given_as_text(toys: dict[str, Path]) -> None:
    assert make(toys["float32"], targets="target").target_names == ("target",)


def test_a_dataset_without_targets_gives_targets_of_no_columns(make_toy: MakeToy) -> None:
    batches = make(make_toy(n_targets=0), drop_remainder=False)
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
    expected = [rows_of(y).tolist() for _, y in make(toys["float32"])]
    for options in ({"features": "small"}, {"targets": ["target"]}, {"memory": 1}):
        assert [rows_of(y).tolist() for _, y in make(toys["int8"], **options)] == expected


# -- window and pool ------------------------------------------------------------------------------


def test_the_automatic_window_is_recorded_as_numbers_that_give_the_same_batches(
    toys: dict[str, Path],
) -> None:
    chosen = make(toys["float32"], window_size=None, pool_batches=None)
    assert (type(chosen.window_size), type(chosen.pool_batches)) == (int, int)
    repeated = make(
        toys["float32"], window_size=chosen.window_size, pool_batches=chosen.pool_batches
    )
    assert_same(take(repeated.stream(), 30), take(chosen.stream(), 30))


def test_the_pool_depends_only_on_a_given_window(toys: dict[str, Path]) -> None:
    for window_size in (1, 64, 4096):
        pools = {
            make(
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
        batches = make(path, memory=memory, **automatic)
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
        expected = make(toys[store], window_size=window_size, **options)
        found = make(toys[store], window_size=window_size, memory_budget=LITTLE_MEMORY, **options)
        assert expected.direct_eras == ()
        if can_read_directly(next(toys[store].glob("era-*/features.npy"))):
            assert len(found.direct_eras) == len(ERAS)
        assert_same(take(found.stream(), 30), take(expected.stream(), 30))
        assert_same([found[17]], [expected[17]])


def test_an_automatic_window_for_the_disk_is_no_longer_than_an_era(toys: dict[str, Path]) -> None:
    automatic: dict[str, Any] = {"window_size": None, "pool_batches": None, "memory": 1000}
    batches = make(toys["float32"], memory_budget=LITTLE_MEMORY, **automatic)
    assert batches.window_size <= max(ERAS.values())


def test_an_automatic_window_for_the_disk_depends_on_whole_rows(
    make_toy: MakeToy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read of a file are its rows, however few of their columns are wanted."""
    path = make_toy({"0001": 4000}, n_features=320, dtype="float32")
    options: dict[str, Any] = {"window_size": None, "pool_batches": None, "memory": 1000}
    options["memory_budget"] = LITTLE_MEMORY
    monkeypatch.setattr("memmap_train.loading.placement.efficient_bytes", lambda path: 2**18)
    few = make(path, features=feature_names(320)[:40], **options)
    assert few.window_size == make(path, **options).window_size


@pytest.mark.parametrize("store", STORES)
def test_batches_depend_neither_on_threads_nor_on_memory(
    toys: dict[str, Path], store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = take(make(toys[store]).stream(), 40)
    for n_cores in (1, 3, 64):
        monkeypatch.setattr("memmap_train.loading.gather.n_cores", lambda n=n_cores: n)
        assert_same(take(make(toys[store], memory=1 + n_cores).stream(), 40), expected)


# -- memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", STORES)
def test_arrays_that_a_caller_holds_are_never_overwritten(
    toys: dict[str, Path], store: str
) -> None:
    """Some batches are kept whole, of some a row or the targets only, most are dropped."""
    batches = make(toys[store], pool_batches=2)
    choose = random.Random(1)
    held = []
    for x, y in itertools.islice(batches.stream(), 12 * len(batches)):
        part = choose.choice([(x, y), (x[3],), (y[:, 1],), (memoryview(x.data),), (), (), ()])
        held += [(array, np.array(array)) for array in part]
        if choose.random() < 0.02:
            del held[::2]
    assert len(held) > 30
    for array, copy in held:
        np.testing.assert_array_equal(np.asarray(array), copy)


@pytest.mark.parametrize("store", STORES)
def test_batches_may_be_written_to(toys: dict[str, Path], store: str) -> None:
    batches = make(toys[store])
    expected = take(batches.stream(), 3 * len(batches))
    for (x, y), (expected_x, expected_y) in zip(batches.stream(), expected, strict=False):
        assert_same([(x, y)], [(expected_x, expected_y)])
        x[:], y[:] = -1, -1


@pytest.mark.parametrize(("store", "most"), [("float32", 4), ("int8", 8)])
def test_buffers_are_reused(make_toy: MakeToy, store: str, most: int) -> None:
    """Of 50 pools, two are under way and one is held; int8 has decoded batches too."""
    batches = make(make_toy(n_features=320, store=store), targets="target")
    n_pools = 50
    with counted_allocations(20 * 320) as sizes, batches.stream() as stream:
        for _ in range(n_pools * 3):
            batch = next(stream)
            rows_of(batch[1])
    assert 2 <= len(sizes) <= most


def test_pools_of_unequal_sizes_share_buffers(make_toy: MakeToy) -> None:
    """61 batches in pools of at most 16: three of 15 and one of 16, epoch after epoch."""
    path = make_toy({"0001": 400, "0002": 215}, n_features=500, n_targets=1)
    batches = make(path, batch_size=10, pool_batches=16)
    assert isinstance(batches.sampler, WindowSampler)
    assert {batches.sampler.pool_rows(pool) for pool in range(4)} == {150, 160}
    with counted_allocations(150 * 500 * 4) as sizes, batches.stream() as stream:
        for _ in range(12 * len(batches)):
            next(stream)
    assert len(sizes) == 2


def test_later_epochs_reuse_the_memory_of_earlier_ones(make_toy: MakeToy) -> None:
    batches = make(make_toy(n_features=320, store="int8"))
    n_epochs = 20
    with counted_allocations(20 * 320) as sizes:
        for _ in range(n_epochs):
            for x, y in batches:
                assert len(x) == len(y)
    assert sizes
    assert len(sizes) < n_epochs


@pytest.mark.parametrize(("store", "n_pools"), [("float32", 1), ("int8", 2)])
def test_a_pool_is_read_ahead_once_the_buffer_of_the_last_one_is_free(
    toys: dict[str, Path], store: str, n_pools: int
) -> None:
    """Batches of floats are slices of it, so that it takes a step more."""
    batches = make(toys[store])
    with batches.stream() as stream:
        next(stream)
        assert len(stream._pools) == n_pools
        next(stream)
        assert len(stream._pools) == 2


@pytest.mark.parametrize("store", STORES)
def test_a_stream_holds_few_pools(make_toy: MakeToy, store: str) -> None:
    path = make_toy({f"{era:04}": 200 for era in range(1, 21)}, n_features=320, store=store)
    batches = make(path, batch_size=100, window_size=16, pool_batches=8)
    row_bytes = 320 * {"float32": 4, "int8": 1}[store]
    gc.collect()
    for thread in reader_threads():  # of streams that other tests have dropped
        thread.join(timeout=60)
    with batches.stream() as stream:
        tracemalloc.start()
        try:
            for x, y in itertools.islice(stream, 8 * 20):
                assert len(x) == len(y)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    pool_bytes = 100 * 8 * row_bytes
    decoded_bytes = 4 * 100 * 320 * 4 if store == "int8" else 0
    # Two, and where a thread is held up between its work and letting go of it, one or two more.
    assert pool_bytes < peak < 4.3 * pool_bytes + decoded_bytes


@pytest.mark.parametrize("store", STORES)
def test_pools_decoded_batches_and_single_steps_are_aligned(
    toys: dict[str, Path], store: str
) -> None:
    batches = make(toys[store], batch_size=7, targets="target")
    first_steps = 0
    with batches.stream() as stream:
        for step in range(100):
            x, y = next(stream)
            assert x.flags.c_contiguous
            assert y.flags.c_contiguous
            if store == "int8":
                assert x.ctypes.data % ALIGNMENT == 0
            if batches.sampler.locate(step).low == 0:
                first_steps += 1
                assert x.ctypes.data % ALIGNMENT == 0
                assert y.ctypes.data % ALIGNMENT == 0
            alone_x, alone_y = batches[step]
            assert alone_x.ctypes.data % ALIGNMENT == 0
            assert alone_y.ctypes.data % ALIGNMENT == 0
    assert first_steps > 10


def test_buffers_may_be_collected_while_others_are_allocated(toys: dict[str, Path]) -> None:
    """A batch in a reference cycle goes when the collector runs: in the midst of anything."""
    code = f"""
import gc
import memmap_train as mt
batches = mt.Batches(mt.open_dataset({str(toys["int8"])!r}), batch_size=5, seed=0)
for step in range(1000):
    gc.set_threshold(1 + step % 97, 1, 1)  # runs at ever other places
    cycle = [batches[step]]
    cycle.append(cycle)
    del cycle
print("done")
"""
    assert run_python(code) == "done\n"


# -- threads --------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", STORES)
def test_a_dropped_stream_ends_its_threads(toys: dict[str, Path], store: str) -> None:
    with all_threads_end() as threads:
        stream = make(toys[store]).stream()
        held = take(stream, 4)
        threads += reader_threads()
        del stream
        gc.collect()
    assert_same(held, take(make(toys[store]).stream(), 4))


def test_a_stream_may_be_collected_while_its_thread_plans_a_pool(
    toys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The garbage collector may run in that thread, in the midst of anything."""
    stream = make(toys["float32"]).stream()
    next(stream)
    held, threads = [stream], stream._threads
    del stream
    monkeypatch.setattr(threads, "_adjust_thread_count", held.clear)
    planning = threading.Thread(target=threads.submit, args=[int], daemon=True)
    planning.start()
    planning.join(60)
    assert not held
    assert not planning.is_alive()
    with all_threads_end() as ending:
        ending += threads._threads


@pytest.mark.parametrize("store", STORES)
def test_an_epoch_that_is_left_early_ends_its_threads(toys: dict[str, Path], store: str) -> None:
    with all_threads_end() as threads:
        for _ in make(toys[store]):
            threads += reader_threads()
            break
        gc.collect()


def test_a_finished_epoch_ends_its_threads(toys: dict[str, Path]) -> None:
    with all_threads_end() as threads:
        for _ in make(toys["int8"]):
            threads += reader_threads()


@pytest.mark.parametrize("store", STORES)
def test_a_closed_stream_ends_its_threads_and_says_so(toys: dict[str, Path], store: str) -> None:
    batches = make(toys[store])
    with all_threads_end() as threads:
        stream = batches.stream()
        x, y = next(stream)
        threads += reader_threads()
        stream.close()
        stream.close()
    with pytest.raises(BatchError, match="closed"):
        next(stream)
    with pytest.raises(BatchError, match="closed"):
        stream.at(0)
    assert_same([(x, y)], [batches[0]])


def test_leaving_the_with_block_closes_the_stream(toys: dict[str, Path]) -> None:
    with all_threads_end() as threads, make(toys["float32"]).stream() as stream:
        next(stream)
        threads += reader_threads()
    with pytest.raises(BatchError, match="closed"):
        next(stream)


def test_a_stream_that_never_began_can_be_closed(toys: dict[str, Path]) -> None:
    make(toys["float32"]).stream().close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_stream_of_another_process_is_refused_after_a_fork(toys: dict[str, Path]) -> None:
    """Its threads don't come along: it would wait for them for ever."""
    code = f"""
import os
import memmap_train as mt
from memmap_train.errors import BatchError

batches = mt.Batches(
    mt.open_dataset({str(toys["float32"])!r}), batch_size=20, seed=5, pool_batches=2
)
stream = batches.stream()
next(stream)
if os.fork() == 0:
    try:
        for _ in range(3):
            next(stream)
    except BatchError as error:
        assert "forked" in str(error)
        next(batches.stream(2))  # its own
        os._exit(7)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
next(stream)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_pools_larger_than_memory_are_refused(
    toys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = MemoryBudget(lambda: 2000)
    monkeypatch.setattr(batches_module, "MIN_AVAILABLE", 1000)
    with pytest.raises(BatchError, match=r"pools of 6 batches .* 2\.0 kB at most.*pool_batches"):
        make(toys["float32"], pool_batches=6, memory_budget=budget)
    make(toys["float32"], pool_batches=1, batch_size=10, memory_budget=budget)


def test_streams_do_not_disturb_each_other(toys: dict[str, Path]) -> None:
    batches = make(toys["int8"])
    expected = take(batches.stream(), 60)
    with batches.stream() as first, batches.stream(start=13) as second:
        for step in range(40):
            assert_same([next(first), next(second)], [expected[step], expected[13 + step]])
            assert_same([batches[step]], [expected[step]])


@pytest.mark.parametrize("store", STORES)
def test_many_threads_may_ask_for_any_step(toys: dict[str, Path], store: str) -> None:
    batches = make(toys[store])
    expected = take(batches.stream(), 120)
    steps = random.Random(3).choices(range(120), k=400)
    with ThreadPoolExecutor(8) as threads:
        assert_same(list(threads.map(batches.__getitem__, steps)), [expected[s] for s in steps])


@pytest.mark.parametrize("store", STORES)
def test_many_threads_may_share_one_stream(toys: dict[str, Path], store: str) -> None:
    batches = make(toys[store])
    expected = take(batches.stream(), 60)
    with batches.stream() as stream, ThreadPoolExecutor(4) as threads:
        found = list(threads.map(stream.at, range(60)))
    assert_same(found, expected)


def test_threads_that_share_an_iterator_get_each_batch_once(
    toys: dict[str, Path],
) -> None:
    batches = make(toys["float32"])
    expected = take(batches.stream(), 200)
    with batches.stream() as stream, ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: next(stream), range(200)))
    assert sorted(y.tobytes() for _, y in found) == sorted(y.tobytes() for _, y in expected)


def test_closing_a_stream_that_a_thread_waits_for_is_a_batch_error(
    toys: dict[str, Path],
) -> None:
    ends: list[BaseException] = []

    def read(stream: Stream) -> None:
        try:
            for step in itertools.count():
                stream.at(step * 3)  # another pool each time: always waiting
        except BaseException as error:
            ends.append(error)

    for round_ in range(30):
        stream = make(toys["float32"]).stream()
        thread = threading.Thread(target=read, args=(stream,))
        thread.start()
        for _ in range(round_):
            stream.at(0)
        stream.close()
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert len(ends) == 30
    assert [end for end in ends if not isinstance(end, MemmapTrainError)] == []


# -- damage ---------------------------------------------------------------------------------------


def remove(file: Path) -> None:
    file.unlink()


def replace_by_a_shorter_one(file: Path) -> None:
    """Put another file in the place: cutting a mapped one would kill its readers."""
    other = file.with_name("other")
    other.write_bytes(file.read_bytes()[:-4])
    os.replace(other, file)


@pytest.mark.parametrize("damage", [remove, replace_by_a_shorter_one])
@pytest.mark.parametrize("store", STORES)
def test_damage_found_in_a_thread_ends_the_stream_and_names_the_file(
    make_toy: MakeToy, store: str, damage: Any
) -> None:
    path = make_toy(store=store)
    batches = make(path, window_size=1)
    damage(path / "era-0003" / "features.npy")
    with all_threads_end() as threads:
        stream = batches.stream()
        with pytest.raises(ShardError, match=r"era-0003.features\.npy"):
            next(stream)
        threads += reader_threads()
    with pytest.raises(BatchError, match="closed"):
        next(stream)
    with pytest.raises(ShardError, match=r"era-0003.features\.npy"):
        list(batches)
    with pytest.raises(ShardError, match=r"era-0003.features\.npy"):
        batches[0]


@pytest.mark.parametrize("damage", [remove, replace_by_a_shorter_one])
def test_damaged_targets_are_found_when_a_stream_begins(make_toy: MakeToy, damage: Any) -> None:
    path = make_toy()
    batches = make(path, window_size=1)
    damage(path / "era-0003" / "targets.npy")
    for read in (batches.stream, lambda: list(batches), lambda: batches[0]):
        with pytest.raises(ShardError, match=r"era-0003.targets\.npy"):
            read()


def test_a_stream_keeps_its_targets_when_an_update_replaces_them(
    make_toy: MakeToy,
) -> None:
    path = make_toy()
    batches = make(path, window_size=40, pool_batches=1)
    expected = [y.copy() for _, y in batches]
    with make(path, window_size=40, pool_batches=1).stream(end=len(batches)) as stream:
        for folder in path.glob("era-*"):
            other = folder / "other"
            targets = np.load(folder / "targets.npy")
            with open(other, "wb") as file:
                np.save(file, targets[::-1])
            os.replace(other, folder / "targets.npy")
        for (_, y), before in zip(stream, expected, strict=True):
            np.testing.assert_array_equal(y, before)


@pytest.mark.parametrize("array", ["features", "targets"])
@pytest.mark.parametrize("store", STORES)
def test_a_file_that_is_cut_while_it_is_mapped_is_named(
    make_toy: MakeToy, store: str, array: str
) -> None:
    """In a process of its own: touching what was cut off would kill it."""
    path = make_toy(store=store)
    file = path / "era-0003" / f"{array}.npy"
    code = f"""
import os
import memmap_train as mt
batches = mt.Batches(mt.open_dataset({str(path)!r}), batch_size=10, seed=0, window_size=1)
for _ in batches:
    pass
os.truncate({str(file)!r}, 4)
for act in (lambda: batches[0], lambda: list(batches)):
    try:
        act()
    except mt.MemmapTrainError as error:
        print(error)
"""
    line = f"{file}: the file has become shorter while it was read; "
    assert [found.startswith(line) for found in run_python(code).splitlines()] == [True, True]


@pytest.mark.parametrize("store", STORES)
def test_batches_can_be_pickled_to_another_process(make_toy: MakeToy, store: str) -> None:
    path = make_toy(store=store)
    names = mt.open_dataset(path).feature_names
    batches = make(path, features=list(names[::-2]), pool_batches=3, window_size=4)
    expected = take(batches.stream(), 30)
    pickled = pickle.dumps(batches)
    assert len(pickled) < 20_000
    assert_same(take(pickle.loads(pickled).stream(), 30), expected)
    code = f"import pickle; print(pickle.loads({pickled!r})[7][0].tobytes().hex())"
    assert run_python(code).strip() == expected[7][0].tobytes().hex()


def test_an_era_that_is_not_selected_may_be_missing(make_toy: MakeToy) -> None:
    path = make_toy()
    dataset = mt.open_dataset(path)
    rest = dataset.select([era for era in dataset.eras if era != "0003"])
    remove(path / "era-0003" / "features.npy")
    batches = mt.Batches(rest, batch_size=10, seed=0, drop_remainder=False)
    assert sum(len(x) for x, _ in batches) == N_ROWS - ERAS["0003"]


def test_batches_survive_the_replacement_of_their_files(make_toy: MakeToy) -> None:
    path = make_toy()
    batches = make(path, window_size=1)
    expected = take(batches.stream(), 30)
    for file in path.glob("era-*/*.npy"):
        replace_by_a_shorter_one(file)
    assert_same(take(batches.stream(), 30), expected)


# -- many eras, other processes -------------------------------------------------------------------


def run_python(code: str) -> str:
    """Run code in a fresh interpreter and return its output; one that hangs is stopped."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


FEW_FILES = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
import memmap_train as mt
dataset = mt.open_dataset({path!r})
train, validation = dataset.select(dataset.eras[:1000]), dataset.select(dataset.eras[1000:])
"""


def test_1300_eras_are_read_with_256_open_files(many_eras: Path) -> None:
    code = FEW_FILES.format(path=str(many_eras)) + (
        "batches = mt.Batches(dataset, batch_size=100, seed=0, window_size=1)\n"
        "print(len({float(cell) for x, y in batches for cell in y[:, 0]}))"
    )
    assert run_python(code) == "3900\n"


def test_training_and_validation_share_256_open_files(many_eras: Path) -> None:
    code = FEW_FILES.format(path=str(many_eras)) + (
        "parts = [mt.Batches(p, batch_size=100, seed=0, window_size=1)\n"
        "         for p in (train, validation, train)]\n"
        "print([sum(len(x) for x, y in part) for part in parts * 2])"
    )
    assert run_python(code) == f"{[3000, 900, 3000] * 2}\n"


def test_another_process_gets_the_same_bytes(toys: dict[str, Path]) -> None:
    code = f"""
import hashlib
import memmap_train as mt
batches = mt.Batches(mt.open_dataset({str(toys["int8"])!r}), batch_size=20, seed=5, window_size=4,
                     pool_batches=3)
print(hashlib.sha256(b"".join(a.tobytes() for s in (70, 3, 41) for a in batches[s])).hexdigest())
"""
    batches = make(toys["float32"])
    here = hashlib.sha256(b"".join(a.tobytes() for s in (70, 3, 41) for a in batches[s]))
    assert run_python(code) == here.hexdigest() + "\n"


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
        make(toys["float32"], **options)


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
        make(toys["float32"], **options)


def test_negative_steps_are_refused_at_once(toys: dict[str, Path]) -> None:
    batches = make(toys["float32"])
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
