"""The values of the keys of a configuration, checked against the types that its record declares.

Takes a dataclass whose annotations are those of `config_types`, and values by key; returns them as
they are kept, or a line for each fault. Which keys there are is the record's business.
"""

from collections.abc import Mapping
from dataclasses import fields
from datetime import date
from functools import cache
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from ...errors import listed, nearest
from .config_file import PARAMS
from .wording import faults_in


@cache
def _model(record: type) -> type[BaseModel]:
    """Return a model with the keys of a record, which checks the values of any of them."""
    declared = get_type_hints(record, include_extras=True)
    keys: dict[str, Any] = {key.name: (declared[key.name], None) for key in fields(record)}
    config = ConfigDict(strict=True, allow_inf_nan=False)
    return create_model(record.__name__, __config__=config, **keys)


@cache
def schema_of_keys(record: type) -> dict[str, dict[str, Any]]:
    """Return the JSON schema of each key's value, in the order of the keys."""
    properties: dict[str, dict[str, Any]] = _model(record).model_json_schema()["properties"]
    return properties


def checked_values(record: type, values: Mapping[str, object]) -> tuple[dict[str, Any], list[str]]:
    """Return the values as they are kept, or none and a line for each key that can't be."""
    known = schema_of_keys(record)
    faults = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and name != PARAMS:
            faults[name] = (
                f"{name!r} is a table, expected a value: the configuration is flat, write the "
                "table's keys at the top, without its header"
            )
        elif name not in known:
            keys = f"; the keys are {listed(known, most=len(known))}"
            faults[name] = f"unknown key {name!r}{nearest(name, known) or keys}"
    checkable = {name: value for name, value in values.items() if name not in faults}
    kept = {}
    try:
        model = _model(record).model_validate(checkable)
        kept = {name: getattr(model, name) for name in checkable}
    except ValidationError as error:
        for name, expected, found in faults_in(error, known, checkable):
            value = values[name]
            advice = nearest(value, _choices(known[name])) if isinstance(value, str) else ""
            if _holds_date(value):
                advice = "; write dates in quotes"
            faults[name] = f"{name}: expected {expected}, found {found}{advice}"
    return kept if not faults else {}, [faults[name] for name in values if name in faults]


def _choices(schema: Mapping[str, Any]) -> list[str]:
    """Return the words among the values that a JSON schema allows."""
    return [word for part in (schema, *schema.get("anyOf", ())) for word in part.get("enum", ())]


def _holds_date(value: object) -> bool:
    """Return True if a value is a date or a list has one: TOML reads 2024-01-05 as a date."""
    items = value if isinstance(value, list) else [value]
    return any(isinstance(item, date) for item in items)
