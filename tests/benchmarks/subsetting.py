"""Subsets of a dataset, compared with reading it, writing them, and converting from parquet."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from memmap_train.conversion.conversion import convert
from memmap_train.system.resources import n_cores

from . import limits
from .measuring import Job, Spent, in_turn, print_table, timed
from .sources import Size, make_dataset, make_sources

_CASES = (  # from which store, which features, to which store
    ("float32", "small", "float32"),
    ("float32", "all", "int8"),
    ("int8", "small", "int8"),
    ("int8", "medium", "float32"),
)
_READ = "read the features of the {} dataset"


def run(directory: Path, size: Size) -> None:
    """Print the table."""
    paths = make_sources(directory, size)
    out, plain = directory / "subset", directory / "plain"
    remove = partial(shutil.rmtree, out, ignore_errors=True)
    datasets, jobs, n_bytes = {}, [], {}
    for dtype in ("float32", "int8"):
        datasets[dtype] = make_dataset(directory, size, dtype)
        files = [datasets[dtype][era].file("features") for era in datasets[dtype].eras]
        jobs.append(Job(limits.read, (_READ.format(dtype), files, n_cores())))
    for case in _CASES:
        store, features, dtype = case
        remove()
        options: dict[str, Any] = {
            "feature_set": features,
            "features_json": paths[0].with_name("features.json"),
            "dtype": dtype,
        }
        n_bytes[case] = convert(datasets[store].path, out, **options).n_bytes
        jobs += [
            Job(limits.write, (_name(case), plain, n_bytes[case])),
            Job(_convert, (_name(case), [datasets[store].path], out, options), remove),
            Job(_convert, (f"{_name(case)} from parquet", paths, out, options), remove),
        ]
    found = in_turn(jobs, size.repeats)
    remove()
    rows = []
    for case in _CASES:
        subset, converted = found[_name(case)], found[f"{_name(case)} from parquet"]
        disk = found[f"write {_name(case)}"].seconds + found[f"fsync {_name(case)}"].seconds
        limit = max(disk, subset.cpu_seconds / n_cores())
        rows.append(
            [
                _name(case),
                f"{n_bytes[case] / 1e6:,.0f}",
                f"{found[_READ.format(case[0])].seconds:.2f}",
                f"{disk:.2f}",
                f"{subset.seconds:.2f}",
                f"{subset.cpu_seconds:.2f}",
                f"{subset.seconds / limit:.2f}",
                f"{converted.seconds / subset.seconds:.1f}",
                f"{subset.peak_bytes / 1e6:,.0f}",
            ]
        )
    print_table(
        f"Datasets from a dataset of {datasets['int8'].n_rows:,} rows x {size.features:,} "
        f"features, medians of {size.repeats} runs in turn",
        [
            "what",
            "MB",
            "read all: seconds",
            "write + fsync",
            "subset: seconds",
            "CPU seconds",
            "times the disk or the cores",
            "times as fast as from parquet",
            "peak anonymous MB",
        ],
        rows,
    )


def _convert(
    name: str, sources: Sequence[Path], out: Path, options: dict[str, Any]
) -> dict[str, Spent]:
    """Convert parquet files or a dataset; to be run by `measuring.alone`."""
    return {name: timed(lambda: convert(sources, out, **options))}


def _name(case: tuple[str, str, str]) -> str:
    store, features, dtype = case
    return f"{store} to {features} as {dtype}"
