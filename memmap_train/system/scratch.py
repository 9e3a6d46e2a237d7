"""Scratch arrays that each thread reuses: page faults on freshly allocated memory are expensive."""

import threading
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from .buffers import disk_buffer


class ThreadScratch:
    """Named arrays of each thread; they grow, and are kept until the thread ends.

    >>> scratch = ThreadScratch()
    >>> first = scratch.array("rows", (2, 3), np.float32)
    >>> first.shape, np.shares_memory(first, scratch.array("rows", (4,), np.float32))
    ((2, 3), True)
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def array(
        self, name: str, shape: int | tuple[int, ...], dtype: npt.DTypeLike
    ) -> npt.NDArray[Any]:
        """Return this thread's array of a name, uninitialized; valid until the next call.

        Parameters
        ----------
        name : str
            Each name has one dtype.
        shape : int or tuple of int
        dtype : dtype
        """
        n_items = shape if isinstance(shape, int) else prod(shape)
        memory: npt.NDArray[Any] | None = self._local.__dict__.get(name)
        if memory is None or len(memory) < n_items:
            memory = self._local.__dict__[name] = np.empty(n_items, dtype)
        return memory[:n_items].reshape(shape)


class DiskScratch:
    """A buffer for each thread to read from a disk into; it grows, and lasts until the thread ends.

    >>> scratch = DiskScratch()
    >>> len(scratch.buffer(5000)), len(scratch.buffer(10))
    (5000, 5000)
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def buffer(self, n_bytes: int) -> memoryview:
        """Return this thread's buffer, of at least `n_bytes` bytes; valid until the next call."""
        memory: memoryview | None = self._local.__dict__.get("memory")
        if memory is None or len(memory) < n_bytes:
            memory = self._local.memory = disk_buffer(n_bytes)
        return memory


PROCESS_DISK_SCRATCH = DiskScratch()
"""Shared by all files that are read directly: its memory grows with threads, not with files."""
