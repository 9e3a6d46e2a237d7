"""What a conversion will need, found out before anything is written.

In come sources and options, out comes a `Plan`: the columns, every era with its rows, which rows of
each row group belong to which era, and the bytes that the dataset will take. Reads footers and the
era, data type and id columns only.
"""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .errors import SchemaError, SourceError, listed, nearest
from .manifest import (
    MAX_FOLDER_BYTES,
    MISSING_CHOICES,
    STORE_DTYPES,
    SourceEntry,
)
from .parquet.reading import Source
from .schema import (
    ColumnOptions,
    Schema,
    common_schema,
    data_type_column,
    era_folder,
    era_sort_key,
    read_schema,
)
from .shard import N_COUNTS

OWN_BYTES = 150_000_000
"""What the interpreter, numpy, pyarrow and footers take beside a conversion's buffers; measured."""
LEAST_MEMORY = 512_000_000
"""Bytes of a conversion; with less, a row group of a million rows decodes too slowly."""
_MOST_MEMORY = 2_000_000_000  # bytes, by default: more makes nothing faster
BEST_KEY = "memmap_train.best"
"""Under this key of a parquet file's metadata a sample keeps its best possible score."""


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
    """

    dtype: str = "float32"
    missing: str = "0.5"
    features_json: str | os.PathLike[str] | None = None
    feature_set: str | None = None
    targets: tuple[str, ...] | None = None
    columns: ColumnOptions = field(default_factory=ColumnOptions)

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("dtype", self.dtype, STORE_DTYPES),
            ("missing", self.missing, MISSING_CHOICES),
        ):
            if value not in choices:
                raise SchemaError(f"{name}: expected one of {listed(choices)}, found {value!r}")
        if self.missing == "nan" and self.dtype == "int8":
            raise SchemaError(
                "missing='nan' needs the float32 store: an int8 code can't say that a feature is "
                "missing; use --dtype float32, or --missing 0.5"
            )
        if self.feature_set is not None and self.features_json is None:
            raise SchemaError(
                f"feature set {self.feature_set!r}: which features it holds is said by Numerai's "
                "features.json; name that file with --features-json"
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
    """The columns that a dataset will hold, and the sets among them."""

    schema: Schema
    feature_sets: dict[str, tuple[str, ...]]
    planted: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be written: columns, eras, rows, bytes."""

    columns: Columns
    options: ConvertOptions
    sources: tuple[SourceEntry, ...]
    groups: tuple[RowGroup, ...]
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
        """Bytes of the whole dataset: the arrays, their headers, and room for the manifest."""
        n_features = len(self.columns.schema.features)
        counts = 4 * N_COUNTS * n_features
        per_shard = counts + 4 * 4096 + 1500  # blocks that files end in, and a manifest's entry
        names = 100 * (n_features + 1)
        return self.n_rows * self.row_bytes + len(self.rows_per_era) * per_shard + names

    def disk_bytes(self, budget: int) -> int:
        """Return the most bytes of disk that are taken at once, with buffers of `budget` bytes."""
        staged = max(group.rows for group in self.groups) * self.staged_row_bytes
        return self.n_bytes + (staged if staged > budget // 2 else 0)  # it is staged in a file


def default_budget(available: int) -> int:
    """Return the bytes that a conversion's buffers take where nothing is said, of those available.

    >>> default_budget(4_000_000_000)
    850000000
    """
    return max(LEAST_MEMORY, min(available // 4, _MOST_MEMORY)) - OWN_BYTES


def open_sources(paths: Sequence[str | os.PathLike[str]]) -> list[Source]:
    """Open parquet files.

    Raises
    ------
    SourceError
        None given, one that can't be read, or the same file twice.
    """
    if not paths:
        raise SourceError("no sources; expected at least one parquet file")
    with ExitStack() as on_failure:
        sources: list[Source] = []
        for path in paths:
            source = Source(path)
            on_failure.callback(source.close)
            if any(source.path.samefile(other.path) for other in sources):
                raise SourceError(
                    f"{path}: the same file is named twice; its rows would come twice"
                )
            sources.append(source)
        on_failure.pop_all()
    return sources


def choose_columns(sources: Sequence[Source], options: ConvertOptions) -> Columns:
    """Choose the columns that all sources share and the options ask for.

    Raises
    ------
    SchemaError
        A column that is needed is absent, or sources differ in their columns.
    """
    sets = {} if options.features_json is None else read_feature_sets(Path(options.features_json))
    if options.feature_set is not None and options.feature_set not in sets:
        raise SchemaError(
            f"{options.features_json}: no feature set {options.feature_set!r}; it has "
            f"{listed(sets, 12)}{nearest(options.feature_set, sets)}"
        )
    schemas = {}
    for source in sources:
        where = str(source.path)
        schema = read_schema(source.kinds, options.columns, where=where)
        schemas[where] = _narrow(schema, options, sets, where=where)
    schema = common_schema(schemas)
    present = set(schema.features)
    planted = {source.metadata.get(BEST_KEY) for source in sources} - {None}
    return Columns(
        schema=schema,
        feature_sets={name: names for name, names in sets.items() if present.issuperset(names)},
        planted=_planted(planted.pop()) if len(planted) == 1 else None,
    )


def make_plan(
    sources: Sequence[Source],
    columns: Columns,
    options: ConvertOptions,
    progress: Callable[[int, int], None] | None = None,
) -> Plan:
    """Read the eras, data types and ids of all rows and plan the conversion.

    Parameters
    ----------
    sources : sequence of Source
    columns : Columns
    options : ConvertOptions
    progress : callable(rows done, rows in all), optional

    Raises
    ------
    SourceError
        No rows, a row without an era or an id, two eras that share a folder.
    """
    schema = columns.schema
    n_rows = sum(sum(source.row_groups) for source in sources)
    if n_rows == 0:
        raise SourceError(f"{listed(str(s.path) for s in sources)}: no rows; nothing to convert")
    groups: list[RowGroup] = []
    data_types: dict[str, dict[str, int]] = {}
    id_width = 0
    done = 0
    for position, source in enumerate(sources):
        for index, rows in enumerate(source.row_groups):
            if rows == 0:
                continue
            eras = source.eras(index, schema.era)
            counts = source.counts(index, eras, data_type_column(source.kinds))
            groups.append(
                RowGroup(position, index, rows, {e: sum(n.values()) for e, n in counts.items()})
            )
            for era, types in counts.items():
                total = data_types.setdefault(era, {})
                for name, n in types.items():
                    total[name] = total.get(name, 0) + n
            if schema.id is not None:
                id_width = max(id_width, source.ids(index, schema.id).dtype.itemsize)
            for era in counts:
                if len(era_folder(era)) > MAX_FOLDER_BYTES:
                    raise SourceError(
                        f"{source.path}: era column {schema.era!r}: {era[:40]!r}… is too long for "
                        f"the name of a folder ({MAX_FOLDER_BYTES} bytes)"
                    )
            done += rows
            if progress is not None:
                progress(done, n_rows)
    rows_per_era = {
        era: sum(data_types[era].values()) for era in sorted(data_types, key=era_sort_key)
    }
    return Plan(
        columns=columns,
        options=options,
        sources=tuple(source.entry for source in sources),
        groups=tuple(groups),
        rows_per_era=rows_per_era,
        data_types={
            era: {name: n for name, n in types.items() if name} for era, types in data_types.items()
        },
        id_width=id_width,
    )


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


def _narrow(
    schema: Schema, options: ConvertOptions, sets: dict[str, tuple[str, ...]], *, where: str
) -> Schema:
    """Keep the features and targets that are asked for, in the file's order."""
    features, targets = schema.features, schema.targets
    if options.feature_set is not None:
        wanted = sets[options.feature_set]
        present = set(features)
        lacking = [name for name in wanted if name not in present]
        if lacking:
            raise SchemaError(
                f"{where}: feature set {options.feature_set!r} isn't wholly in the file: "
                f"{len(lacking):,} of its {len(wanted):,} features are absent "
                f"({listed(lacking, 3)}); take the features.json of the same data version, or "
                "another set"
            )
        chosen = set(wanted)
        features = tuple(name for name in features if name in chosen)
        if not features:
            raise SchemaError(f"{where}: feature set {options.feature_set!r} is empty")
    if options.targets is not None:
        unknown = [name for name in options.targets if name not in targets]
        if unknown:
            raise SchemaError(
                f"{where}: no target {listed(unknown)} among {len(targets):,}"
                f"{nearest(unknown[0], targets)}"
            )
        targets = tuple(name for name in targets if name in set(options.targets))
    return Schema(
        era=schema.era,
        id=schema.id,
        features=features,
        targets=targets,
        integer_features=schema.integer_features,
    )


def _planted(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if np.isfinite(value) else None
