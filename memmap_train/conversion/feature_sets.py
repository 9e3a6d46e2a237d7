"""Feature sets, and the columns that options select.

Takes a `features.json`, a schema and options; returns feature sets and the schema of the columns
that are requested. Imports no pyarrow.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import SchemaError, listed, nearest
from .plan import ConvertOptions
from .schema import Schema, reasons


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
    """Raise a SchemaError that lists the feature sets, if one isn't among them.

    Parameters
    ----------
    name : str or None
        The requested feature set, if any.
    sets : mapping of str to sequence of str
    where : str
        The origin of the sets, for messages.
    advice : str
        The end of the message.
    """
    if name is not None and name not in sets:
        raise SchemaError(
            f"{where}: no feature set {name!r}; it has {listed(sets, 12) or 'none'}"
            f"{nearest(name, sets)}{advice}"
        )


def complete_sets(
    sets: Mapping[str, tuple[str, ...]], features: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return the feature sets whose features are all present."""
    present = set(features)
    return {name: names for name, names in sets.items() if present.issuperset(names)}


def select_columns(
    schema: Schema, options: ConvertOptions, sets: Mapping[str, Sequence[str]], *, where: str
) -> Schema:
    """Return a schema of the requested features and targets, in their order.

    Parameters
    ----------
    schema : Schema
        The columns of a source.
    options : ConvertOptions
    sets : mapping of str to sequence of str
        The known feature sets.
    where : str
        The source's name, for messages.

    Raises
    ------
    SchemaError
        A feature of the set, or a target, is absent or can't be stored; or nothing is left.
    """
    if options.feature_set is not None:
        wanted = sets[options.feature_set]
        schema = _only_features(schema, options.feature_set, wanted, where)
    if not schema.features:
        raise SchemaError(
            f"{where}: none of its features can be stored: {reasons(schema.unusable_features)}; "
            "expected integer codes 0 to 4 or floats: write these columns as numbers"
        )
    return schema if options.targets is None else _only_targets(schema, options.targets, where)


def _only_features(schema: Schema, name: str, wanted: Sequence[str], where: str) -> Schema:
    """Return a schema of the features of a set."""
    present, unusable = set(schema.features), schema.unusable_features
    lacking = [feature for feature in wanted if feature not in present]
    if wrong := {feature: unusable[feature] for feature in lacking if feature in unusable}:
        raise SchemaError(
            f"{where}: feature set {name!r} has features that can't be stored: {reasons(wrong)}; "
            "expected integer codes 0 to 4 or floats; take another set, or write these columns as "
            "numbers"
        )
    if lacking:
        raise SchemaError(
            f"{where}: feature set {name!r} isn't complete: {len(lacking):,} of its "
            f"{len(wanted):,} features are absent ({listed(lacking, 3)}); take the features.json "
            "of the same data version, or another set"
        )
    chosen = set(wanted)
    features = tuple(feature for feature in schema.features if feature in chosen)
    if not features:
        raise SchemaError(f"{where}: feature set {name!r} is empty")
    return replace(schema, features=features, unusable_features={})


def _only_targets(schema: Schema, wanted: Collection[str], where: str) -> Schema:
    """Return a schema of some targets."""
    targets, unusable = schema.targets, schema.unusable_targets
    unknown = [name for name in wanted if name not in targets]
    if wrong := {name: unusable[name] for name in unknown if name in unusable}:
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
    chosen = tuple(name for name in targets if name in set(wanted))
    return replace(schema, targets=chosen, unusable_targets={})
