"""What a conversion will need, found out before anything is written.

The records: what is asked for, the columns that are chosen for it, and the `ConversionPlan`: every
era with its rows, and the bytes that the dataset will take. A `ConversionSource` makes them; the
rules that all sources share are here: which features and targets a set and a list of names leave.
Reads no data.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..dataset.format import MISSING_CHOICES, N_COUNTS, STORE_DTYPES
from ..dataset.manifest import SourceEntry
from ..errors import SchemaError, listed, nearest
from .schema import ColumnOptions, Schema, reasons

DECODERS = ("auto", "arrow")
"""How features are decoded: from their dictionary pages where that is possible, or all by Arrow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """What a dataset shall hold.

    Attributes
    ----------
    dtype : {"float32", "int8"}
    missing : {"0.5", "nan"}
    features_json : path or None
        Numerai's `features.json`, for its feature sets.
    feature_set : str or None
        Only these features; None for all.
    targets : tuple of str or None
        Only these targets; None for all.
    columns : ColumnOptions
    decoder : {"auto", "arrow"}
        Whether features may be decoded without Arrow; the dataset is the same.
    """

    dtype: str = "float32"
    missing: str = "0.5"
    features_json: str | os.PathLike[str] | None = None
    feature_set: str | None = None
    targets: tuple[str, ...] | None = None
    columns: ColumnOptions = field(default_factory=ColumnOptions)
    decoder: str = "auto"

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("dtype", self.dtype, STORE_DTYPES),
            ("missing", self.missing, MISSING_CHOICES),
            ("decoder", self.decoder, DECODERS),
        ):
            if value not in choices:
                raise SchemaError(f"{name}: expected one of {listed(choices)}, found {value!r}")
        if self.missing == "nan" and self.dtype == "int8":
            raise SchemaError(
                "missing='nan' needs the float32 store: an int8 code can't say that a feature is "
                "missing; use --dtype float32, or --missing 0.5"
            )


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group of a source, and how many rows of which eras it holds, in order of appearance."""

    source: int
    index: int
    rows: int
    eras: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns that a dataset will hold, and the sets among them.

    Attributes
    ----------
    schema : Schema
    feature_sets : dict of str to tuple of str
    planted : float or None
        The best possible score, where the origin says so.
    alias : str
        The target that may equal a named one; empty where none can.
    """

    schema: Schema
    feature_sets: dict[str, tuple[str, ...]]
    planted: float | None
    alias: str


@dataclass(frozen=True, slots=True)
class StoreSize:
    """The size of a dataset in one store dtype.

    Attributes
    ----------
    bytes : int
        The finished dataset: all arrays and the manifest.
    disk_bytes : int
        The most that its conversion takes at once: more, where row groups are too large to be
        transposed in memory.
    """

    bytes: int
    disk_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionPlan:
    """What will be written: columns, eras, rows, bytes."""

    columns: Columns
    options: ConvertOptions
    sources: tuple[SourceEntry, ...]
    groups: tuple[RowGroup, ...]
    """Of parquet sources; none where a dataset is narrowed."""
    rows_per_era: dict[str, int]
    """Rows of each era; the keys are in the dataset's order."""
    data_types: dict[str, dict[str, int]]
    id_width: int
    """Bytes of the longest id; 0 where there are no ids."""

    @property
    def n_rows(self) -> int:
        """Rows of all eras."""
        return sum(self.rows_per_era.values())

    @property
    def row_bytes(self) -> int:
        """Bytes that a row takes on disk, in all arrays."""
        schema = self.columns.schema
        item = np.dtype(self.options.dtype).itemsize
        return item * len(schema.features) + 4 * len(schema.targets) + self.id_width

    @property
    def staged_row_bytes(self) -> int:
        """Bytes of a row between decoding and encoding: features as codes, or as float32."""
        schema = self.columns.schema
        item = 1 if schema.integer_features else 4
        return item * len(schema.features) + 4 * len(schema.targets) + self.id_width

    @property
    def n_bytes(self) -> int:
        """Bytes of the whole dataset: the arrays, their headers, and the manifest."""
        n_features = len(self.columns.schema.features)
        counts = 4 * N_COUNTS * n_features
        per_shard = counts + 4 * 4096 + 1500  # blocks that files end in, and a manifest's entry
        names = 100 * (n_features + 1)
        return self.n_rows * self.row_bytes + len(self.rows_per_era) * per_shard + names

    def disk_bytes(self, budget: int) -> int:
        """Return the most bytes of disk that are taken at once, with buffers of `budget` bytes."""
        rows = max((group.rows for group in self.groups), default=0)
        staged = rows * self.staged_row_bytes
        return self.n_bytes + (staged if staged > budget // 2 else 0)  # it is staged in a file

    def size_of(self, features: Sequence[str], dtype: str, budget: int) -> StoreSize:
        """Return the size of a dataset of some of the features in a store dtype.

        Parameters
        ----------
        features : sequence of str
        dtype : {"float32", "int8"}
        budget : int
            Bytes of buffers of the conversion.
        """
        plan = replace(
            self,
            columns=replace(
                self.columns, schema=replace(self.columns.schema, features=tuple(features))
            ),
            options=replace(self.options, dtype=dtype, missing="0.5"),  # which int8 needs
        )
        return StoreSize(plan.n_bytes, plan.disk_bytes(budget))


def read_feature_sets(path: Path) -> dict[str, tuple[str, ...]]:
    """Read the feature sets of a `features.json`; older ones hold bare `NaN` tokens.

    Raises
    ------
    SchemaError
        The file can't be read, isn't JSON, or has no feature sets.
    """
    try:
        data: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise SchemaError(f"{path}: no such file") from None
    except OSError as error:
        raise SchemaError(f"{path}: can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"{path}: not valid JSON: {error}") from None
    sets = data.get("feature_sets") if isinstance(data, dict) else None
    if not isinstance(sets, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names)
        for names in sets.values()
    ):
        raise SchemaError(
            f"{path}: expected an object `feature_sets` of {{name: [features]}}, as in Numerai's "
            "features.json; found none"
        )
    for name in sets:
        if not name.isprintable():  # half a character can't be written, a line feed can't be shown
            raise SchemaError(f"{path}: feature set {name!r}: expected a name that can be printed")
    return {name: tuple(dict.fromkeys(names)) for name, names in sets.items()}


def check_feature_set(
    name: str | None, sets: Mapping[str, Sequence[str]], *, where: str, advice: str = ""
) -> None:
    """Raise a SchemaError that says which feature sets there are, if one isn't among them."""
    if name is not None and name not in sets:
        raise SchemaError(
            f"{where}: no feature set {name!r}; it has {listed(sets, 12) or 'none'}"
            f"{nearest(name, sets)}{advice}"
        )


def whole_sets(
    sets: Mapping[str, tuple[str, ...]], features: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return the feature sets of which no feature is missing."""
    present = set(features)
    return {name: names for name, names in sets.items() if present.issuperset(names)}


def narrow_schema(
    schema: Schema, options: ConvertOptions, sets: Mapping[str, Sequence[str]], *, where: str
) -> Schema:
    """Keep the features and targets that are asked for, in the order that they have.

    Raises
    ------
    SchemaError
        A feature of the set, or a target, is absent or can't be stored; or nothing is left.
    """
    features, targets = schema.features, schema.targets
    unusable_features, unusable_targets = schema.unusable_features, schema.unusable_targets
    if options.feature_set is not None:
        wanted = sets[options.feature_set]
        present = set(features)
        lacking = [name for name in wanted if name not in present]
        if wrong := {
            name: unusable_features[name] for name in lacking if name in unusable_features
        }:
            raise SchemaError(
                f"{where}: feature set {options.feature_set!r} has features that can't be stored: "
                f"{reasons(wrong)}; expected integer codes 0 to 4 or floats; take another set, or "
                "write these columns as numbers"
            )
        if lacking:
            raise SchemaError(
                f"{where}: feature set {options.feature_set!r} isn't complete: "
                f"{len(lacking):,} of its {len(wanted):,} features are absent "
                f"({listed(lacking, 3)}); take the features.json of the same data version, or "
                "another set"
            )
        chosen = set(wanted)
        features = tuple(name for name in features if name in chosen)
        if not features:
            raise SchemaError(f"{where}: feature set {options.feature_set!r} is empty")
        unusable_features = {}
    if not features:
        raise SchemaError(
            f"{where}: none of its features can be stored: {reasons(unusable_features)}; expected "
            "integer codes 0 to 4 or floats: write these columns as numbers"
        )
    if options.targets is not None:
        unknown = [name for name in options.targets if name not in targets]
        if wrong := {name: unusable_targets[name] for name in unknown if name in unusable_targets}:
            raise SchemaError(
                f"{where}: a target that was asked for can't be stored: {reasons(wrong)}; expected "
                "floats: take another target, or write the column as numbers"
            )
        if unknown:
            there = f"; there is {listed(targets, 12) or 'none'}"
            raise SchemaError(
                f"{where}: no target {listed(unknown)} among {len(targets):,}"
                f"{nearest(unknown[0], targets) or there}"
            )
        targets = tuple(name for name in targets if name in set(options.targets))
        unusable_targets = {}
    return replace(
        schema,
        features=features,
        targets=targets,
        unusable_features=unusable_features,
        unusable_targets=unusable_targets,
    )
