"""Which column of a source is the era, the id, a feature, a target; how eras sort and are named.

In come column names and their kinds (plain strings; `parquet` tells them), out goes a `Schema`.
Also here: the number in an era's label, its sort key, and the name of its folder. Imports no
pyarrow.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .errors import SchemaError, listed, nearest

Kind = str
"""Of a column: "integer", "float", "text", "null", or the name of another type."""

DATA_TYPE_COLUMN = "data_type"
ID_CANDIDATES = ("id", "__index_level_0__")
_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnOptions:
    """How to tell the columns apart; the defaults are Numerai's names.

    Attributes
    ----------
    era_column : str
    id_column : str or None
        None: `id`, else `__index_level_0__`, else the dataset has no ids.
    feature_prefix, target_prefix : str
    """

    era_column: str = "era"
    id_column: str | None = None
    feature_prefix: str = "feature"
    target_prefix: str = "target"


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a source by their meaning, features and targets in the file's order."""

    era: str
    id: str | None
    features: tuple[str, ...]
    targets: tuple[str, ...]
    integer_features: bool
    """Whether every feature is of an integer type, hence a code, or missing in every row."""


def read_schema(kinds: Sequence[tuple[str, Kind]], options: ColumnOptions, *, where: str) -> Schema:
    """Sort the columns of one source into era, id, features and targets.

    Parameters
    ----------
    kinds : sequence of (column name, kind)
        In the file's order.
    options : ColumnOptions
    where : str
        The source's name, for messages.

    Raises
    ------
    SchemaError
        Names twice, no era column, no feature columns, or a feature or target that isn't numeric.
    """
    names = [name for name, _ in kinds]
    kind_of = dict(kinds)
    if len(kind_of) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise SchemaError(
            f"{where}: {listed(twice)} stands for several columns; expected every column name "
            "once: write the file again with one of each"
        )
    if options.era_column not in kind_of:
        raise SchemaError(
            f"{where}: no era column {options.era_column!r} among its {len(names):,} columns"
            f"{nearest(options.era_column, names)}; name it with --era-column"
        )
    if kind_of[options.era_column] not in ("text", "integer"):
        raise SchemaError(
            f"{where}: era column {options.era_column!r} holds {kind_of[options.era_column]} "
            "values; expected text or integers; name another with --era-column"
        )
    id_column = options.id_column
    if id_column is None:
        id_column = next((name for name in ID_CANDIDATES if name in kind_of), None)
    elif id_column not in kind_of:
        raise SchemaError(
            f"{where}: no id column {id_column!r} among its {len(names):,} columns"
            f"{nearest(id_column, names)}; name it with --id-column"
        )
    if id_column is not None and kind_of[id_column] not in ("text", "integer"):
        raise SchemaError(
            f"{where}: id column {id_column!r} holds {kind_of[id_column]} values; "
            "expected text or integers; name another with --id-column"
        )
    roles = {options.era_column, id_column}
    features = tuple(
        name for name in names if name.startswith(options.feature_prefix) and name not in roles
    )
    targets = tuple(
        name
        for name in names
        if name.startswith(options.target_prefix) and name not in roles and name not in features
    )
    if not features:
        raise SchemaError(
            f"{where}: no column begins with {options.feature_prefix!r}, so there are no features; "
            "say how they begin with --feature-prefix"
        )
    wrong = [name for name in features if kind_of[name] not in ("integer", "float", "null")]
    if wrong:
        raise SchemaError(
            f"{where}: feature {listed(wrong)} holds {kind_of[wrong[0]]} values; "
            "expected integer codes 0 to 4 or floats"
        )
    wrong = [name for name in targets if kind_of[name] not in ("integer", "float", "null")]
    if wrong:
        raise SchemaError(
            f"{where}: target {listed(wrong)} holds {kind_of[wrong[0]]} values; expected floats"
        )
    return Schema(
        era=options.era_column,
        id=id_column,
        features=features,
        targets=targets,
        integer_features=all(kind_of[name] != "float" for name in features),
    )


def common_schema(schemas: Mapping[str, Schema]) -> Schema:
    """Return the one schema of several sources (the first's order), or say how they differ.

    Raises
    ------
    SchemaError
        Two sources differ in features, in targets, or in having an id.
    """
    items = list(schemas.items())
    first_name, first = items[0]
    for name, other in items[1:]:
        for what, mine, theirs in (
            ("features", first.features, other.features),
            ("targets", first.targets, other.targets),
        ):
            lacking = sorted(set(mine) - set(theirs), key=mine.index)
            added = sorted(set(theirs) - set(mine), key=theirs.index)
            if lacking or added:
                parts = []
                if lacking:
                    parts.append(f"lacks {listed(lacking, 3)}")
                if added:
                    parts.append(f"has {listed(added, 3)} besides")
                raise SchemaError(
                    f"{name}: its {what} differ from {first_name}'s: it {' and '.join(parts)}; "
                    "convert files of one data version together, or choose columns they share "
                    "(--feature-set, --target)"
                )
        if first.id != other.id:
            found, expected = (
                "no id column" if column is None else f"id column {column!r}"
                for column in (other.id, first.id)
            )
            raise SchemaError(
                f"{name}: {found}, but {first_name} has {expected}; expected the same in all files"
            )
    return Schema(
        era=first.era,
        id=first.id,
        features=first.features,
        targets=first.targets,
        integer_features=all(schema.integer_features for schema in schemas.values()),
    )


def data_type_column(kinds: Sequence[tuple[str, Kind]]) -> str | None:
    """Return the column that says train, validation, test or live, if a source has one."""
    return DATA_TYPE_COLUMN if (DATA_TYPE_COLUMN, "text") in kinds else None


def era_number(label: str) -> int | None:
    """Return the number that an era's label holds, or None.

    >>> [era_number(label) for label in ("0012", "era7", "X", "eraX")]
    [12, 7, None, None]
    """
    match = re.fullmatch(r"\D*?([0-9]+)", label)
    return int(match.group(1)) if match else None


def era_sort_key(label: str) -> tuple[bool, int, str]:
    """Sort eras as numbers where they hold one, others after them by text.

    >>> sorted(["X", "era10", "era2", "0001"], key=era_sort_key)
    ['0001', 'era2', 'era10', 'X']
    """
    number = era_number(label)
    return (number is None, number or 0, label)


def era_folder(label: str) -> str:
    """Return the name of an era's folder: `era-` and the label, percent-encoded where needed.

    >>> era_folder("0001"), era_folder("a/b"), era_folder("..")
    ('era-0001', 'era-a%2Fb', 'era-..')
    """
    encoded = "".join(
        chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in label.encode("utf-8")
    )
    return f"era-{encoded}"
