"""Small sources, and the datasets that are made of them."""

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from memmap_train.conversion.conversion import convert
from memmap_train.conversion.execution import convert_source
from memmap_train.conversion.memory_budget import ConversionBudget
from memmap_train.conversion.parquet_source import ParquetSource
from memmap_train.conversion.pipeline_sizes import DEFAULT_LIMITS, PipelineLimits
from memmap_train.conversion.plan import ConvertOptions
from memmap_train.conversion.report import Report
from memmap_train.conversion.resources import Resources
from memmap_train.dataset.dataset import Dataset
from memmap_train.dataset.verify import verify


def same_rows(one: Dataset, other: Dataset) -> bool:
    """Return whether two datasets hold the same bytes according to their manifests."""
    assert list(verify(one.path)) == []
    assert list(verify(other.path)) == []
    return (one.manifest.digest, one.manifest.shards, one.manifest.aliases) == (
        other.manifest.digest,
        other.manifest.shards,
        other.manifest.aliases,
    )


def of_codes(codes: Any, **columns: Any) -> pa.Table:
    """Return a source of one era and one feature."""
    n_rows = len(codes)
    return pa.table({"era": ["0001"] * n_rows, "feature_a": codes, **columns})


def converted(folder: Path, table: pa.Table, name: str = "out", **options: Any) -> Dataset:
    path = folder / "source.parquet"
    pq.write_table(table, path)
    return convert(path, folder / name, **options).dataset


def features_json(folder: Path, sets: dict[str, list[str]]) -> Path:
    """Write the feature sets of a source, and return the path of the file."""
    path = folder / "features.json"
    path.write_text(json.dumps({"feature_sets": sets}))
    return path


class TinyBudget(ConversionBudget):
    """A budget of any number of bytes for buffers: nothing is refused."""

    def __init__(self, n_bytes: int) -> None:
        super().__init__()
        self._n_bytes = n_bytes

    @property
    def n_bytes(self) -> int:
        return self._n_bytes

    def reserve_metadata(self, n_bytes: int) -> None:
        """Reserve nothing."""

    def require(self, n_bytes: int) -> None:
        """Accept less."""


def convert_within(
    budget: ConversionBudget,
    sources: Sequence[Path],
    out: Path,
    options: ConvertOptions | None = None,
    *,
    n_workers: int = 1,
    limits: PipelineLimits = DEFAULT_LIMITS,
) -> Report:
    """Convert parquet files with a budget and limits that `convert` can't be given."""
    with closing(ParquetSource(sources, limits=limits)) as source:
        return convert_source(
            source,
            out,
            ConvertOptions() if options is None else options,
            Resources(budget, n_workers),
        )


def decoded(dataset: Dataset, era: str) -> npt.NDArray[np.float32]:
    """Return an era's features as a reader gets them."""
    stored = dataset[era].features
    return dataset.decode(stored, np.empty(stored.shape, np.float32))
