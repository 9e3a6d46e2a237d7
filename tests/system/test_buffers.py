"""Tests of reused buffers: they are aligned, and never shared by two live arrays."""

import gc
import mmap
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memmap_train.system.buffers import BufferPool, disk_buffer

ALIGNMENT = 64  # bytes: TensorFlow aborts on a borrowed array that has less
FLOAT32, INT8 = np.dtype(np.float32), np.dtype(np.int8)


def address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


@pytest.mark.parametrize("dtype", [FLOAT32, INT8])
@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (1000, 7), (4, 0), (0, 4)])
def test_arrays_are_aligned_writeable_and_of_the_requested_shape(
    shape: tuple[int, int], dtype: np.dtype[Any]
) -> None:
    pool = BufferPool()
    for _ in range(5):
        array = pool.array(shape, dtype)
        assert array.shape == shape
        assert array.dtype == dtype
        assert array.flags.c_contiguous
        assert address(array) % ALIGNMENT == 0
        array[:] = 1
        assert (array == 1).all()


def test_memory_is_recycled_when_its_last_array_is_gone() -> None:
    pool = BufferPool()
    array = pool.array((100, 10), FLOAT32)
    block = address(array)
    row = array[57].view(np.int32)[2:3]
    del array
    other = pool.array((100, 10), FLOAT32)
    assert address(other) != block
    del row
    assert address(pool.array((100, 10), FLOAT32)) == block


def test_a_memoryview_keeps_its_memory_alive() -> None:
    pool = BufferPool()
    array = pool.array((100, 10), FLOAT32)
    array[:] = 7
    view = memoryview(array)
    del array
    pool.array((100, 10), FLOAT32)[:] = 0
    assert (np.asarray(view) == 7).all()


def test_a_block_is_reused_for_slightly_smaller_arrays_only() -> None:
    pool = BufferPool()
    block = address(pool.array((10_000, 10), INT8))
    assert address(pool.array((9_000, 10), INT8)) == block
    small = pool.array((1_000, 10), INT8)
    assert address(small) != block
    assert address(pool.array((10_000, 10), INT8)) == block


def test_only_a_few_free_blocks_are_kept() -> None:
    pool = BufferPool()
    tracemalloc.start()
    try:
        held = [pool.array((10_000, 10), INT8) for _ in range(100)]
        assert len({address(array) for array in held}) == 100
        del held
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 1 * 100_000 < kept < 20 * 100_000


@given(
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 2000), st.booleans()), max_size=60),
)
def test_live_arrays_never_overlap(actions: list[tuple[int, int, bool]]) -> None:
    pool = BufferPool()
    held: dict[int, Any] = {}
    for number, (slot, n_rows, keep) in enumerate(actions):
        array = pool.array((n_rows, 3), INT8)
        array[:] = number % 100
        held.pop(slot, None)
        if keep:
            held[slot] = (array, number % 100)
        del array
        for kept, written in held.values():
            assert (kept == written).all()


def test_threads_never_get_the_same_memory() -> None:
    pool = BufferPool()
    start = threading.Barrier(4)

    def work(number: int) -> int:
        start.wait()
        n_wrong = 0
        for _ in range(500):
            array = pool.array((500, 4), INT8)
            array[:] = number
            n_wrong += int((array != number).any())
        return n_wrong

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(work, range(4))) == [0] * 4


def test_memory_in_a_reference_cycle_is_recycled_when_it_is_collected() -> None:
    pool = BufferPool()
    cycle: list[Any] = [pool.array((100, 10), FLOAT32)]
    block = address(cycle[0])
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert address(pool.array((100, 10), FLOAT32)) == block


@pytest.mark.parametrize("n_bytes", [1, 4096, 2**21, 2**21 + 1])
def test_a_disk_buffer_is_writeable_page_aligned_and_of_the_requested_length(
    n_bytes: int,
) -> None:
    buffers = [disk_buffer(n_bytes) for _ in range(2)]
    for value, buffer in enumerate(buffers):
        assert len(buffer) == n_bytes
        assert np.frombuffer(buffer, np.uint8).ctypes.data % mmap.PAGESIZE == 0
        buffer[:] = bytes([value]) * n_bytes
    assert [set(buffer) for buffer in buffers] == [{0}, {1}]


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="this system has no large pages")
def test_a_disk_buffer_may_use_huge_pages() -> None:
    assert np.frombuffer(disk_buffer(5), np.uint8).ctypes.data % 2**21 == 0
