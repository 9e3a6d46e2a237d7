"""Batches of eras, compared with batches of rows: from the page cache and from the disk.

All ways are measured in turn, several times; a rate counts rows with labels, and is shown next to
that of batches of rows just before.
"""

import statistics
from pathlib import Path
from typing import Any

import memmap_train as mt
from memmap_train.loading.page_cache import read_ahead
from memmap_train.loading.rates import measure
from memmap_train.system.direct_io import can_read_directly
from memmap_train.system.memory_budget import PROCESS_MEMORY, MemoryBudget

from .measuring import print_table
from .sources import Size, make_dataset

ERAS, ROWS = 8, 512
_EPOCHS = 3  # the first batches use fresh memory
_ROWS, _OF_ERAS, _RANDOM, _WHOLE = "rows", "eras", "eras, random rows", "whole eras"
_WAYS = (_ROWS, _OF_ERAS, _WHOLE)


def run(directory: Path, size: Size) -> None:
    """Print the table."""
    rows = []
    for dtype in ("float32", "int8"):
        dataset = make_dataset(directory, size, dtype)
        read_ahead(dataset, dataset.eras)
        files = [dataset[era].file("features") for era in dataset.eras]
        for direct in (False, True):
            if direct and not can_read_directly(files[0]):
                continue
            rows += _rows(dataset, direct, size.repeats)
    print_table(
        f"Batches of {ERAS} eras x {ROWS:,} rows, and of as many rows; medians of {size.repeats}",
        [
            "store",
            "from",
            "batches of",
            "window",
            "pool",
            "rows/s",
            "times rows",
            "CPU s per M rows",
        ],
        rows,
    )


def _rows(dataset: mt.Dataset, direct: bool, repeats: int) -> list[list[str]]:
    # Single rows are never read with direct I/O.
    ways = _WAYS if direct else (*_WAYS, _RANDOM)
    batches = {}
    for name in ways:
        # As in a machine that the dataset doesn't fit into.
        budget = MemoryBudget(lambda: dataset.feature_bytes) if direct else PROCESS_MEMORY
        batches[name] = _batches(dataset, name, memory_budget=budget)
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
    for _ in range(repeats):
        beside = 0.0
        for name, some in batches.items():
            rate = measure(some, direct=direct, n_steps=_EPOCHS * len(some))
            real = _real_share(some)
            rows_per_second = rate.rows_per_second * real
            beside = rows_per_second if name == _ROWS else beside
            cpu = rate.cpu_seconds_per_million_rows / real
            found[name].append((rows_per_second, rows_per_second / beside, cpu))
    lines = []
    for name, some in batches.items():
        rows_per_second, times, cpu = map(statistics.median, zip(*found[name], strict=True))
        lines.append(
            [
                dataset.manifest.dtype,
                "the disk" if direct else "memory",
                name,
                str(some.window_size),
                str(some.pool_batches),
                f"{rows_per_second:,.0f}",
                f"{times:.2f}",
                f"{cpu:.2f}",
            ]
        )
    return lines


def _batches(dataset: mt.Dataset, name: str, **options: Any) -> mt.Batches:
    options |= {"seed": 1, "targets": ["target"]}
    if name == _ROWS:
        return mt.Batches(dataset, batch_size=ERAS * ROWS, **options)
    if name == _WHOLE:
        return mt.Batches(dataset, eras_per_batch=1, rows_per_era=0, **options)
    if name == _RANDOM:
        options["window_size"] = 1
    return mt.Batches(dataset, eras_per_batch=ERAS, rows_per_era=ROWS, **options)


def _real_share(batches: mt.Batches) -> float:
    """Return the share of rows that aren't padding."""
    dataset = batches.dataset
    if batches.batch_size == max(dataset.rows_per_era):
        return dataset.n_rows / (len(dataset.eras) * batches.batch_size)
    return 1.0
