"""The text of ``train --help-config``: each key with its default, what it may be, and its meaning.

Everything is taken from the declaration of `TrainConfig`: the types and the defaults from its
fields, the meaning from its docstring.
"""

import inspect
import json
import re
from dataclasses import MISSING, fields
from textwrap import fill

from .config import TrainConfig
from .config_checks import schema_of_keys
from .config_types import AUTO
from .wording import allowed

_INTRODUCTION = (
    "The keys of the file given by --config, which is flat TOML, and of --set KEY=VALUE, each with "
    "its default as the file would have it."
)
_INDENT = "    "


def config_help(width: int = 80) -> str:
    """Return the help for the keys of the configuration.

    Parameters
    ----------
    width : int
        The largest number of characters in a line, apart from words that are longer.
    """
    meanings = meanings_of_keys()
    parts = [fill(_INTRODUCTION, width)]
    for name, schema in schema_of_keys(TrainConfig).items():
        lines = (meanings.get(name, ""), f"Expected: {allowed(schema)}.")
        indented = [
            fill(
                line,
                width,
                initial_indent=_INDENT,
                subsequent_indent=_INDENT,
                break_on_hyphens=False,
            )
            for line in lines
            if line
        ]
        parts.append("\n".join([f"{name} = {default_text(name)}", *indented]))
    return "\n\n".join(parts)


def default_text(name: str) -> str:
    """Return the default of a key as a TOML file has it.

    >>> default_text("targets"), default_text("memory"), default_text("deterministic")
    ('["target"]', '"auto"', '"auto"')
    """
    (key,) = (key for key in fields(TrainConfig) if key.name == name)
    value = key.default if key.default is not MISSING else {}
    if value is not None:
        return json.dumps(value)
    has_auto = {"const": AUTO} in schema_of_keys(TrainConfig)[name].get("anyOf", ())
    return f'"{AUTO}"' if has_auto else "… (left out by default)"


def meanings_of_keys() -> dict[str, str]:
    """Return the description of each key in the docstring of `TrainConfig`."""
    text = inspect.cleandoc(TrainConfig.__doc__ or "")
    section = text.partition("Attributes\n----------\n")[2].partition("\n\n")[0]
    entries = re.split(r"^(\w+) : .*\n", section, flags=re.MULTILINE)[1:]
    return {
        name: " ".join(meaning.replace("`", "").split())
        for name, meaning in zip(entries[::2], entries[1::2], strict=True)
    }
