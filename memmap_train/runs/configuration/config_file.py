"""The text of a configuration: a flat TOML file, and the ``key=value`` of ``--set``.

Takes a path and texts; returns keys and values, which aren't checked. Imports nothing but the
standard library and the errors.
"""

import codecs
import tomllib
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from ...errors import ConfigError, listed

PARAMS = "model_params"
"""The only key whose value is a table."""

_MAX_FILE_BYTES = 1_000_000  # a larger file isn't a configuration


def read_file(path: Path) -> dict[str, Any]:
    """Return the keys and values of a TOML file.

    Raises
    ------
    ConfigError
        The file can't be read, is too large, or isn't TOML.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
        if len(content) > _MAX_FILE_BYTES:
            raise ConfigError(
                f"{path}: not a configuration: expected a TOML file of at most "
                f"{_MAX_FILE_BYTES:,} bytes, found more"
            )
        # Some editors write a byte order mark, which TOML doesn't allow.
        return tomllib.loads(content.removeprefix(codecs.BOM_UTF8).decode())
    except ConfigError:
        raise
    except OSError as error:
        raise ConfigError(
            f"{path}: the configuration can't be read: {error.strerror}; expected a TOML file"
        ) from error
    # TOMLDecodeError, UnicodeDecodeError and the error of a number with thousands of digits are
    # ValueErrors. Deeply nested lists raise a RecursionError.
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f'{path}: not TOML: {error}; expected lines like epochs = 10 or features = "medium"'
        ) from error


def read_overrides(overrides: Sequence[str]) -> dict[str, object]:
    """Return the keys and values of ``key=value`` texts.

    Raises
    ------
    ConfigError
        A text has no key or no equals sign.
    """
    if broken := [text for text in overrides if text.find("=") < 1]:
        raise ConfigError(
            f"--set: expected key=value, found {listed(broken)}; write --set epochs=10"
        )
    values: dict[str, Any] = {}
    for text in overrides:
        key, value = (part.strip() for part in text.split("=", 1))
        table, _, name = key.partition(".")
        if table == PARAMS and name:
            given = values.get(PARAMS)
            values[PARAMS] = (given if isinstance(given, dict) else {}) | {name: _read_value(value)}
        else:
            values[key] = _read_value(value)
    return values


def _read_value(text: str) -> object:
    """Return a text as a TOML value; if it isn't one, the text itself.

    >>> [_read_value(text) for text in ("3", "[1, 2]", "true", "medium", '"medium"', "2024-01-05")]
    [3, [1, 2], True, 'medium', 'medium', '2024-01-05']
    """
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    # After a line break the text may have a second key. A date is the label of an era.
    return text if len(parsed) > 1 or isinstance(parsed["value"], date) else parsed["value"]
