"""Files of benchmarks, and datasets with benchmarks that are made without such files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from memmap_train.dataset.array_writer import ArrayWriter
from memmap_train.dataset.dataset import Dataset
from memmap_train.dataset.manifest import FileEntry, SourceEntry
from memmap_train.dataset.manifest_file import read_manifest, write_manifest
from tests.support.toy import Rows, toy_benchmarks, toy_ids

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


def benchmark_table(
    eras: Mapping[str, Rows],
    names: Sequence[str] = BENCHMARKS,
    *,
    nulls: bool = True,
    order: Sequence[int] | npt.NDArray[np.integer] | None = None,
    dtype: str = "float32",
) -> pa.Table:
    """Return a file of benchmarks as Numerai's: era, data_type, the benchmarks, id.

    Parameters
    ----------
    eras : mapping of label to rows
        Which rows of each era the file has: their number from the first on, or their numbers.
    names : sequence of str
        Some of `BENCHMARKS`: the values of a name are those of its column of `toy_benchmarks`.
    nulls : bool
        Whether about every seventh value is missing: null in odd columns, NaN in even ones.
    order : sequence of int, optional
        A permutation of the file's rows.
    dtype : {"float32", "float64"}
        Type of the values. Those of float64 differ by less than the rounding.
    """
    columns = [BENCHMARKS.index(name) for name in names]
    labels, ids, values = [], [], [np.empty((0, len(names)), np.float32)]
    for era, rows in eras.items():
        found = toy_benchmarks(era, rows, len(BENCHMARKS), nulls=nulls)[:, columns]
        labels += [era] * len(found)
        ids += [name.decode() for name in toy_ids(era, rows)]
        values.append(found)
    cells = np.concatenate(values).astype(dtype)
    if dtype == "float64":
        cells *= 1 + 2.0**-30
    of_names = {
        name: pa.array(cells[:, place], from_pandas=bool(columns[place] % 2))
        for place, name in enumerate(names)
    }
    table = pa.table(
        {
            "era": pa.array(labels, pa.string()),
            "data_type": pa.array(["validation"] * len(labels), pa.string()),
            **of_names,
            "id": pa.array(ids, pa.string()),
        }
    )
    return table if order is None else table.take(pa.array(np.asarray(order)))


def write_benchmarks(
    path: Path, eras: Mapping[str, Rows], names: Sequence[str] = BENCHMARKS, **options: Any
) -> Path:
    """Write a file of benchmarks in row groups of 13 rows; see `benchmark_table`."""
    pq.write_table(benchmark_table(eras, names, **options), path, row_group_size=13)
    return path


def values_of(dataset: Dataset, era: str) -> npt.NDArray[np.float32]:
    """Return the benchmarks of an era, which has some."""
    found = dataset[era].benchmarks
    assert found is not None
    return np.asarray(found)
