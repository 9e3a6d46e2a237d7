"""The types of the configuration's values, as pydantic checks them.

Each type is declared once. The checks, the words of the errors ("expected a whole number of 1 or
more") and those of ``train --help-config`` follow from the declaration. Types are strict: true
isn't an integer, and "3" isn't a number; numpy's numbers are accepted.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, GetPydanticSchema, JsonValue

from ..scores.monitor import MONITORS
from .object_reference import is_reference
from .target_transforms import TargetTransform

AUTO = "auto"
"""The value of a key that is left open, in a file: TOML has no null."""

MAX_LAYERS = 100
"""Keras traverses layers recursively; a thousand of them exceed Python's recursion limit."""

_MAX_SEED = 2**32 - 1  # Keras passes the seed to numpy's legacy generator, which takes 32 bits

_T = TypeVar("_T")


def _unwrap(value: object) -> object:
    """Return numpy's scalars as Python's, and other values unchanged."""
    return value.item() if isinstance(value, np.generic) else value


def _list_to_tuple(value: object) -> object:
    """Return lists as tuples, and other values unchanged: sets, which have no order, too."""
    return tuple(value) if isinstance(value, list) else value


def _text_to_list(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _auto_to_none(value: object) -> object:
    return None if isinstance(value, str) and value == AUTO else value


def _null_to_auto(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [
        {"const": AUTO} if part == {"type": "null"} else part for part in schema["anyOf"]
    ]


def _check_float32(value: float) -> float:
    """Refuse numbers that are infinite in float32, the type that they are converted to."""
    if abs(value) > float(np.finfo(np.float32).max):
        raise ValueError
    return value


def _check_not_empty(value: _T) -> _T:
    if not value:
        raise ValueError
    return value


def _check_different(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError
    return values


def _check_range(value: str) -> str:
    """Refuse a text without a dash inside. Whether its ends are eras is checked later."""
    if "-" not in value.strip("-"):
        raise ValueError
    return value


def _check_monitor(value: str) -> str:
    if value not in MONITORS:
        raise ValueError
    return value


def _check_reference(value: str) -> str:
    if not is_reference(value):
        raise ValueError
    return value


def _check_weights(values: tuple[float, ...]) -> tuple[float, ...]:
    """Refuse weights of which the first, that of the target that is scored, is 0."""
    if values and not values[0]:
        raise ValueError
    return values


def _check_transform(value: str) -> str:
    TargetTransform.parse(value)
    return value


def _to_json(value: object) -> object:
    """Return tables, tuples and numpy's scalars as JSON has them, and other values unchanged."""
    try:
        if isinstance(value, Mapping):
            return {name: _to_json(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [_to_json(item) for item in value]
    except RecursionError:
        raise ValueError from None
    return _unwrap(value)


_Json = Annotated[Any, GetPydanticSchema(lambda _, handler: handler(JsonValue))]
"""`JsonValue` for pydantic, and any value for type checkers: dict is invariant."""

_Scalar = Annotated[_T, BeforeValidator(_unwrap)]
_Number = Annotated[_T, AfterValidator(_check_float32), BeforeValidator(_unwrap)]

OrAuto = Annotated[
    _T | None, BeforeValidator(_auto_to_none), Field(json_schema_extra=_null_to_auto)
]
"""A type that also allows None, for which a file has "auto"."""

Flag = _Scalar[bool]
AtLeast0 = _Scalar[Annotated[int, Field(ge=0)]]
AtLeast1 = _Scalar[Annotated[int, Field(ge=1)]]
EmbargoEras = AtLeast0 | Literal["auto"]
Seed = _Scalar[Annotated[int, Field(ge=0, le=_MAX_SEED)]]

EraWeights = Annotated[
    str,
    Field(
        pattern=r"^(rows|equal|half_life:.+|file:.+)$",
        description='"rows", "equal", "half_life:52" (a number of eras) or "file:weights.csv"',
    ),
]

Number = _Number[float]
NotNegative = _Number[Annotated[float, Field(ge=0)]]
Positive = _Number[Annotated[float, Field(gt=0)]]
Share = _Number[Annotated[float, Field(gt=0, lt=1)]]
ShareOr0 = _Number[Annotated[float, Field(ge=0, lt=1)]]

Text = Annotated[str, AfterValidator(_check_not_empty)]
_Texts = Annotated[
    tuple[Text, ...],
    BeforeValidator(_list_to_tuple),
    AfterValidator(_check_not_empty),
    AfterValidator(_check_different),
]
Features = (
    Annotated[Text, Field(description="the name of a feature set")]
    | Annotated[_Texts, Field(description="a list of different feature names")]
)
Targets = Annotated[
    _Texts,
    BeforeValidator(_text_to_list),
    Field(description='a list of different target names such as ["target"]'),
]
Eras = (
    AtLeast1
    | Share
    | Annotated[
        _Texts, Field(description='a list of different era labels such as ["0575", "0576"]')
    ]
    | Annotated[
        str,
        AfterValidator(_check_range),
        Field(description='a range of them such as "0575-0700"'),
    ]
)
Monitor = Annotated[
    str, AfterValidator(_check_monitor), Field(json_schema_extra={"enum": list(MONITORS)})
]
Loss = (
    Literal["mse", "mae", "huber", "pearson", "numerai_corr"]
    | Annotated[
        str,
        AfterValidator(_check_reference),
        Field(description='the name of a function such as "my_module:my_loss"'),
    ]
)
Weights = Annotated[
    tuple[NotNegative, ...],
    BeforeValidator(_list_to_tuple),
    AfterValidator(_check_weights),
    Field(description="a list of numbers of 0 or more, the first above 0, such as [1, 0.5]"),
]
Transform = Annotated[
    str,
    AfterValidator(_check_transform),
    Field(
        description='"none", or "rank", "gaussian" or "residual:BENCHMARK", or several of these '
        'joined by "+"'
    ),
]
ModelName = Annotated[Text, Field(description="the name of a model")]
Table = Annotated[
    dict[str, _Json],
    BeforeValidator(_to_json),
    Field(description="a table such as {units = 64}"),
]
Widths = Annotated[
    tuple[AtLeast1, ...],
    Field(
        max_length=MAX_LAYERS,
        description=f"a list of at most {MAX_LAYERS} whole numbers of 1 or more such as [128, 64]",
    ),
    BeforeValidator(_list_to_tuple),
]
References = Annotated[
    tuple[Annotated[str, AfterValidator(_check_reference)], ...],
    BeforeValidator(_list_to_tuple),
    AfterValidator(_check_different),
    Field(description='a list of different names such as ["my_module:MyCallback"]'),
]
