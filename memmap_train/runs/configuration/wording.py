"""The words for a declared type: which values it allows, and which values have another type.

Takes the JSON schemas and the errors that pydantic makes for a declaration; returns phrases that
follow the words "expected" and "found". pydantic's own texts are written for programmers.
"""

from collections.abc import Iterator, Mapping
from reprlib import repr as short_repr
from typing import Any

from pydantic import ValidationError

_PLAIN = {"boolean": "true or false", "string": "text", "array": "a list", "object": "a table"}


def allowed(schema: Mapping[str, Any]) -> str:
    """Return the values that a JSON schema allows, in words; null isn't mentioned.

    A description in the schema takes the place of the words for its type and limits.

    >>> allowed({"type": "integer", "minimum": 1})
    'a whole number of 1 or more'
    >>> allowed({"type": "number", "minimum": 0, "exclusiveMaximum": 1})
    'a number from 0 to below 1'
    >>> allowed({"anyOf": [{"type": "integer", "minimum": 0}, {"const": "auto"}, {"type": "null"}]})
    'a whole number of 0 or more, or "auto"'
    >>> allowed({"type": "string", "enum": ["mse", "mae"]})
    '"mse" or "mae"'
    """
    if "description" in schema:
        return str(schema["description"])
    if "anyOf" in schema:
        parts = [allowed(part) for part in schema["anyOf"] if part.get("type") != "null"]
        return ", or ".join(parts)
    if "const" in schema:
        return f'"{schema["const"]}"'
    if "enum" in schema:
        return " or ".join(f'"{word}"' for word in schema["enum"])
    kind = schema.get("type", "")
    if kind in _PLAIN:
        return _PLAIN[kind]
    return f"a {'whole ' if kind == 'integer' else ''}number {_limits(schema)}".rstrip()


def _limits(schema: Mapping[str, Any]) -> str:
    """Return the limits of a number: "of 1 or more", "from 0 to below 1", "above 0"."""
    keywords = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
    found = [schema.get(keyword) for keyword in keywords]
    # Versions of pydantic differ in whether the limit of a float is an integer.
    least, most, above, below = (int(x) if x is not None and x == int(x) else x for x in found)
    if least is not None and most is not None:
        return f"from {least} to {most}"
    if least is not None:
        return f"from {least} to below {below}" if below is not None else f"of {least} or more"
    if above is not None:
        return f"between {above} and {below}" if below is not None else f"above {above}"
    return ""


def quoted(value: object) -> str:
    """Return a value for a message, shortened where it is long.

    >>> quoted("medium"), quoted(list(range(100))), quoted(10**5000)
    ("'medium'", '[0, 1, 2, 3, 4, 5, ...]', 'a number of thousands of digits')
    """
    try:
        return short_repr(value)
    except ValueError:  # of an int, by default, from 4,300 digits on
        return "a number of thousands of digits"


def faults_in(
    error: ValidationError, schemas: Mapping[str, Any], values: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    """Yield the keys that an error is about, with the expected values and the value found.

    Parameters
    ----------
    error : ValidationError
        The error.
    schemas : mapping
        The JSON schema of each key.
    values : mapping
        The values that were validated.

    Yields
    ------
    key : str
        The key; empty for an error that is about several keys together.
    expected : str
        The allowed values in words; for an error about several keys, the text of the error.
    found : str
        The value in the form of `quoted`; empty if the key is missing.
    """
    seen = set()
    for fault in error.errors(include_url=False, include_input=False):
        key = str(fault["loc"][0]) if fault["loc"] else ""
        if key in seen:
            continue  # another item of a list, or another type of a union
        seen.add(key)
        if not key:
            yield "", str(fault["ctx"]["error"]), ""
        else:
            found = quoted(values[key]) if key in values else ""
            yield key, allowed(schemas[key]), found
