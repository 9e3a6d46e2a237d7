"""Aligned, reusable buffers: page faults on freshly allocated memory are expensive.

A page fault for every 4 kB makes fresh memory several times slower than used memory. Arrays made
here own nothing: their memory returns when the last array that shows it is gone, so that nothing
that somebody still holds is ever overwritten. Imports nothing of ours.
"""

import mmap
import weakref
from collections import deque
from contextlib import suppress
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

ALIGNMENT = 64  # bytes; TensorFlow takes over aligned arrays without a copy and aborts on others
_MAX_KEPT = 8  # blocks; sizes go out of use
_HUGE_PAGE_BYTES = 2**21  # of x86 and most ARM; where it differs nothing is lost but speed


def disk_buffer(n_bytes: int) -> memoryview:
    """Return memory to read a disk into: its own pages, few and large where the system has such.

    A request is told to the disk page by page. Into pages of 4 kB this project's disk gave
    1.2 GB/s, into pages of 2 MB 3.1 GB/s, for half of the CPU seconds.
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


class Recycler:
    """Makes arrays from blocks of memory that return here; thread-safe without locks.

    A block returns whenever the interpreter drops the last array, be it in the middle of a method
    of this class: a lock would then wait for itself.

    Parameters
    ----------
    planned_bytes : int
        That it will need, if that is known: who looks what memory there is can then tell what of it
        is spoken for.
    """

    _instances: ClassVar[weakref.WeakSet["Recycler"]] = weakref.WeakSet()

    def __init__(self, planned_bytes: int = 0) -> None:
        self._free: deque[npt.NDArray[np.uint8]] = deque()
        self._planned_bytes, self._made_bytes = planned_bytes, 0
        self._instances.add(self)

    @classmethod
    def outstanding_bytes(cls) -> int:
        """Return the bytes that all recyclers of this process plan for and haven't taken yet."""
        return sum(max(0, one._planned_bytes - one._made_bytes) for one in list(cls._instances))

    def clear(self) -> None:
        """Let go of the blocks that have returned."""
        self._free.clear()

    def array(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Any:
        """Return an array with undefined contents, aligned to 64 bytes."""
        n_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        lease = _Lease(self._take(n_bytes), self)
        return np.asarray(lease)[:n_bytes].view(dtype).reshape(shape)

    def give_back(self, block: npt.NDArray[np.uint8]) -> None:
        """Take a block back."""
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
            # A block much larger than what is asked for stays for those who need it.
            if n_bytes <= len(block) <= n_bytes + n_bytes // 4 + 4096:
                return block
            self._free.append(block)
        self._made_bytes += n_bytes
        raw = np.empty(n_bytes + ALIGNMENT, np.uint8)
        offset = -raw.ctypes.data % ALIGNMENT
        return raw[offset : offset + max(n_bytes, 1)]


class _Lease:
    """The owner of arrays made from a block: numpy keeps it alive for as long as one of them is."""

    def __init__(self, block: npt.NDArray[np.uint8], home: Recycler) -> None:
        self.__array_interface__ = block.__array_interface__
        self._block, self._home = block, home

    def __del__(self) -> None:
        self._home.give_back(self._block)
