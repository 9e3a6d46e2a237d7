"""Datasets with benchmarks, made without parquet files of benchmarks."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from memmap_train.dataset.array_writer import ArrayWriter
from memmap_train.dataset.manifest import FileEntry, SourceEntry
from memmap_train.dataset.manifest_file import read_manifest, write_manifest
from tests.support.toy import toy_benchmarks

BENCHMARKS = ("v53_lgbm_ender20", "v53_lgbm_ct_blend", "numerai_meta_model")
SOURCE = SourceEntry("benchmarks.parquet", 5, "2026-01-01T00:00:00+00:00", "xxh3_128:5")

Values = Callable[[str, int], npt.NDArray[np.floating]]
"""Returns the benchmarks of an era by its label and its rows: shape (rows, benchmarks)."""


def with_benchmarks(
    dataset: Path, names: Sequence[str] = BENCHMARKS, values: Values | None = None
) -> Path:
    """Add benchmarks to a dataset that has none, and return its path.

    Parameters
    ----------
    dataset : Path
    names : sequence of str
    values : callable(era, rows), optional
        NaN stands for no value. By default `toy_benchmarks`, about every seventh missing.
    """
    manifest = read_manifest(dataset)
    shards = []
    for entry in manifest.shards:
        if values is None:
            found = toy_benchmarks(entry.era, entry.rows, len(names), nulls=True)
        else:
            found = np.ascontiguousarray(values(entry.era, entry.rows), np.float32)
        file = dataset / entry.folder / "benchmarks.npy"
        writer = ArrayWriter(file, np.dtype("<f4"), (entry.rows, len(names)))
        writer.append(found)
        nulls = dict(zip(names, np.isnan(found).sum(axis=0).tolist(), strict=True))
        files = {**entry.files, "benchmarks": FileEntry(*writer.finish())}
        shards.append(replace(entry, files=files, benchmark_nulls=nulls))
    changed = replace(
        manifest, shards=tuple(shards), benchmarks=tuple(names), benchmark_sources=(SOURCE,)
    )
    write_manifest(changed, dataset)
    return dataset
