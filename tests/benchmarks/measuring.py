"""What all benchmarks share: a data set of real width, timing, tables, the machine's limits."""

import itertools
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from memmap_train.sample import write_sample

ERAS, ROWS_PER_ERA, FEATURES = 60, 4200, 1050  # a tenth of the 1,050-feature data set of 2021


@dataclass(frozen=True, slots=True)
class Timing:
    """Medians over several runs: wall and CPU seconds (of the whole process)."""

    seconds: float
    cpu_seconds: float


def timed(work: Callable[[], object], repeats: int = 3) -> Timing:
    """Run something several times and return the medians."""
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return Timing(statistics.median(walls), statistics.median(cpus))


def make_sources(directory: Path) -> list[Path]:
    """Write the data set, once per folder; return its parquet files."""
    paths = [directory / "train.parquet", directory / "validation.parquet"]
    if not all(path.exists() for path in paths):
        write_sample(directory, n_eras=ERAS, rows_per_era=ROWS_PER_ERA, n_features=FEATURES)
    return paths


def memcpy_rate(threads: int, n_bytes: int = 400_000_000) -> float:
    """Return bytes copied per second between two warm arrays."""
    source, target = np.ones(n_bytes, np.uint8), np.ones(n_bytes, np.uint8)
    edges = np.linspace(0, n_bytes, threads + 1).astype(int)
    parts = [slice(a, b) for a, b in itertools.pairwise(edges)]
    with ThreadPoolExecutor(threads) as executor:

        def copy() -> None:
            list(executor.map(lambda part: np.copyto(target[part], source[part]), parts))

        copy()
        return n_bytes / timed(copy, 5).seconds


def anonymous_bytes() -> int:
    """Return this process's anonymous memory: what a memory limit can't take back."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


@contextmanager
def peak_memory() -> Iterator[Callable[[], int]]:
    """Sample the anonymous memory while the block runs; the yielded function gives the peak."""
    done = threading.Event()
    peak = [anonymous_bytes()]

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], anonymous_bytes())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: peak[0]
    finally:
        done.set()
        thread.join()


def write_seconds(path: Path, n_bytes: int) -> tuple[float, float]:
    """Return the seconds of writing so many bytes from one reused buffer, and of the fsync."""
    buffer = np.random.default_rng(0).integers(0, 256, 8_000_000, dtype=np.uint8).data
    started = time.perf_counter()
    with open(path, "wb", buffering=0) as file:
        left = n_bytes
        while left:
            left -= file.write(buffer[: min(left, len(buffer))])
        written = time.perf_counter()
        os.fsync(file.fileno())
    synced = time.perf_counter()
    path.unlink()
    return written - started, synced - written


def print_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    print(f"\n{title}\n")
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, ["-" * width for width in widths], *rows):
        print("| " + " | ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)) + " |")
