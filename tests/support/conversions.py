"""Small sources, and the datasets that are made of them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from memmap_train.conversion.conversion import convert
from memmap_train.dataset.dataset import Dataset
from memmap_train.dataset.verify import verify


def same_rows(one: Dataset, other: Dataset) -> bool:
    """Tell whether two datasets hold the same bytes, going by their manifests."""
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


@dataclass
class Bytes:
    """A budget of so many bytes, however few."""

    n_bytes: int

    def set_apart(self, n_bytes: int) -> None:
        """Don't mind them."""

    def require(self, n_bytes: int) -> None:
        """Do with less."""
