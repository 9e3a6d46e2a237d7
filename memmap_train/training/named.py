"""What a user names as ``package.module:name``: found, and blamed by that name when it fails.

In comes a name of the configuration, out comes what it names. Modules are looked for as Python does
and in the current directory. Whatever the user's code raises becomes one line that names it.
"""

import importlib
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import ConfigError, nearest

_PACKAGE = str(Path(__file__).parents[1])
_NAME = re.compile(r"(?P<module>\w+(\.\w+)*):(?P<name>\w+)")


def is_named(name: str) -> bool:
    """Tell whether this is a name as ``package.module:name``.

    >>> is_named("models:wide"), is_named("mlp"), is_named("models:")
    (True, False, False)
    """
    return _NAME.fullmatch(name) is not None


def find_named(key: str, name: str) -> Any:
    """Return what is named ``package.module:name``.

    Parameters
    ----------
    key : str
        Of the configuration, for errors.
    name : str

    Raises
    ------
    ConfigError
        The module can't be imported, or has nothing of that name.
    """
    match = _NAME.fullmatch(name)
    assert match is not None
    here = os.getcwd()
    if here not in sys.path:  # the installed command has its own folder there instead
        sys.path.insert(0, here)
    with blaming(f"{key}: {name!r} can't be imported"):
        module = importlib.import_module(match["module"])
    try:
        return getattr(module, match["name"])
    except AttributeError:
        raise ConfigError(
            f"{key}: {name!r}: {getattr(module, '__file__', module)} has no {match['name']!r}"
            f"{nearest(match['name'], vars(module))}"
        ) from None


@contextmanager
def blaming(what: str) -> Iterator[None]:
    """Turn whatever a user's code raises into one line: what failed, why, and where in his files.

    Raises
    ------
    ConfigError
        Anything was raised; that is its cause.
    """
    try:
        yield
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"{what}: {reason}{_place(error)}") from error


def _place(error: Exception) -> str:
    """Return the line of the user's code that failed, where it is his."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_PACKAGE, sys.base_prefix, "<"))
        and "site-packages" not in frame.filename
    ]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
