"""Aligned, reusable buffers: page faults on freshly allocated memory are expensive.

A page fault for every 4 kB makes fresh memory several times slower than used memory. Arrays made
here don't own their memory: it returns to its pool when the last array that shows it is gone, so
that no array that a caller still holds is ever overwritten.
"""

import mmap
from collections import deque
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from .memory_budget import Reservation

ALIGNMENT = 64  # bytes; TensorFlow takes over aligned arrays without a copy and aborts on others
_MAX_KEPT = 8  # blocks; some sizes aren't needed again
_HUGE_PAGE_BYTES = 2**21  # on x86 and most ARM; on others only speed is lost


def disk_buffer(n_bytes: int) -> memoryview:
    """Return memory to read from a disk into; in large pages where the system has them.

    A request is passed to the disk page by page. With pages of 4 kB a disk was read at 1.2 GB/s,
    with pages of 2 MB at 3.1 GB/s, for half of the CPU seconds.
    """
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return memoryview(mmap.mmap(-1, n_bytes))[:n_bytes]
    whole_pages = -(-n_bytes // _HUGE_PAGE_BYTES) * _HUGE_PAGE_BYTES
    # Shared memory, mmap's default, has small pages; a large one begins at a multiple of its size.
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    memory = mmap.mmap(-1, whole_pages + _HUGE_PAGE_BYTES, flags=private)
    with suppress(OSError):  # a kernel without large pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    offset = -np.frombuffer(memory, np.uint8).ctypes.data % _HUGE_PAGE_BYTES
    return memoryview(memory)[offset : offset + n_bytes]


class BufferPool:
    """Makes arrays from blocks of memory that return here; thread-safe without locks.

    A block returns whenever the interpreter drops the last array that shows it, which may be in the
    middle of a method of this class: a lock would then wait for itself.

    Parameters
    ----------
    reservation : Reservation, optional
        The reserved memory that the arrays will take, if it is known.
    """

    def __init__(self, reservation: Reservation | None = None) -> None:
        self._free: deque[npt.NDArray[np.uint8]] = deque()
        self._reservation = Reservation(0) if reservation is None else reservation

    def clear(self) -> None:
        """Release the blocks that have returned."""
        self._free.clear()

    def array(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Any:
        """Return an array with undefined contents, aligned to 64 bytes."""
        n_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        lease = _Lease(self._take(n_bytes), self)
        return np.asarray(lease)[:n_bytes].view(dtype).reshape(shape)

    def give_back(self, block: npt.NDArray[np.uint8]) -> None:
        """Accept a block that no array shows any more."""
        self._free.append(block)
        if len(self._free) > _MAX_KEPT:
            with suppress(IndexError):
                self._free.popleft()

    def _take(self, n_bytes: int) -> npt.NDArray[np.uint8]:
        for _ in range(len(self._free)):
            try:
                block = self._free.popleft()
            except IndexError:  # another thread was faster
                break
            # A much larger block is kept for an array of its size.
            if n_bytes <= len(block) <= n_bytes + n_bytes // 4 + 4096:
                return block
            self._free.append(block)
        self._reservation.take(n_bytes)
        raw = np.empty(n_bytes + ALIGNMENT, np.uint8)
        offset = -raw.ctypes.data % ALIGNMENT
        return raw[offset : offset + max(n_bytes, 1)]


class _Lease:
    """The owner of the arrays made from a block: numpy keeps it alive as long as one of them."""

    def __init__(self, block: npt.NDArray[np.uint8], home: BufferPool) -> None:
        self.__array_interface__ = block.__array_interface__
        self._block, self._home = block, home

    def __del__(self) -> None:
        self._home.give_back(self._block)
