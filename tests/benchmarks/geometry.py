"""The memory that a conversion promises to stay within, at v5.3's real geometry.

All rows lie in one row group of thousands of columns, as in Numerai's files. `memmap-train convert`
runs as a user runs it, and its memory is sampled from outside. This takes minutes and some 25 GB of
disk, so it is run by name only; `--rows` makes it smaller.
"""

import shutil
from pathlib import Path

import numpy as np

from memmap_train.system.resources import available_memory, free_disk

from . import limits
from .commands import run_command
from .measuring import alone, print_table
from .sources import WIDE_ROW_BYTES, WIDE_TARGETS, Size, make_wide

_MEMORY = (512, 1000, 2000)  # MB promised
_SPARE_BYTES = 1_000_000_000  # of disk, for all but the arrays


def run(directory: Path, size: Size) -> None:
    """Print the table."""
    needed = size.wide_rows * WIDE_ROW_BYTES
    if needed > available_memory():
        raise SystemExit(
            f"error: writing {size.wide_rows:,} rows takes {needed / 1e6:,.0f} MB of memory, found "
            f"{available_memory() / 1e6:,.0f} MB; choose fewer with --rows"
        )
    source = make_wide(directory, size)
    limits.read("", [source], 1)  # into the page cache
    rows = []
    for dtype in ("int8", "float32"):
        row_bytes = np.dtype(dtype).itemsize * size.wide_features + 4 * WIDE_TARGETS + 16
        staged = size.wide_rows * (size.wide_features + 4 * WIDE_TARGETS + 16)
        needed = size.wide_rows * row_bytes + staged + _SPARE_BYTES
        if needed > free_disk(directory):
            print(
                f"\n{dtype} is left out: expected {needed / 1e9:,.1f} GB of disk, found "
                f"{free_disk(directory) / 1e9:,.1f} GB"
            )
            continue
        parts, _ = alone(limits.write, "as much", directory / "plain", size.wide_rows * row_bytes)
        written = sum(part.seconds for part in parts.values())
        for memory in _MEMORY:
            seconds, peak = _convert(source, directory / "geometry", dtype, memory)
            rows.append(
                [
                    dtype,
                    f"{memory:,}",
                    f"{peak / 1e6:,.0f}",
                    f"{peak / memory / 1e6:.2f}",
                    f"{seconds:.1f}",
                    f"{size.wide_rows / seconds:,.0f}",
                    f"{written:.1f}",
                ]
            )
    print_table(
        f"One row group of {size.wide_rows:,} rows x {size.wide_features:,} features "
        f"({source.stat().st_size / 1e9:.2f} GB of parquet)",
        [
            "store",
            "--memory MB",
            "peak anonymous MB",
            "of the promise",
            "seconds",
            "rows/s",
            "write + fsync as much",
        ],
        rows,
    )


def _convert(source: Path, out: Path, dtype: str, memory: int) -> tuple[float, int]:
    """Return the seconds that the command takes from start to end, and its peak of memory."""
    shutil.rmtree(out, ignore_errors=True)
    ran = run_command("convert", source, "--out", out, "--dtype", dtype, "--memory", memory)
    shutil.rmtree(out, ignore_errors=True)
    if ran.failure:
        raise SystemExit(f"error: convert: {ran.failure}")
    return ran.seconds, ran.peak_bytes
