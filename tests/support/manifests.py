"""A small manifest, and its entry of an era."""

from dataclasses import replace
from typing import Any

from memmap_train.dataset.manifest import FileEntry, Manifest, Scale, ShardEntry, SourceEntry

Json = dict[str, Any]


def shard(era: str = "0001", rows: int = 3, item: int = 1, **changes: Any) -> ShardEntry:
    files = {
        "features": FileEntry(128 + rows * 2 * item, "xxh3_128:1"),
        "targets": FileEntry(128 + rows * 8, "xxh3_128:2"),
        "ids": FileEntry(128 + rows * 16, "xxh3_128:3"),
        "counts": FileEntry(128 + 2 * 6 * 4, "xxh3_128:5"),
    }
    entry = ShardEntry(
        era=era,
        rows=rows,
        data_type={"train": rows},
        missing_features=1,
        target_nulls={"target": 0, "target_t1_20": rows},
        files=files,
    )
    return replace(entry, **changes)


def manifest(**changes: Any) -> Manifest:
    fields: Json = {
        "dtype": "int8",
        "scale": Scale(0.25, 0.0),
        "missing": "0.5",
        "features": ("feature_b", "feature_a"),
        "targets": ("target", "target_t1_20"),
        "aliases": {"target": "target_t1_20"},
        "feature_sets": {"small": ("feature_a",), "leer ✓": ()},
        "columns": {"era": "era", "id": None},
        "sources": (SourceEntry("quelle ü.parquet", 5, "2026-01-01T00:00:00+00:00", "xxh3_128:4"),),
        "shards": (shard("0001", 3), shard("X", 4)),
        "created_by": {"package": "0.1", "numpy": "2", "pyarrow": "20"},
        "planted": 0.125,
    }
    return Manifest(**{**fields, **changes})
