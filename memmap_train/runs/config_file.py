"""The text of a configuration: a flat TOML file, and ``key=value`` of ``--set``.

In come a path and texts; out come the keys and values that they hold, unchecked. Imports nothing
but the standard library and the errors.
"""

import codecs
import tomllib
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from ..errors import ConfigError, listed

PARAMS = "model_params"
"""The one key whose value is a table."""

_MAX_FILE_BYTES = 1_000_000  # of a configuration: more is another file


def read_file(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
        if len(content) > _MAX_FILE_BYTES:
            raise ConfigError(
                f"{path}: not a configuration: expected a TOML file of at most "
                f"{_MAX_FILE_BYTES:,} bytes, found more"
            )
        # Some editors begin a file with a mark of its encoding, which TOML doesn't know.
        return tomllib.loads(content.removeprefix(codecs.BOM_UTF8).decode())
    except ConfigError:
        raise
    except OSError as error:
        raise ConfigError(
            f"{path}: the configuration can't be read: {error.strerror}; expected a TOML file"
        ) from error
    # Bytes that aren't UTF-8 and numbers of thousands of digits are ValueErrors of other kinds;
    # lists in lists without an end are none.
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f'{path}: not TOML: {error}; expected lines like epochs = 10 or features = "medium"'
        ) from error


def read_overrides(overrides: Sequence[str]) -> dict[str, object]:
    """Return the keys and values of ``key=value`` texts."""
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
    """Return what `text` is as a TOML value, or itself.

    >>> [_read_value(text) for text in ("3", "[1, 2]", "true", "medium", '"medium"', "2024-01-05")]
    [3, [1, 2], True, 'medium', 'medium', '2024-01-05']
    """
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    # A line break in the text may have begun a second key; and a date is the label of an era.
    return text if len(parsed) > 1 or isinstance(parsed["value"], date) else parsed["value"]
