"""Tests of the memory of batches: whose it is, how much there is, when it is used again."""

import gc
import itertools
import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from memmap_train.errors import BatchError
from memmap_train.loading import batches as batches_module
from memmap_train.loading.window_sampler import WindowSampler
from memmap_train.system.memory_budget import MemoryBudget
from tests.support.allocations import counted_allocations
from tests.support.toy_batches import (
    STORES,
    assert_same,
    reader_threads,
    rows_of,
    run_python,
    take,
    toy_batches,
)
from tests.support.toy_datasets import MakeToy

ALIGNMENT = 64  # bytes: TensorFlow aborts on a borrowed array that has less


@pytest.mark.parametrize("store", STORES)
def test_arrays_that_a_caller_holds_are_never_overwritten(
    toys: dict[str, Path], store: str
) -> None:
    """Some batches are kept whole, of some a row or the targets only, most are dropped."""
    batches = toy_batches(toys[store], pool_batches=2)
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
    batches = toy_batches(toys[store])
    expected = take(batches.stream(), 3 * len(batches))
    for (x, y), (expected_x, expected_y) in zip(batches.stream(), expected, strict=False):
        assert_same([(x, y)], [(expected_x, expected_y)])
        x[:], y[:] = -1, -1


@pytest.mark.parametrize(("store", "most"), [("float32", 4), ("int8", 8)])
def test_buffers_are_reused(make_toy: MakeToy, store: str, most: int) -> None:
    """Of 50 pools, two are under way and one is held; int8 has decoded batches too."""
    batches = toy_batches(make_toy(n_features=320, store=store), targets="target")
    n_pools = 50
    with counted_allocations(20 * 320) as sizes, batches.stream() as stream:
        for _ in range(n_pools * 3):
            batch = next(stream)
            rows_of(batch[1])
    assert 2 <= len(sizes) <= most


def test_pools_of_unequal_sizes_share_buffers(make_toy: MakeToy) -> None:
    """61 batches in pools of at most 16: three of 15 and one of 16, epoch after epoch."""
    path = make_toy({"0001": 400, "0002": 215}, n_features=500, n_targets=1)
    batches = toy_batches(path, batch_size=10, pool_batches=16)
    assert isinstance(batches.sampler, WindowSampler)
    assert {batches.sampler.pool_rows(pool) for pool in range(4)} == {150, 160}
    with counted_allocations(150 * 500 * 4) as sizes, batches.stream() as stream:
        for _ in range(12 * len(batches)):
            next(stream)
    assert len(sizes) == 2


def test_later_epochs_reuse_the_memory_of_earlier_ones(make_toy: MakeToy) -> None:
    batches = toy_batches(make_toy(n_features=320, store="int8"))
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
    batches = toy_batches(toys[store])
    with batches.stream() as stream:
        next(stream)
        assert len(stream._pools) == n_pools
        next(stream)
        assert len(stream._pools) == 2


@pytest.mark.parametrize("store", STORES)
def test_a_stream_holds_few_pools(make_toy: MakeToy, store: str) -> None:
    path = make_toy({f"{era:04}": 200 for era in range(1, 21)}, n_features=320, store=store)
    batches = toy_batches(path, batch_size=100, window_size=16, pool_batches=8)
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
    batches = toy_batches(toys[store], batch_size=7, targets="target")
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


def test_pools_larger_than_memory_are_refused(
    toys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = MemoryBudget(lambda: 2000)
    monkeypatch.setattr(batches_module, "MIN_AVAILABLE", 1000)
    with pytest.raises(BatchError, match=r"pools of 6 batches .* 2\.0 kB at most.*pool_batches"):
        toy_batches(toys["float32"], pool_batches=6, memory_budget=budget)
    toy_batches(toys["float32"], pool_batches=1, batch_size=10, memory_budget=budget)
