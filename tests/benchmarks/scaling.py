"""Costs that must not grow: of a row with the number of rows, memory with steps, the first batch.

The data are 1,300 eras of few features, so that millions of rows fit into the page cache.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

import memmap_train as mt
from memmap_train.loading.window_sampler import WindowSampler

from .measuring import Job, Measured, Spent, alone, anonymous_bytes, in_turn, print_table, timed
from .sources import Size, make_dataset

BATCH_SIZE = 4096
ERAS, FEATURES = 1_300, 32
SHARES = (0.075, 0.3, 1.0)  # of the eras: 0.4 to 5.5 million rows
STEPS, WARM_STEPS = 5_000, 1_000
ORDERED_ROWS = 7_000_000  # all of v5.3
_MAX_FIRST_SECONDS = 0.5
_MAX_GROWTH_BYTES = 3e6
_SAMPLES, _LINE_POINTS = 200, 10

_FIRST, _PERMUTATION, _NEXT_POOL = "first batch", "an epoch's first pool", "a pool's places"


def run(directory: Path, size: Size) -> None:
    """Print the tables."""
    many = make_dataset(directory, replace(size, eras=ERAS, features=FEATURES), "float32")
    wide = {dtype: make_dataset(directory, size, dtype) for dtype in ("float32", "int8")}
    counts = [max(1, round(len(many.eras) * share)) for share in SHARES]
    cases = list(itertools.product((1, None), counts))
    found = in_turn(
        [
            *(Job(_epoch, (_name(*case), many.path, *case)) for case in cases),
            Job(_first_batch, (_FIRST, many.path)),
            Job(_permute, (ORDERED_ROWS, size.rows_per_era)),
        ],
        size.repeats,
    )
    _print_epochs(many, cases, found, size)
    _print_once(many, found)
    _print_growth(many, wide, size)


def _print_epochs(
    many: mt.Dataset,
    cases: Sequence[tuple[int | None, int]],
    found: Mapping[str, Measured],
    size: Size,
) -> None:
    fewest = min(n_eras for _, n_eras in cases)
    rows = []
    for window_size, n_eras in cases:
        n_rows = _whole_batches(many, n_eras)
        spent = found[_name(window_size, n_eras)]
        least = found[_name(window_size, fewest)]
        cost = spent.cpu_seconds / n_rows
        rows.append(
            [
                "1" if window_size else "chosen",
                f"{n_rows:,}",
                f"{n_rows / spent.seconds:,.0f}",
                f"{cost * 1e6:.3f}",
                f"{cost / (least.cpu_seconds / _whole_batches(many, fewest)):.2f}",
                f"{spent.peak_bytes / 1e6:,.0f}",
            ]
        )
    print_table(
        f"Epochs of more and more rows, {FEATURES} features, warm; medians of {size.repeats} runs "
        "in turn",
        [
            "window",
            "rows",
            "rows/s",
            "CPU s per million rows",
            "times the fewest rows'",
            "peak anonymous MB",
        ],
        rows,
    )


def _print_once(many: mt.Dataset, found: Mapping[str, Measured]) -> None:
    print_table(
        "What happens once",
        ["what", "seconds", "CPU seconds", "peak anonymous MB of its process", "goal"],
        [
            [
                what,
                f"{found[name].seconds:.3f}",
                f"{found[name].cpu_seconds:.3f}",
                f"{found[name].peak_bytes / 1e6:,.0f}",
                goal,
            ]
            for name, what, goal in (
                (_FIRST, f"open {len(many.eras):,} eras, first batch", f"{_MAX_FIRST_SECONDS} s"),
                (_PERMUTATION, f"permute {ORDERED_ROWS:,} rows for an epoch; its first pool", ""),
                (_NEXT_POOL, "places of another of its pools", ""),
            )
        ],
    )


def _print_growth(many: mt.Dataset, wide: Mapping[str, mt.Dataset], size: Size) -> None:
    growth = {
        f"{FEATURES} features, float32": alone(_growth, many.path)[0],
        **{
            f"{size.features:,} features, {dtype}": alone(_growth, dataset.path)[0]
            for dtype, dataset in wide.items()
        },
    }
    print_table(
        f"Anonymous memory over {STEPS:,} steps, after {WARM_STEPS:,} that warm up",
        ["dataset", "MB at the beginning", "growth by a line through it, MB", "goal"],
        [
            [
                name,
                f"{start / 1e6:,.1f}",
                f"{grown / 1e6:+.2f}",
                f"{_MAX_GROWTH_BYTES / 1e6:.0f} or less",
            ]
            for name, (start, grown) in growth.items()
        ],
    )


def _name(window_size: int | None, n_eras: int) -> str:
    return f"{window_size} {n_eras}"


def _whole_batches(dataset: mt.Dataset, n_eras: int) -> int:
    return sum(dataset.rows_per_era[:n_eras]) // BATCH_SIZE * BATCH_SIZE


def _batches(path: Path, n_eras: int | None = None, window_size: int | None = None) -> mt.Batches:
    dataset = mt.open_dataset(path)
    return mt.Batches(
        dataset.select(dataset.eras[:n_eras]),
        batch_size=BATCH_SIZE,
        seed=1,
        targets=["target"],
        window_size=window_size,
    )


def _epoch(name: str, path: Path, window_size: int | None, n_eras: int) -> dict[str, Spent]:
    """Take an epoch of batches after one for warming up; to be run by `alone`."""
    batches = _batches(path, n_eras, window_size)

    def take() -> None:
        for _ in itertools.islice(stream, len(batches)):
            pass

    with batches.stream() as stream:
        take()
        return {name: timed(take)}


def _first_batch(name: str, path: Path) -> dict[str, Spent]:
    """Open a dataset and take a batch; to be run by `alone`."""

    def take() -> None:
        with _batches(path).stream() as stream:
            next(stream)

    return {name: timed(take)}


def _permute(n_rows: int, rows_per_era: int) -> dict[str, Spent]:
    """Make the order of a global shuffle; to be run by `alone`."""
    order = WindowSampler(
        [rows_per_era] * (n_rows // rows_per_era),
        batch_size=BATCH_SIZE,
        window_size=1,
        pool_batches=8,
        drop_remainder=True,
        seed=1,
    )
    return {
        _PERMUTATION: timed(partial(order.pool, 0, 0)),
        _NEXT_POOL: timed(partial(order.pool, 0, 1)),
    }


def _growth(path: Path) -> tuple[float, float]:
    """Return the anonymous bytes after warming up, and their growth; to be run by `alone`.

    The least of several successive samples counts: memory that planning a pool takes for some
    milliseconds isn't growth.
    """
    batches = _batches(path)
    every = max(1, STEPS // _SAMPLES)
    sizes = []
    with batches.stream(0, WARM_STEPS + STEPS) as stream:
        for step, _ in enumerate(stream):
            if step >= WARM_STEPS and step % every == 0:
                sizes.append(anonymous_bytes())
    least = [part.min() for part in np.array_split(np.array(sizes), _LINE_POINTS)]
    slope = np.polyfit(np.linspace(0, STEPS, len(least)), least, 1)[0]
    return float(least[0]), float(slope) * STEPS
