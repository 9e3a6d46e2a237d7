"""Checks of the arguments that users pass to public functions. They do no I/O."""

from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np

from .errors import ArgumentError, MemmapTrainError, shown

_T = TypeVar("_T")


def flag(name: str, value: object) -> bool:
    """Return a value as a bool; other values than True and False are refused, "no" for example.

    Raises
    ------
    ArgumentError
        The value isn't a bool.

    Examples
    --------
    >>> flag("overwrite", np.True_)
    True
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise ArgumentError(f"{name}: expected True or False, found {shown(value)}")


def whole_number(
    name: str,
    value: object,
    kind: type[MemmapTrainError] = ArgumentError,
    *,
    least: int | None = None,
    most: int | None = None,
) -> int:
    """Return a value as an int; an error of this kind is raised unless it lies in the range.

    >>> whole_number("workers", np.int64(7), least=1)
    7
    """
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        found = int(value)
        if (least is None or least <= found) and (most is None or found <= most):
            return found
    limits = ""
    if least is not None:
        limits = f", {least} or more" if most is None else f", {least} to {most}"
    elif most is not None:
        limits = f", {most} at most"
    raise kind(f"{name}: expected a whole number{limits}, found {shown(value)}")


def instance(
    name: str, value: object, expected: type[_T], kind: type[MemmapTrainError], advice: str = ""
) -> _T:
    """Return a value that is of a type; otherwise an error of this kind is raised.

    >>> instance("feature_prefix", "feature", str, ArgumentError)
    'feature'
    """
    if isinstance(value, expected):
        return value
    wanted = "text" if expected is str else f"a {expected.__name__}"
    raise kind(f"{name}: expected {wanted}, found {shown(value)}{advice}")


def names(name: str, value: Any, kind: type[MemmapTrainError]) -> list[str]:
    """Return one name, or several, as a list; an error of this kind is raised for anything else.

    >>> names("targets", "target", ArgumentError), names("targets", ("a", "b"), ArgumentError)
    (['target'], ['a', 'b'])
    """
    if isinstance(value, str):
        return [value]
    found = list(value) if isinstance(value, Iterable) else [value]
    for item in found:
        if not isinstance(item, str):
            raise kind(f"{name}: expected names as text, found {shown(item, most=40)}")
    return found
