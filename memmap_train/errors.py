"""The exceptions that are the user's to read; imports nothing.

Every one is a `MemmapTrainError` and also the builtin that a caller would catch anyway. A message
says *what, where, what was expected, what was found, and what to type next*, in one line: the
command line prints it as `error: …` and exits with 1. Anything else that escapes is a bug.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class MemmapTrainError(Exception):
    """Base of all errors that this package raises on purpose."""


class SourceError(MemmapTrainError, ValueError):
    """A parquet source can't be read, or its values aren't what a dataset can hold."""


class SchemaError(MemmapTrainError, ValueError):
    """A source lacks the columns that are needed, or names that were asked for don't exist."""


class ConversionError(MemmapTrainError, OSError):
    """A conversion can't start or go on: the folder is taken, the disk is full."""


class ManifestError(MemmapTrainError, ValueError):
    """A manifest is absent, damaged, or from another format version."""


class ShardError(MemmapTrainError, OSError):
    """A shard's files are missing, cut short, or not what the manifest says."""


class DatasetError(MemmapTrainError, LookupError):
    """An era, feature, target or feature set that the dataset doesn't have."""


class BatchError(MemmapTrainError, ValueError):
    """Batches or arrays that can't be made: a size of 0, too many rows, a negative step."""


class FoldError(MemmapTrainError, ValueError):
    """Train and validation eras that overlap, or that leave nothing."""


class ConfigError(MemmapTrainError, ValueError):
    """A training configuration with an unknown key or a value that makes no sense."""


class PathError(MemmapTrainError, ValueError):
    """A path that leads nowhere on this machine: a home folder that isn't known."""


class RunError(MemmapTrainError, OSError):
    """A run's folder exists, is missing, or holds something else."""


class DependencyError(MemmapTrainError, ImportError):
    """A package that only a part of this one needs isn't installed."""


class ThreadError(MemmapTrainError, RuntimeError):
    """The system starts no thread."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the closest known name, or an empty string.

    >>> nearest("medum", ["small", "medium", "all"])
    "; did you mean 'medium'?"
    >>> nearest("zzz", ["small"])
    ''
    """
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def listed(names: Iterable[str], most: int = 5) -> str:
    """Return names as a readable list, cut after `most` of them.

    >>> listed(["a", "b", "c"], most=2)
    "'a', 'b' and 1 more"
    """
    names = list(names)
    head = ", ".join(repr(name) for name in names[:most])
    return head + (f" and {len(names) - most:,} more" if len(names) > most else "")
