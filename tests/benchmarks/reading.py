"""Shuffled batches from the page cache, compared with memcpy."""

import statistics
from pathlib import Path

import memmap_train as mt

from .limits import memcpy_rate
from .measuring import Spent, print_table, timed
from .sources import Size, make_dataset

BATCH_SIZE = 4096
REPEATS = 5


def run(directory: Path, size: Size) -> None:
    """Print the table: medians of epochs, each with a copy in memory measured just before."""
    rows = []
    for dtype in ("float32", "int8"):
        dataset = make_dataset(directory, size, dtype)
        for window_size in (1, None, 64, 256):
            batches = mt.Batches(
                dataset, batch_size=BATCH_SIZE, seed=1, targets=["target"], window_size=window_size
            )
            n_rows = len(batches) * BATCH_SIZE
            n_bytes = n_rows * len(dataset.feature_names) * 4
            found = _epochs(batches)
            seconds = statistics.median(epoch.seconds for epoch, _ in found)
            cpu_seconds = statistics.median(epoch.cpu_seconds for epoch, _ in found)
            shares = [n_bytes / epoch.seconds / memcpy for epoch, memcpy in found]
            name = "chosen" if window_size is None else "given"
            rows.append(
                [
                    dtype,
                    f"{batches.window_size} ({name})",
                    str(batches.pool_batches),
                    f"{n_rows / seconds:,.0f}",
                    f"{n_bytes / seconds / 1e9:.1f}",
                    f"{statistics.median(shares):.2f}",
                    f"{cpu_seconds / n_rows * 1e6:.2f}",
                ]
            )
    print_table(
        f"Warm batches of {BATCH_SIZE:,} x {len(dataset.feature_names):,}; medians of {REPEATS} "
        "epochs, each beside memcpy on two threads",
        ["store", "window", "pool", "rows/s", "GB/s", "of memcpy", "CPU s per million rows"],
        rows,
    )


def _epochs(batches: mt.Batches) -> list[tuple[Spent, float]]:
    """Return the times of epochs and the rate of memcpy before each, after an unmeasured one."""
    found = []
    with batches.stream() as stream:

        def epoch() -> None:
            for _ in range(len(batches)):
                next(stream)

        for _ in range(REPEATS):
            memcpy = memcpy_rate(2)
            epoch()  # what was read ahead during the copy belongs to no epoch measured
            found.append((timed(epoch), memcpy))
    return found
