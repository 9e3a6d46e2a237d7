"""Which column of a source is the era, the id, a feature, a target; how eras sort and are named.

In come column names and their kinds (plain strings; `parquet` tells them), out goes a `Schema`.
Also here: the number in an era's label, its sort key, and the name of its folder. Imports no
pyarrow.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from ..errors import SchemaError, listed, nearest

Kind = str
"""Of a column: "integer", "float", "decimal", "bool", "text", "bytes", "date", "timestamp", "uuid",
"null", or the name of another type."""

ERA_COLUMN = "era"
DATA_TYPE_COLUMN = "data_type"
ID_CANDIDATES = ("id", "__index_level_0__")
_CODES = frozenset(("integer", "null"))
_NUMBERS = _CODES | {"float", "decimal", "bool"}
_LABELS = frozenset(("text", "bytes", "integer", "float", "decimal", "date", "timestamp", "uuid"))
_SEVERAL = "stands for several columns"
OTHER_ERAS = "name another column with --era-column"
"""What to do where a column can't be the era, as advice."""
NO_IDS = 'convert without ids with --id-column ""'
OTHER_IDS = f"name another column with --id-column, or {NO_IDS}"
"""What to do where a column can't be the id, likewise."""
_NUMBER = re.compile(r"(?P<prefix>\D*?)(?P<number>[0-9]+)(?:\.0+)?\s*")
_TIME = re.compile(
    r"(?P<prefix>\D*?)(?P<year>[0-9]{4})(?P<mark>[-/._]?)"
    r"(?P<month>[0-9]{2}|(?<=\D)[0-9])(?P=mark)(?P<day>[0-9]{2}|(?<=\D)[0-9])"
    r"(?:[T ](?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})"
    r"(?:\.(?P<fraction>[0-9]{1,9}))?)?"
    r" ?(?:Z|(?P<sign>[-+])(?P<hours>[0-9]{2}):?(?P<minutes>[0-9]{2}))?)?\s*"
)
_FIRST_YEAR, _END_YEAR = 1800, 2200  # of a date without marks in it
_END_OF_WEEKS = 100_000
_AS_NUMBER, _AS_TIME, _AS_TEXT = range(3)  # how eras are sorted, in this order
_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnOptions:
    """How to tell the columns apart; the defaults are Numerai's names.

    Attributes
    ----------
    era_column : str
    id_column : str or None
        None: `id`, else `__index_level_0__`, else the dataset has no ids. Empty: it has none.
    feature_prefix, target_prefix : str
    """

    era_column: str = ERA_COLUMN
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
    unusable_features: Mapping[str, str] = field(default_factory=dict)
    """Columns that are features by their name but can't be stored, and why: "holds text"."""
    unusable_targets: Mapping[str, str] = field(default_factory=dict)
    """Targets likewise."""

    @property
    def unusable(self) -> dict[str, str]:
        """Features and targets that can't be stored, and why."""
        return {**self.unusable_features, **self.unusable_targets}


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
        No era column, no feature columns, or several columns named as the era or the id.

    Notes
    -----
    A feature or target that can't be stored is no error as long as nobody asks for it: see
    `Schema.unusable_features`.
    """
    kind_of = dict(kinds)
    repeated = {name for name, count in Counter(name for name, _ in kinds).items() if count > 1}
    names = list(kind_of)
    if options.era_column not in kind_of:
        raise SchemaError(
            f"{where}: no era column {options.era_column!r} among its {len(names):,} columns"
            f"{nearest(options.era_column, names)}; name it with --era-column"
        )
    if kind_of[options.era_column] not in _LABELS:
        raise SchemaError(
            f"{where}: era column {options.era_column!r} holds {kind_of[options.era_column]} "
            f"values; expected text, whole numbers or dates; {OTHER_ERAS}"
        )
    id_column = options.id_column
    if id_column is None:
        others = kind_of.keys() - {options.era_column}
        id_column = next((name for name in ID_CANDIDATES if name in others), None)
    elif not id_column:
        id_column = None
    elif id_column not in kind_of:
        raise SchemaError(
            f"{where}: no id column {id_column!r} among its {len(names):,} columns"
            f"{nearest(id_column, names)}; name it with --id-column, or {NO_IDS}"
        )
    if id_column is not None and kind_of[id_column] not in _LABELS:
        raise SchemaError(
            f"{where}: id column {id_column!r} holds {kind_of[id_column]} values; "
            f"expected text or whole numbers; {OTHER_IDS}"
        )
    roles = {options.era_column, id_column}
    if ambiguous := sorted(repeated.intersection(filter(None, roles))):
        raise SchemaError(
            f"{where}: {listed(ambiguous)} {_SEVERAL}; expected one: write the file again with one "
            "of that name"
        )
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


def without_unusable(schemas: Mapping[str, Schema]) -> dict[str, Schema]:
    """Return the schemas of several sources without columns that one of them makes unusable.

    Each says of all such columns, whichever source has them, why and where they can't be stored.
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
    """Return which columns can't be stored and why, as a readable list.

    >>> reasons({"feature_country": "holds text in live.parquet"})
    "'feature_country' (holds text in live.parquet)"
    """
    most = 5
    shown = ", ".join(f"{name!r} ({why})" for name, why in [*unusable.items()][:most])
    return shown + (f" and {len(unusable) - most:,} more" if len(unusable) > most else "")


def common_schema(schemas: Mapping[str, Schema]) -> Schema:
    """Return the one schema of several sources (the first's order), or say how they differ.

    What can't be stored is the same in all of them: see `without_unusable`.

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


def data_type_column(kinds: Sequence[tuple[str, Kind]]) -> str | None:
    """Return the column that says train, validation, test or live, if a source has one."""
    found = [kind for name, kind in kinds if name == DATA_TYPE_COLUMN]
    return DATA_TYPE_COLUMN if found in (["text"], ["bytes"]) else None


def era_number(label: str) -> int | None:
    """Return the number that an era's label holds; None if it holds none, several, or a date.

    >>> labels = ("0012", "era7", "-3", "7.0", "X", "eraX", "20240105", "2024-01-05")
    >>> [era_number(label) for label in labels]
    [12, 7, -3, 7, None, None, None, None]
    """
    match = _NUMBER.fullmatch(label)
    if match is None or era_time(label) is not None:
        return None
    number = int(match["number"])
    return -number if match["prefix"] == "-" else number


def weekly_era_number(label: str) -> int | None:
    """Return the number in an era's label if eras can be counted by it; see `era_number`.

    Five digits last weekly eras for 1,900 years. Of more, such as a month's 202401, the difference
    isn't in eras.

    >>> [weekly_era_number(label) for label in ("0012", "202401", "2024-01-05")]
    [12, None, None]
    """
    number = era_number(label)
    return number if number is not None and abs(number) < _END_OF_WEEKS else None


def era_time(label: str) -> int | None:
    """Return the date, or date and time, in an era's label: nanoseconds since 1970; or None.

    Dates have the year first: 2024-01-05, 2024/01/05, 20240105. A time follows after a blank or a
    T, and then maybe the distance from UTC.

    >>> [era_time(label) for label in ("1970-01-02", "19700102", "1970-01-02 00:00:00Z")]
    [86400000000000, 86400000000000, 86400000000000]
    >>> [era_time(label) for label in ("0012", "20241399", "05.01.2024", "2024-01")]
    [None, None, None, None]
    """
    match = _TIME.fullmatch(label)
    if match is None:
        return None
    year = int(match["year"])
    if not match["mark"] and not _FIRST_YEAR <= year < _END_YEAR:
        return None  # eight digits may as well be a number
    hour, minute, second = (int(match[name] or 0) for name in ("hour", "minute", "second"))
    try:
        time = datetime(year, int(match["month"]), int(match["day"]), hour, minute, second)
    except ValueError:
        return None
    seconds = (time - datetime(1970, 1, 1)) // timedelta(seconds=1)
    if match["sign"]:
        offset = 3600 * int(match["hours"]) + 60 * int(match["minutes"])
        seconds += offset if match["sign"] == "-" else -offset
    return seconds * 10**9 + int((match["fraction"] or "").ljust(9, "0") or 0)


def era_sort_key(label: str) -> tuple[int, int, str]:
    """Sort eras as numbers where they hold one, dates as dates after them, then others by text.

    >>> sorted(["X", "2024-01-05", "era10", "era2", "20231229", "0001"], key=era_sort_key)
    ['0001', 'era2', 'era10', '20231229', '2024-01-05', 'X']
    """
    number, time = era_number(label), era_time(label)
    if number is not None:
        return (_AS_NUMBER, number, label)
    return (_AS_TEXT, 0, label) if time is None else (_AS_TIME, time, label)


def out_of_order(labels: Iterable[str]) -> list[str]:
    """Return labels whose order as text may not be that of time.

    It is where all of them begin with the year and are of the same length.

    >>> out_of_order(["0001", "2024-01-05", "2023-W05", "2024-W10", "X"])
    []
    >>> out_of_order(["0001", "2024-01-05", "2024-W5", "2024-W10", "X"])
    ['2024-W5', '2024-W10']
    """
    texts = [
        label
        for label in labels
        if era_sort_key(label)[0] == _AS_TEXT and any(map(str.isdigit, label))
    ]
    begin_with_year = all(re.match(r"[0-9]{4}(?![0-9])", label) for label in texts)
    return [] if begin_with_year and len({len(label) for label in texts}) == 1 else texts


def era_identity(label: str) -> tuple[str, int | None]:
    """Return what labels of one era have in common, however they are written.

    >>> [era_identity(label) for label in ("0001", "1", "era1", "Era_1", "1.0")]
    [('', 1), ('', 1), ('', 1), ('', 1), ('', 1)]
    >>> era_identity("2024-01-05") == era_identity("20240105") != era_identity("US 20240105")
    True
    """
    number, time = era_number(label), era_time(label)
    match = _NUMBER.fullmatch(label) if time is None else _TIME.fullmatch(label)
    if match is None:  # names of folders that differ in case alone are one name for some systems
        return (re.sub(r"^era(?=.)", "", label.strip().casefold()), None)
    words = re.sub(r"[\W_]", "", match["prefix"]).casefold().removeprefix("era")
    return (words, number) if time is None else (f"{words} at", time)


def era_folder(label: str) -> str:
    """Return the name of an era's folder: `era-` and the label, percent-encoded where needed.

    >>> era_folder("0001"), era_folder("a/b"), era_folder("..")
    ('era-0001', 'era-a%2Fb', 'era-..')
    """
    encoded = "".join(
        chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in label.encode("utf-8")
    )
    return f"era-{encoded}"
