"""Benchmarks joined with as many rows as v5.3 has, grouped by era and in any order."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from memmap_train.conversion.conversion import convert

from .measuring import Job, Spent, in_turn, print_table, timed
from .sources import Size

_N_ERAS, _ERA_ROWS, _N_BENCHMARKS = 1_232, 5_570, 3
_MEMORY = 512  # MB promised
_REPEATS = 3
_GROUPED, _SHUFFLED = "grouped by era", "in any order, one row group"
_WITHOUT, _WITH = "convert one feature", "convert one feature, with benchmarks"
_AGAIN = "three eras changed"


def run(directory: Path, size: Size) -> None:
    """Print the table."""
    del size  # that of v5.3 is what is asked about
    source, grouped, shuffled, later = _make(directory / "joining")
    first, out, joined = (directory / f"joining-{name}" for name in ("plain", "out", "joined"))
    for folder in (first, joined):
        shutil.rmtree(folder, ignore_errors=True)
    n_rows = convert(source, first).n_rows
    convert(source, joined, benchmarks=grouped)
    restore = partial(_restore, first, out)
    nothing = partial(shutil.rmtree, out, ignore_errors=True)
    found = in_turn(
        [
            Job(_convert, (_WITHOUT, [source], out, []), nothing),
            Job(_convert, (_WITH, [source], out, [grouped]), nothing),
            Job(_convert, (_GROUPED, [], out, [grouped]), restore),
            Job(_convert, (_SHUFFLED, [], out, [shuffled]), restore),
            Job(_convert, (_AGAIN, [], out, [later]), partial(_restore, joined, out)),
        ],
        _REPEATS,
    )
    for folder in (first, out, joined):
        shutil.rmtree(folder)
    print_table(
        f"{_N_BENCHMARKS} benchmarks of {n_rows:,} rows in {_N_ERAS:,} eras, --memory {_MEMORY}",
        ["what", "seconds", "CPU seconds", "peak anonymous MB"],
        [
            [
                name,
                f"{part.seconds:.1f}",
                f"{part.cpu_seconds:.1f}",
                f"{part.peak_bytes / 1e6:,.0f}",
            ]
            for name, part in found.items()
        ],
    )


def _convert(
    name: str, sources: Sequence[Path], out: Path, benchmarks: Sequence[Path]
) -> dict[str, Spent]:
    """Convert, or add benchmarks; to be run by `measuring.alone`."""
    return {name: timed(lambda: convert(sources, out, benchmarks=benchmarks, memory=_MEMORY))}


def _restore(kept: Path, out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(kept, out)


def _make(folder: Path) -> list[Path]:
    """Write a source and three files of benchmarks: grouped, shuffled, and a week later."""
    names = ("source", "grouped", "shuffled", "later/grouped")
    paths = [folder / f"{name}.parquet" for name in names]
    if all(path.exists() for path in paths):
        return paths
    paths[-1].parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    n_rows = _N_ERAS * _ERA_ROWS
    eras = pa.array([f"{1 + era:04d}" for era in range(_N_ERAS)])
    numbers = rng.permutation(n_rows).astype(np.int64) * (16**15 // n_rows)  # no two alike
    labels = {
        "era": eras.take(pa.array(np.repeat(np.arange(_N_ERAS), _ERA_ROWS))),
        "id": pa.array([f"n{number:015x}" for number in numbers.tolist()]),
    }
    codes = pa.array(rng.integers(0, 5, n_rows).astype(np.int8))
    pq.write_table(pa.table({**labels, "feature_a": codes}), paths[0])
    values = rng.random((_N_BENCHMARKS, n_rows), np.float32)
    columns = {f"v53_lgbm_{number}": pa.array(column) for number, column in enumerate(values)}
    table = pa.table({**labels, **columns})
    pq.write_table(table, paths[1])
    order = pa.array(rng.permutation(n_rows))
    pq.write_table(table.take(order), paths[2], row_group_size=n_rows)
    values[:, -3 * _ERA_ROWS :] += 1
    columns = {f"v53_lgbm_{number}": pa.array(column) for number, column in enumerate(values)}
    pq.write_table(pa.table({**labels, **columns}), paths[3])
    return paths
