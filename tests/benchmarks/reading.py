"""Shuffled batches from the page cache beside memcpy."""

import time
from pathlib import Path

import memmap_train as mt

from .limits import memcpy_rate
from .measuring import print_table
from .sources import Size, make_dataset

BATCH_SIZE = 4096


def run(directory: Path, size: Size) -> None:
    """Print the table."""
    memcpy = memcpy_rate(2)
    rows = []
    for dtype in ("float32", "int8"):
        dataset = make_dataset(directory, size, dtype)
        for window_size in (1, None, 64, 256):
            batches = mt.Batches(
                dataset, batch_size=BATCH_SIZE, seed=1, targets=["target"], window_size=window_size
            )
            seconds, cpu_seconds = _epoch(batches)
            n_rows = len(batches) * BATCH_SIZE
            delivered = n_rows * len(dataset.feature_names) * 4 / seconds
            name = "chosen" if window_size is None else "given"
            rows.append(
                [
                    dtype,
                    f"{batches.window_size} ({name})",
                    str(batches.pool_batches),
                    f"{n_rows / seconds:,.0f}",
                    f"{delivered / 1e9:.1f}",
                    f"{delivered / memcpy:.2f}",
                    f"{cpu_seconds / n_rows * 1e6:.2f}",
                ]
            )
    print_table(
        f"Warm batches of {BATCH_SIZE:,} x {len(dataset.feature_names):,}; memcpy on two threads "
        f"{memcpy / 1e9:.1f} GB/s",
        ["store", "window", "pool", "rows/s", "GB/s", "of memcpy", "CPU s per million rows"],
        rows,
    )


def _epoch(batches: mt.Batches) -> tuple[float, float]:
    """Return wall and CPU seconds of an epoch, after one that warms everything up."""
    with batches.stream() as stream:
        for _ in range(len(batches)):
            next(stream)
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(len(batches)):
            next(stream)
        return time.perf_counter() - wall, time.process_time() - cpu
