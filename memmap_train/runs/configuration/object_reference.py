"""References to Python objects as ``package.module:name``, and errors of the user's code.

Takes a text of the configuration; returns the object. Modules are looked up as Python does it,
and in the current directory. Whatever the user's code raises becomes one line that names it.
"""

import hashlib
import importlib
import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ...errors import ConfigError, nearest
from ...system.paths import PACKAGE_DIR

# Not `pkgutil.resolve_name`: it refuses modules whose names begin with a digit (2024_models.py),
# and doesn't tell a missing name from an AttributeError in the user's module.
_REFERENCE = re.compile(r"(?P<module>\w+(\.\w+)*):(?P<name>\w+)")

_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")  # which make a terminal write in bold
_FRAME = re.compile(r'^ *File "(.+)", line (\d+), in ', re.MULTILINE)
_LINE_OF_STACK = re.compile(
    r"Graph execution error:|Detected at node |Traceback |Hint: | *File \"| {4}|\d+ root error"
)
_NODE = re.compile(r"\[\[\{\{node .*?\}\}\]\]|\[Op:\w+\]")


def is_reference(text: str) -> bool:
    """Return True if a text has the form ``package.module:name``.

    >>> is_reference("models:wide"), is_reference("mlp"), is_reference("models:")
    (True, False, False)
    """
    return _REFERENCE.fullmatch(text) is not None


def resolve_reference(key: str, reference: str) -> Any:
    """Return the object that ``package.module:name`` refers to.

    Parameters
    ----------
    key : str
        The key of the configuration, for errors.
    reference : str
        A text for which `is_reference` is true.

    Raises
    ------
    ConfigError
        If the module can't be imported, or has no such name.

    Examples
    --------
    >>> resolve_reference("model", "math:sqrt")(9)
    3.0
    >>> resolve_reference("model", "statistics:medan")
    Traceback (most recent call last):
    ...
    memmap_train.errors.ConfigError: model: 'statistics:medan': ... did you mean 'median'?
    """
    match = _REFERENCE.fullmatch(reference)
    assert match is not None
    module = _import(f"{key}: {reference!r} can't be imported", match["module"])
    try:
        return getattr(module, match["name"])
    except AttributeError:
        raise ConfigError(
            f"{key}: {reference!r}: {getattr(module, '__file__', module)} has no {match['name']!r}"
            f"{nearest(match['name'], vars(module))}"
        ) from None


def _import(what: str, name: str) -> Any:
    """Import a module; `what` begins the error."""
    here = os.getcwd()
    if here not in sys.path:  # the installed command has its own folder there instead
        sys.path.insert(0, here)
    with user_code(what):
        return importlib.import_module(name)


def digest_of_code(references: Sequence[str]) -> str | None:
    """Return a digest of the files of the modules that are referred to, or None without any.

    Modules that these import in turn aren't included.
    """
    digest, found = hashlib.sha256(), False
    for module in sorted({text.partition(":")[0] for text in references if is_reference(text)}):
        with suppress(ConfigError, OSError, TypeError):  # the error comes when the object is needed
            _import("", module)
            file = getattr(sys.modules[module], "__file__", None)  # a built-in module has none
            if file is not None:
                digest.update(Path(file).read_bytes())
                found = True
    return digest.hexdigest()[:12] if found else None


@contextmanager
def user_code(what: str) -> Iterator[None]:
    """Convert any exception of a user's code into a one-line error with its file and line.

    Parameters
    ----------
    what : str
        The beginning of the error: what the code was called for.

    Raises
    ------
    ConfigError
        If anything was raised, which is its cause.
    """
    try:
        yield
    except (Exception, SystemExit) as error:  # `exit()` would end the run without a word
        raise ConfigError(f"{what}: {describe_error(error)}") from error


def describe_error(error: BaseException) -> str:
    """Return an exception of a user's code in one line, with the line of the code.

    For a graph that fails while it runs, TensorFlow's text has the stack that made the operation,
    and Keras's text has the arguments of the layer: both are left out.
    """
    text = _ESCAPES.sub("", str(error)).partition("Arguments received by ")[0]
    lines = text.splitlines()
    if _FRAME.search(text):
        lines = [line for line in lines if not _LINE_OF_STACK.match(line)]
    reason = " ".join(_NODE.sub("", " ".join(lines)).split())
    return f"{type(error).__name__}: {reason}{_location(error)}"


def _location(error: BaseException) -> str:
    """Return the line of the user's code that failed, in brackets, or an empty text."""
    made = [(file, int(line)) for file, line in _FRAME.findall(str(error))]
    # That stack begins where the program does. What follows this package's frames is the model's.
    own = [position for position, (file, _) in enumerate(made) if file.startswith(str(PACKAGE_DIR))]
    raised = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    for frames in (made[own[-1] + 1 if own else 0 :], raised):
        users = [
            (file, line)
            for file, line in frames
            if not file.startswith((str(PACKAGE_DIR), sys.base_prefix, "<"))
            and "site-packages" not in file
        ]
        if users or made:
            return " ({}, line {})".format(*users[-1]) if users else ""
    return ""
