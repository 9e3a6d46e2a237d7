"""Batches of a dataset larger than memory, compared with the disk's sequential rate.

Everything is measured in a process of its own, in a memory group about a third as large as the
float32 store, with none of the files in the page cache. The disk is measured before and after: as
`dd` reads it, and at its best.
"""

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import memmap_train as mt
from memmap_train.loading.rates import disk_rate, measure, read_bytes

from .caching import evict
from .limits import direct_rate
from .measuring import alone, print_table
from .memory_groups import MemoryGroup, NoMemoryGroupError, memory_group
from .sources import Size, make_dataset

BATCH_SIZE = 4096
_TIMES_ERAS = 5 / 3  # 100 eras, 1.76 GB
_TIMES_MEMORY = 3.2
_NAIVE_SECONDS = 5.0
_NAIVE_ROWS = 16  # between two looks at the clock

Found = Mapping[str, float]
_Runs = dict[str, list[dict[str, float]]]


@dataclass(frozen=True, slots=True)
class _Way:
    """A way to read a store: number of epochs, and whether with direct I/O."""

    name: str
    dtype: str
    n_epochs: int = 1
    direct: bool | None = None
    random_rows: bool = False


_FLOAT32, _INT8 = "float32 as chosen", "int8 as chosen"
_MAPS, _RANDOM = "float32 through maps", "random rows of plain np.memmap"
_WAYS = (
    _Way(_FLOAT32, "float32", 2),
    _Way(_INT8, "int8", 8),  # as many bytes
    _Way(_MAPS, "float32", direct=False),
    _Way(_RANDOM, "float32", random_rows=True),
)


def run(directory: Path, size: Size) -> None:
    """Print the tables, or a line with the reason why there are none."""
    size = replace(size, eras=round(size.eras * _TIMES_ERAS))
    datasets = {dtype: make_dataset(directory, size, dtype) for dtype in ("float32", "int8")}
    limit = round(datasets["float32"].feature_bytes / _TIMES_MEMORY)
    runs: _Runs = {}
    try:
        for _ in range(size.repeats):
            _measure_all(datasets, limit, runs)
    except NoMemoryGroupError as error:
        print(f"\ncold is left out, it needs a memory group of its own: {error}")
        return
    _print(datasets["float32"], limit, size, runs)


def _measure_all(datasets: Mapping[str, mt.Dataset], limit: int, runs: _Runs) -> None:
    features = sorted(datasets["float32"].path.rglob("features.npy"))
    before = disk_rate(features)
    plain = direct_rate(features) or 0
    for way in _WAYS:
        dataset = datasets[way.dtype]
        work = _random_rows if way.random_rows else _batches
        found = _in_group(dataset, limit, work, dataset.path, way)
        after = disk_rate(features)
        if before and after:
            rate = (before + after) / 2
            stored = found.get("stored_bytes_per_second", 0)
            found |= {"disk": rate, "share": stored / rate, "plain": plain}
            found["of plain"] = stored / plain
        before = after
        runs.setdefault(way.name, []).append(found)
    for dtype, dataset in datasets.items():
        found = _in_group(dataset, limit, _first_batch, dataset.path)
        runs.setdefault(dtype, []).append(found)


def _in_group(dataset: mt.Dataset, limit: int, work: Any, *arguments: Any) -> dict[str, float]:
    """Run work on a dataset that isn't in memory; a killed process has only counts."""
    evict(sorted(dataset.path.rglob("*.npy")))
    with memory_group(limit) as group:
        try:
            found, peak = alone(_enter, group, work, *arguments)
        except EOFError:  # the process ended without an answer
            found, peak = {}, 0
        counts = {"refusals": group.refusals(), "kills": group.kills(), "peak": peak}
    return {**found, **counts}


def _enter(group: MemoryGroup, work: Any, *arguments: Any) -> Found:
    group.enter()
    found: Found = work(*arguments)
    return found


def _open(path: Path) -> mt.Batches:
    return mt.Batches(mt.open_dataset(path), batch_size=BATCH_SIZE, seed=1, targets=["target"])


def _batches(path: Path, way: _Way) -> Found:
    """Read whole epochs with a stream; to be run by `alone`."""
    batches = _open(path)
    rate = measure(batches, direct=way.direct, n_steps=way.n_epochs * len(batches))
    return {
        "rows_per_second": rate.rows_per_second,
        "stored_bytes_per_second": rate.stored_bytes_per_second,
        "cpu": rate.cpu_seconds_per_million_rows,
        "amplification": rate.read_amplification or 0,
        "inflation": batches.shuffling.inflation(),
        "window": batches.window_size,
        "pool": batches.pool_batches,
    }


def _random_rows(path: Path, _way: _Way) -> Found:
    """Copy single rows from plain memory maps for some seconds; to be run by `alone`."""
    maps = [np.load(file, mmap_mode="r") for file in sorted(path.rglob("features.npy"))]
    rng = np.random.default_rng(0)
    row = np.empty(maps[0].shape[1], maps[0].dtype)
    bytes_before, wall, cpu = read_bytes(), time.perf_counter(), time.process_time()
    n_rows = 0
    while time.perf_counter() < wall + _NAIVE_SECONDS:
        for era in rng.integers(0, len(maps), _NAIVE_ROWS).tolist():
            row[:] = maps[era][rng.integers(0, len(maps[era]))]
        n_rows += _NAIVE_ROWS
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    n_bytes = n_rows * row.nbytes
    return {
        "rows_per_second": n_rows / seconds,
        "stored_bytes_per_second": n_bytes / seconds,
        "cpu": cpu_seconds / n_rows * 1e6,
        "amplification": ((read_bytes() or 0) - (bytes_before or 0)) / n_bytes,
        "inflation": 1.0,
        "window": 1,
        "pool": 0,
    }


def _first_batch(path: Path) -> Found:
    """Open a dataset and take a batch; to be run by `alone`."""
    started = time.perf_counter()
    with _open(path).stream() as stream:
        next(stream)
        return {"seconds": time.perf_counter() - started}


def _median(runs: _Runs, name: str, key: str) -> float:
    values = [found[key] for found in runs[name] if key in found]
    return statistics.median(values) if values else 0


def _ratio(runs: _Runs, name: str, beside: str) -> float:
    """Return the median ratio of rows per second of runs that followed one another."""
    pairs = zip(runs[name], runs[beside], strict=True)
    ratios = [
        a["rows_per_second"] / b["rows_per_second"]
        for a, b in pairs
        if a.get("rows_per_second") and b.get("rows_per_second")
    ]
    return statistics.median(ratios) if ratios else 0


def _print(dataset: mt.Dataset, limit: int, size: Size, runs: _Runs) -> None:
    median = partial(_median, runs)
    disk = statistics.median([median(way.name, "disk") for way in _WAYS])
    print_table(
        f"Cold: {dataset.n_rows:,} rows x {len(dataset.feature_names):,} features, "
        f"{dataset.feature_bytes / 1e9:.2f} GB as float32, in {limit / 1e6:,.0f} MB of memory; the "
        f"disk reads {median(_FLOAT32, 'plain') / 1e9:.2f} GB/s past the page cache as dd does, "
        f"{disk / 1e9:.2f} at best (large pages, several requests); medians of {size.repeats} runs "
        "in turn",
        [
            "what",
            "window",
            "pool",
            "rows/s",
            "GB/s as stored",
            "of the disk",
            "read / used",
            "CPU s per million rows",
            "gradient variance x",
            "limit hit",
            "killed",
            "peak anonymous MB",
        ],
        [
            [
                way.name,
                f"{median(way.name, 'window'):.0f}",
                f"{median(way.name, 'pool'):.0f}" if median(way.name, "pool") else "",
                f"{median(way.name, 'rows_per_second'):,.0f}",
                f"{median(way.name, 'stored_bytes_per_second') / 1e9:.3f}",
                f"{median(way.name, 'share'):.2f}" if disk else "",
                f"{median(way.name, 'amplification'):,.3f}",
                f"{median(way.name, 'cpu'):,.2f}",
                f"{median(way.name, 'inflation'):.3f}",
                f"{median(way.name, 'refusals'):,.0f}",
                f"{sum(found['kills'] for found in runs[way.name]):.0f}",
                f"{median(way.name, 'peak') / 1e6:,.0f}",
            ]
            for way in _WAYS
        ],
    )
    _print_promises(runs)


def _print_promises(runs: _Runs) -> None:
    median, ratio = partial(_median, runs), partial(_ratio, runs)
    amplification = max(median(name, "amplification") for name in (_FLOAT32, _INT8))
    inflation = max(median(name, "inflation") for name in (_FLOAT32, _INT8))
    of_plain = median(_FLOAT32, "of plain")
    kills = sum(found["kills"] for name in (_FLOAT32, _INT8) for found in runs[name])
    print_table(
        "Cold, beside what is promised",
        ["what", "found", "goal"],
        [
            ["float32, of the disk's rate as dd reads", f"{of_plain:.2f}", "0.9 or more"],
            ["float32, of the disk's best rate", f"{median(_FLOAT32, 'share'):.2f}", ""],
            ["int8, rows/s times float32's", f"{ratio(_INT8, _FLOAT32):.2f}", "2.5 or more"],
            ["times random rows", f"{ratio(_FLOAT32, _RANDOM):,.0f}", "100 or more"],
            ["times maps", f"{ratio(_FLOAT32, _MAPS):.2f}", ""],
            ["bytes read / used", f"{amplification:.3f}", "1.05 or less"],
            ["gradient variance x", f"{inflation:.3f}", "1.05 or less"],
            ["killed for memory", f"{kills:.0f}", "0"],
            ["first batch of float32, seconds", f"{median('float32', 'seconds'):.2f}", ""],
            ["first batch of int8, seconds", f"{median('int8', 'seconds'):.2f}", ""],
        ],
    )
