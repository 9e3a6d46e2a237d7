"""The manifest as frozen records. `format` specifies it, `manifest_file` reads and writes it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .eras import ERA_COLUMN, era_folder
from .format import FORMAT, FORMAT_VERSION, HEADER_BYTES, N_COUNTS
from .ids import ID_COLUMN


@dataclass(frozen=True, slots=True)
class Scale:
    """How int8 codes become float32: `code * multiply + add`."""

    multiply: float
    add: float


CODE_SCALE = Scale(multiply=0.25, add=0.0)
"""The scale of Numerai's codes 0 to 4."""


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """A parquet file that a dataset was converted from."""

    name: str
    bytes: int
    modified: str
    footer_digest: str

    def to_json(self) -> dict[str, Any]:
        """Return the entry as JSON-ready data."""
        return {
            "name": self.name,
            "bytes": self.bytes,
            "modified": self.modified,
            "footer_digest": self.footer_digest,
        }


@dataclass(frozen=True, slots=True)
class FileEntry:
    """Size and digest of one array's file."""

    bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """The manifest's entry of one era."""

    era: str
    rows: int
    data_type: Mapping[str, int]
    missing_features: int
    target_nulls: Mapping[str, int]
    files: Mapping[str, FileEntry]
    benchmark_nulls: Mapping[str, int] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """The name of the era's folder."""
        return era_folder(self.era)

    def to_json(self) -> dict[str, Any]:
        """Return the entry as JSON-ready data."""
        data: dict[str, Any] = {
            "era": self.era,
            "rows": self.rows,
            "data_type": dict(self.data_type),
            "missing_features": self.missing_features,
            "target_nulls": dict(self.target_nulls),
            "files": {
                name: {"bytes": entry.bytes, "digest": entry.digest}
                for name, entry in self.files.items()
            },
        }
        if self.benchmark_nulls:
            data["benchmark_nulls"] = dict(self.benchmark_nulls)
        return data


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The contents of `manifest.json`; the module's docstring is the specification."""

    dtype: str
    scale: Scale | None
    missing: str
    features: tuple[str, ...]
    targets: tuple[str, ...]
    aliases: Mapping[str, str]
    feature_sets: Mapping[str, tuple[str, ...]]
    columns: Mapping[str, str | None]
    sources: tuple[SourceEntry, ...]
    shards: tuple[ShardEntry, ...]
    created_by: Mapping[str, str]
    planted: float | None = None
    history: tuple[tuple[SourceEntry, ...], ...] = ()
    benchmarks: tuple[str, ...] = ()
    benchmark_sources: tuple[SourceEntry, ...] = ()
    _by_era: Mapping[str, ShardEntry] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_era", {shard.era: shard for shard in self.shards})

    @property
    def n_rows(self) -> int:
        """Rows of all eras."""
        return sum(shard.rows for shard in self.shards)

    @property
    def era_column(self) -> str:
        """The column of eras in the sources; Numerai's, if that isn't known."""
        return self.columns.get("era") or ERA_COLUMN

    @property
    def id_column(self) -> str:
        """The column of ids in the sources; Numerai's, if that isn't known or there was none."""
        return self.columns.get("id") or ID_COLUMN

    @property
    def has_ids(self) -> bool:
        """Whether every era has ids."""
        return all("ids" in shard.files for shard in self.shards)

    @property
    def store_dtype(self) -> np.dtype[np.generic]:
        """The features' dtype on disk."""
        return np.dtype("<f4") if self.dtype == "float32" else np.dtype("i1")

    @property
    def digest(self) -> str:
        """One digest over features, targets, benchmarks, eras, rows and the arrays' digests."""
        content: list[Any] = [
            list(self.features),
            list(self.targets),
            [
                [shard.era, shard.rows, {name: f.digest for name, f in shard.files.items()}]
                for shard in self.shards
            ],
        ]
        if self.benchmarks:  # datasets without them keep the digest that they have always had
            content.append(list(self.benchmarks))
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def shard(self, era: str) -> ShardEntry:
        """Return the entry of one era; KeyError if there is none."""
        return self._by_era[era]

    def layout(self, shard: ShardEntry) -> dict[str, tuple[np.dtype[np.generic], tuple[int, ...]]]:
        """Return {array name: (dtype, shape)} of a shard's files, as declared by this manifest."""
        arrays: dict[str, tuple[np.dtype[np.generic], tuple[int, ...]]] = {
            "features": (self.store_dtype, (shard.rows, len(self.features))),
            "targets": (np.dtype("<f4"), (shard.rows, len(self.targets))),
        }
        if "ids" in shard.files:
            arrays["ids"] = (np.dtype(f"S{id_width(shard)}"), (shard.rows,))
        if "counts" in shard.files:
            arrays["counts"] = (np.dtype("<i4"), (len(self.features), N_COUNTS))
        if "benchmarks" in shard.files:
            arrays["benchmarks"] = (np.dtype("<f4"), (shard.rows, len(self.benchmarks)))
        return arrays

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as JSON-ready data."""
        data: dict[str, Any] = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "created_by": dict(self.created_by),
            "dtype": self.dtype,
            "scale": None
            if self.scale is None
            else {"multiply": self.scale.multiply, "add": self.scale.add},
            "missing": self.missing,
            "features": list(self.features),
            "targets": list(self.targets),
            "aliases": dict(self.aliases),
            "feature_sets": {name: list(names) for name, names in self.feature_sets.items()},
            "n_rows": self.n_rows,
            "columns": dict(self.columns),
            "sources": [source.to_json() for source in self.sources],
            "shards": [shard.to_json() for shard in self.shards],
        }
        if self.benchmarks:
            data["benchmarks"] = list(self.benchmarks)
            data["benchmark_sources"] = [source.to_json() for source in self.benchmark_sources]
        if self.history:
            data["history"] = [[source.to_json() for source in past] for past in self.history]
        if self.planted is not None:
            data["planted"] = self.planted
        return data


def id_width(shard: ShardEntry) -> int:
    """Return the bytes per id of a shard, which its file's size gives."""
    return (shard.files["ids"].bytes - HEADER_BYTES) // shard.rows
