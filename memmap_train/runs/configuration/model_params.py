"""The parameters of built-in models, which the key `model_params` has: names, types, defaults."""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from ...errors import ConfigError, listed, nearest
from . import config_types as types
from .wording import faults_in

# The type and the default of each, by name.
_Params = Mapping[str, tuple[Any, Any]]

_PARAMS: Mapping[str, _Params] = MappingProxyType(
    {
        "tabm": {"k": (types.AtLeast1, 16)},
        "ridge": {"strength": (types.Positive, None)},  # by default it is chosen
        "autoencoder": {
            "bottleneck": (types.AtLeast1, 64),
            "noise": (types.NotNegative, 0.1),
            "reconstruction_weight": (types.NotNegative, 0.1),
            "target_weight": (types.NotNegative, 1.0),
        },
    }
)


def built_in_params(model: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all parameters of a built-in model: the given ones, and the defaults of others.

    Raises
    ------
    ConfigError
        A name isn't one of the model's parameters, or a value has a wrong type or is out of range;
        all of them are named in one line.

    Examples
    --------
    >>> built_in_params("tabm", {"k": 8}), built_in_params("mlp", {})
    ({'k': 8}, {})
    >>> built_in_params("tabm", {"k": 0})
    Traceback (most recent call last):
    ...
    memmap_train.errors.ConfigError: model_params.k: expected a whole number of 1 or more, found 0
    """
    known = _PARAMS.get(model, {})
    faults = [
        f"model_params: {model!r} has no {name!r}"
        + (nearest(name, known) or (f"; it has {listed(known, most=len(known))}" if known else ""))
        for name in given
        if name not in known
    ]
    checked = {name: value for name, value in given.items() if name in known}
    if checked:
        kind = _checker(model)
        try:
            model_of = kind.model_validate(checked)
            checked = {name: getattr(model_of, name) for name in checked}
        except ValidationError as error:
            schemas = kind.model_json_schema()["properties"]
            faults += [
                f"model_params.{name}: expected {expected}, found {found}"
                for name, expected, found in faults_in(error, schemas, checked)
            ]
    if faults:
        raise ConfigError("; ".join(faults))
    defaults = {name: default for name, (_, default) in known.items() if default is not None}
    return defaults | checked


@cache
def _checker(model: str) -> type[BaseModel]:
    config = ConfigDict(strict=True, allow_inf_nan=False)
    keys: dict[str, Any] = dict(_PARAMS[model])
    return create_model("BuiltInParams", __config__=config, **keys)
