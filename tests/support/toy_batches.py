"""Batches of the toy datasets: their rows, and whether two series of them are equal."""

import itertools
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import memmap_train as mt
from tests.support.toy import toy_features, toy_targets
from tests.support.toy_datasets import ERAS, N_FEATURES, N_TARGETS

Float32 = npt.NDArray[np.float32]
Batch = tuple[Float32, Float32]

STORES = ["float32", "int8"]
N_ROWS = sum(ERAS.values())


def toy_batches(path: Path, **options: Any) -> mt.Batches:
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


def run_python(code: str) -> str:
    """Run code in a fresh interpreter and return its output; one that hangs is stopped."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
