"""Arrays that are allocated while something runs."""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest


@contextmanager
def counted_allocations(n_bytes: int) -> Iterator[list[int]]:
    """Note the size of every array of at least `n_bytes` that Python code asks numpy for."""
    empty = np.empty
    sizes: list[int] = []

    def noting(*args: Any, **options: Any) -> Any:
        array = empty(*args, **options)
        if array.nbytes >= n_bytes:
            sizes.append(array.nbytes)
        return array

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "empty", noting)
        yield sizes


def peak_bytes(work: Callable[[], object]) -> int:
    """Return the most memory that Python and numpy held at once while `work` ran."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
