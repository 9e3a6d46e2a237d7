"""The schema of a source: which column is the era, the id, a feature, a target.

Takes column names and their kinds (plain strings, as `conversion.parquet` gives them); returns
a `Schema`. Imports no pyarrow.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..arguments import instance
from ..dataset.eras import ERA_COLUMN
from ..dataset.ids import ID_COLUMN
from ..dataset.manifest import Manifest
from ..errors import SchemaError, listed, nearest

Kind = str
"""The kind of a column: "integer", "float", "decimal", "bool", "text", "bytes", "date",
"timestamp", "uuid", "null", or the name of another type."""

BEST_KEY = "memmap_train.best"
"""Metadata key, in each parquet file of a sample, of the best score that a model can expect."""
DATA_TYPE_COLUMN = "data_type"
ID_CANDIDATES = (ID_COLUMN, "__index_level_0__")
_CODES = frozenset(("integer", "null"))
_NUMBERS = _CODES | {"float", "decimal", "bool"}
LABEL_KINDS = frozenset(
    ("text", "bytes", "integer", "float", "decimal", "date", "timestamp", "uuid")
)
_SEVERAL = "stands for several columns"
OTHER_ERAS = "name another column with --era-column"
"""Advice if a column can't be the era."""
NO_IDS = 'convert without ids with --id-column ""'
OTHER_IDS = f"name another column with --id-column, or {NO_IDS}"
"""Advice if a column can't be the id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnOptions:
    """The names of columns; the defaults are Numerai's.

    Attributes
    ----------
    era_column : str
    id_column : str or None
        None: `id`, else `__index_level_0__`, else the dataset has no ids. Empty: it has none.
    feature_prefix, target_prefix : str
        How the names of features and targets begin.
    """

    era_column: str = ERA_COLUMN
    id_column: str | None = None
    feature_prefix: str = "feature"
    target_prefix: str = "target"

    def __post_init__(self) -> None:
        for name in ("era_column", "feature_prefix", "target_prefix"):
            instance(name, getattr(self, name), str, SchemaError)
        if self.id_column is not None:
            instance("id_column", self.id_column, str, SchemaError)


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a source by their meaning, features and targets in the file's order."""

    era: str
    id: str | None
    features: tuple[str, ...]
    targets: tuple[str, ...]
    integer_features: bool
    """Whether every feature is of an integer type, and so a code, or missing in every row."""
    unusable_features: Mapping[str, str] = field(default_factory=dict)
    """Columns that are features by their name but can't be stored, and why: "holds text"."""
    unusable_targets: Mapping[str, str] = field(default_factory=dict)
    """Columns that are targets by their name but can't be stored, and why."""

    @property
    def unusable(self) -> dict[str, str]:
        """Features and targets that can't be stored, and why."""
        return {**self.unusable_features, **self.unusable_targets}


def schema_of_dataset(manifest: Manifest) -> Schema:
    """Return the columns of a dataset as those of its sources."""
    return Schema(
        era=manifest.era_column,
        id=manifest.id_column if manifest.has_ids else None,
        features=manifest.features,
        targets=manifest.targets,
        integer_features=manifest.scale is not None,
    )


def read_schema(kinds: Sequence[tuple[str, Kind]], options: ColumnOptions, *, where: str) -> Schema:
    """Sort the columns of one source into era, id, features and targets.

    Parameters
    ----------
    kinds : sequence of (column name, kind)
        The columns in the file's order.
    options : ColumnOptions
    where : str
        The source's name, for messages.

    Raises
    ------
    SchemaError
        No era column, no feature columns, or several columns named as the era or the id.

    Notes
    -----
    A feature or target that can't be stored is an error only if it is requested by name: see
    `Schema.unusable_features`.
    """
    kind_of = dict(kinds)
    repeated = {name for name, count in Counter(name for name, _ in kinds).items() if count > 1}
    _check_era_column(kind_of, options.era_column, where)
    id_column = _choose_id_column(kind_of, options, where)
    roles = {options.era_column, id_column}
    if ambiguous := sorted(repeated.intersection(filter(None, roles))):
        raise SchemaError(
            f"{where}: {listed(ambiguous)} {_SEVERAL}; expected one: write the file again with one "
            "of that name"
        )
    others = [name for name in kind_of if name not in roles]
    features = [name for name in others if name.startswith(options.feature_prefix)]
    chosen = set(features)
    targets = [
        name for name in others if name.startswith(options.target_prefix) and name not in chosen
    ]
    if not features:
        raise SchemaError(
            f"{where}: no column begins with {options.feature_prefix!r}, so there are no features; "
            "say how they begin with --feature-prefix, or name a file of benchmarks after "
            "--benchmarks"
        )
    unusable = {
        name: _SEVERAL if name in repeated else f"holds {kind_of[name]}"
        for name in (*features, *targets)
        if name in repeated or kind_of[name] not in _NUMBERS
    }
    usable = tuple(name for name in features if name not in unusable)
    return Schema(
        era=options.era_column,
        id=id_column,
        features=usable,
        targets=tuple(name for name in targets if name not in unusable),
        integer_features=_CODES.issuperset(kind_of[name] for name in usable),
        unusable_features={name: unusable[name] for name in features if name in unusable},
        unusable_targets={name: unusable[name] for name in targets if name in unusable},
    )


def _check_era_column(kind_of: Mapping[str, Kind], column: str, where: str) -> None:
    """Raise a SchemaError if the era column is absent, or of a kind that can't be a label."""
    if column not in kind_of:
        raise SchemaError(
            f"{where}: no era column {column!r} among its {len(kind_of):,} columns"
            f"{nearest(column, kind_of)}; name it with --era-column"
        )
    if kind_of[column] not in LABEL_KINDS:
        raise SchemaError(
            f"{where}: era column {column!r} holds {kind_of[column]} values; expected text, whole "
            f"numbers or dates; {OTHER_ERAS}"
        )


def _choose_id_column(
    kind_of: Mapping[str, Kind], options: ColumnOptions, where: str
) -> str | None:
    """Return the id column, None if there is none; raise a SchemaError if it can't be one."""
    column = options.id_column
    if column is None:
        others = kind_of.keys() - {options.era_column}
        column = next((name for name in ID_CANDIDATES if name in others), None)
    elif not column:
        column = None
    elif column not in kind_of:
        raise SchemaError(
            f"{where}: no id column {column!r} among its {len(kind_of):,} columns"
            f"{nearest(column, kind_of)}; name it with --id-column, or {NO_IDS}"
        )
    if column is not None and kind_of[column] not in LABEL_KINDS:
        raise SchemaError(
            f"{where}: id column {column!r} holds {kind_of[column]} values; expected text or whole "
            f"numbers; {OTHER_IDS}"
        )
    return column


def without_unusable(schemas: Mapping[str, Schema]) -> dict[str, Schema]:
    """Return the schemas of several sources without columns that one of them makes unusable.

    Each of the schemas has the reasons for all of these columns, and the source that gives them.
    """
    features: dict[str, str] = {}
    targets: dict[str, str] = {}
    for where, schema in schemas.items():
        for found, unusable in (
            (features, schema.unusable_features),
            (targets, schema.unusable_targets),
        ):
            for name, reason in unusable.items():
                found.setdefault(name, f"{reason} in {where}")
    return {
        where: replace(
            schema,
            features=tuple(name for name in schema.features if name not in features),
            targets=tuple(name for name in schema.targets if name not in targets),
            unusable_features=features,
            unusable_targets=targets,
        )
        for where, schema in schemas.items()
    }


def reasons(unusable: Mapping[str, str]) -> str:
    """Return the columns that can't be stored and the reasons, as text.

    >>> reasons({"feature_country": "holds text in live.parquet"})
    "'feature_country' (holds text in live.parquet)"
    """
    most = 5
    shown = ", ".join(f"{name!r} ({why})" for name, why in [*unusable.items()][:most])
    return shown + (f" and {len(unusable) - most:,} more" if len(unusable) > most else "")


def common_schema(schemas: Mapping[str, Schema]) -> Schema:
    """Return the common schema of several sources, in the order of the first.

    Parameters
    ----------
    schemas : mapping of source name to Schema
        The columns that can't be stored are the same in all of them: see `without_unusable`.

    Raises
    ------
    SchemaError
        Two sources differ in features, in targets, or in having an id.
    """
    items = list(schemas.items())
    first_name, first = items[0]
    for name, other in items[1:]:
        _check_same_columns("features", name, other.features, first_name, first.features)
        _check_same_columns("targets", name, other.targets, first_name, first.targets)
        if first.id != other.id:
            found, expected = (
                "no id column" if column is None else f"id column {column!r}"
                for column in (other.id, first.id)
            )
            raise SchemaError(
                f"{name}: {found}, but {first_name} has {expected}; expected the same in all "
                f"files: {OTHER_IDS}"
            )
    return Schema(
        era=first.era,
        id=first.id,
        features=first.features,
        targets=first.targets,
        integer_features=all(schema.integer_features for schema in schemas.values()),
        unusable_features=first.unusable_features,
        unusable_targets=first.unusable_targets,
    )


def _check_same_columns(
    what: str, name: str, found: Sequence[str], first_name: str, expected: Sequence[str]
) -> None:
    """Raise a SchemaError if a source has other features or targets than the first one."""
    lacking = sorted(set(expected) - set(found), key=expected.index)
    added = sorted(set(found) - set(expected), key=found.index)
    parts = []
    if lacking:
        parts.append(f"lacks {listed(lacking, 3)}")
    if added:
        parts.append(f"also has {listed(added, 3)}")
    if parts:
        raise SchemaError(
            f"{name}: its {what} differ from {first_name}'s: it {' and '.join(parts)}; convert "
            "files of one data version together, or choose columns they share (--feature-set, "
            "--target)"
        )


def data_type_column(kinds: Sequence[tuple[str, Kind]]) -> str | None:
    """Return the name of the data type column (train, validation, test, live); None without one."""
    found = [kind for name, kind in kinds if name == DATA_TYPE_COLUMN]
    return DATA_TYPE_COLUMN if found in (["text"], ["bytes"]) else None
