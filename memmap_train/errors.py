"""The exceptions that this package raises on purpose. Imports nothing of the package.

Each is a `MemmapTrainError` and the builtin exception that a caller would catch for such an error.
A message says in one line *what* is wrong, *where*, what was *expected*, what was *found*, and what
to *do next*. The command line prints it as `error: …` and exits with 1. Any other exception is a
bug.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class MemmapTrainError(Exception):
    """Base class of all errors that this package raises on purpose."""


class SourceError(MemmapTrainError, ValueError):
    """A parquet source can't be read, or its values aren't what a dataset can hold."""


class SchemaError(MemmapTrainError, ValueError):
    """A source lacks columns that are needed or requested."""


class ConversionError(MemmapTrainError, OSError):
    """A conversion can't begin or continue: the folder holds other files, or the disk is full."""


class ManifestError(MemmapTrainError, ValueError):
    """A manifest is absent, damaged, or from another format version."""


class ShardError(MemmapTrainError, OSError):
    """Files of a shard are missing, cut short, or differ from the manifest."""


class DatasetError(MemmapTrainError, LookupError):
    """The dataset has no era, feature, target or feature set of this name."""


class BatchError(MemmapTrainError, ValueError):
    """Batches or arrays can't be made: a size of 0, too many rows, a negative step."""


class FoldError(MemmapTrainError, ValueError):
    """Training and validation eras overlap, or there are none of one kind."""


class ConfigError(MemmapTrainError, ValueError):
    """A configuration has an unknown key, or a value that is out of range or unsuited."""


class PathError(MemmapTrainError, ValueError):
    """Something isn't a path, or a path begins with a home folder that is unknown here."""


class ArgumentError(MemmapTrainError, TypeError):
    """An argument is of a type that the function doesn't take."""


class RunError(MemmapTrainError, OSError):
    """A folder of a run is taken, missing, damaged or not a run's; or a file can't be written."""


class ModelError(RunError):
    """A trained model fails when it predicts, or its predictions are no numbers."""


class NumeraiError(MemmapTrainError, OSError):
    """Numerai isn't reached or refuses a request, or a file of it isn't fetched or isn't whole."""


class ExportError(MemmapTrainError, ValueError):
    """A model upload can't be made, or Numerai couldn't run it."""


class DependencyError(MemmapTrainError, ImportError):
    """An optional package that a function needs isn't installed."""


class ThreadError(MemmapTrainError, RuntimeError):
    """The system can't start another thread."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the closest known name, or an empty string.

    >>> nearest("medum", ["small", "medium", "all"])
    "; did you mean 'medium'?"
    >>> nearest("zzz", ["small"]), nearest("small" * 1000, ["small"])
    ('', '')
    """
    known = list(known)
    if len(name) > 3 * max(map(len, known), default=0):  # too long to be close, and slow to compare
        return ""
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def listed(names: Iterable[str], most: int = 5) -> str:
    """Return names as a readable list, cut after `most` of them.

    >>> listed(["a", "b", "c"], most=2)
    "'a', 'b' and 1 more"
    """
    names = list(names)
    head = ", ".join(repr(name) for name in names[:most])
    return head + (f" and {len(names) - most:,} more" if len(names) > most else "")


def shown(value: object, most: int = 60) -> str:
    """Return a value and its type for a message, in one line, cut after `most` characters.

    Objects whose text would say little, such as arrays, are named by their type alone.

    >>> shown("no"), shown(5), shown(None), shown(b"x"), shown(object())
    ("'no' (str)", '5', 'None', "b'x' (bytes)", 'an object')
    """
    kind = type(value).__name__
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if not isinstance(value, str | bytes | int | float | list | tuple | dict | set):
        return f"an {kind}" if kind[0].lower() in "aeiou" else f"a {kind}"
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # of an int, by default, from 4,300 digits on
        return "a number of thousands of digits"
    text = text if len(text) <= most else f"{text[:most]}…"
    return text if isinstance(value, int | float) else f"{text} ({kind})"
