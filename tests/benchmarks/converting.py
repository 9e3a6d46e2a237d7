"""Conversion and narrowing beside their limits: decoding alone, writing the same bytes alone."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from memmap_train.conversion import convert
from memmap_train.dataset import open_dataset
from memmap_train.machine import n_cores
from memmap_train.parquet.reading import Source

from .measuring import make_sources, peak_memory, print_table, timed, write_seconds


def run(directory: Path) -> None:
    """Print the table."""
    paths = make_sources(directory)
    decoding = timed(lambda: _decode(paths))
    rows = [["decode all features, all cores", *_cells(decoding.seconds, decoding.cpu_seconds)]]
    for dtype in ("float32", "int8"):
        out = directory / f"shards-{dtype}"
        with peak_memory() as peak:
            timing = timed(lambda: convert(paths, out, dtype=dtype, overwrite=True))  # noqa: B023
        report = convert(paths, out, dtype=dtype)
        narrow = directory / f"narrow-{dtype}"
        with peak_memory() as narrow_peak:
            narrowing = timed(lambda: _narrow(directory, out, narrow))  # noqa: B023
        write, sync = write_seconds(directory / "plain", report.n_bytes)
        rows += [
            [f"write + fsync the {dtype} bytes", *_cells(write + sync)],
            [
                f"convert to {dtype}",
                *_cells(timing.seconds, timing.cpu_seconds),
                f"{report.n_rows / timing.seconds:,.0f}",
                f"{peak() / 1e6:,.0f}",
            ],
            [
                f"narrow it to {len(open_dataset(narrow).feature_names):,} features",
                *_cells(narrowing.seconds, narrowing.cpu_seconds),
                f"{report.n_rows / narrowing.seconds:,.0f}",
                f"{narrow_peak() / 1e6:,.0f}",
            ],
        ]
    width = max(map(len, rows))
    print_table(
        f"Conversion of {report.n_rows:,} rows x {len(report.dataset.feature_names):,} features",
        ["what", "seconds", "CPU seconds", "rows/s", "peak anonymous MB"],
        [row + [""] * (width - len(row)) for row in rows],
    )


def _narrow(directory: Path, parent: Path, out: Path) -> None:
    sets = directory / "features.json"
    convert(parent, out, features_json=sets, feature_set="small", overwrite=True)


def _cells(seconds: float, cpu_seconds: float | None = None) -> list[str]:
    return [f"{seconds:.2f}", "" if cpu_seconds is None else f"{cpu_seconds:.2f}"]


def _decode(paths: list[Path]) -> None:
    tasks = []
    with ThreadPoolExecutor(n_cores()) as threads:
        for path in paths:
            source = Source(path)
            names = [name for name, _ in source.kinds if name.startswith("feature")]
            for group in range(len(source.row_groups)):
                for first in range(0, len(names), 256):
                    block = names[first : first + 256]
                    tasks.append(threads.submit(_decode_block, source, group, block))
        for task in tasks:
            task.result()


def _decode_block(source: Source, group: int, names: list[str]) -> None:
    for _ in source.reopened().features(group, names):
        pass
