"""What a user names as ``package.module:name``: found, and blamed by that name when it fails.

In comes a name of the configuration, out comes what it names. Modules are looked for as Python does
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

from ..errors import ConfigError, nearest

_PACKAGE = str(Path(__file__).parents[1])
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")  # that make a terminal write in bold
_FRAME = re.compile(r'^ *File "(.+)", line (\d+), in ', re.MULTILINE)
_OF_THE_STACK = re.compile(
    r"Graph execution error:|Detected at node |Traceback |Hint: | *File \"| {4}|\d+ root error"
)
_NODE = re.compile(r"\[\[\{\{node .*?\}\}\]\]|\[Op:\w+\]")
_NAME = re.compile(r"(?P<module>\w+(\.\w+)*):(?P<name>\w+)")


def is_reference(name: str) -> bool:
    """Tell whether this is a name as ``package.module:name``.

    >>> is_reference("models:wide"), is_reference("mlp"), is_reference("models:")
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
    module = _import(f"{key}: {name!r} can't be imported", match["module"])
    try:
        return getattr(module, match["name"])
    except AttributeError:
        raise ConfigError(
            f"{key}: {name!r}: {getattr(module, '__file__', module)} has no {match['name']!r}"
            f"{nearest(match['name'], vars(module))}"
        ) from None


def _import(blame: str, name: str) -> Any:
    here = os.getcwd()
    if here not in sys.path:  # the installed command has its own folder there instead
        sys.path.insert(0, here)
    with blaming(blame):
        return importlib.import_module(name)


def digest_of_code(names: Sequence[str]) -> str | None:
    """Return a digest of the files that hold what these name; None where no file does.

    What such a module imports in turn isn't looked at.
    """
    digest, found = hashlib.sha256(), False
    for module in sorted({name.partition(":")[0] for name in names if is_reference(name)}):
        with suppress(ConfigError, OSError, TypeError):  # which is told when it is needed
            _import("", module)
            file = getattr(sys.modules[module], "__file__", None)  # a built-in module has none
            if file is not None:
                digest.update(Path(file).read_bytes())
                found = True
    return digest.hexdigest()[:12] if found else None


@contextmanager
def blaming(what: str) -> Iterator[None]:
    """Turn whatever a user's code raises into one line: what failed, why, and where in that code.

    Raises
    ------
    ConfigError
        Anything was raised; that is its cause.
    """
    try:
        yield
    except (Exception, SystemExit) as error:  # a user's `exit()` would end the run unsaid
        raise ConfigError(f"{what}: {described(error)}") from error


def described(error: BaseException) -> str:
    """Return in one line what a user's code raised, and which line of it did.

    Of a graph that fails while it runs, TensorFlow's text holds the stack that made the operation,
    and Keras's the arguments of the layer.
    """
    text = _ESCAPES.sub("", str(error)).partition("Arguments received by ")[0]
    lines = text.splitlines()
    if _FRAME.search(text):
        lines = [line for line in lines if not _OF_THE_STACK.match(line)]
    reason = " ".join(_NODE.sub("", " ".join(lines)).split())
    return f"{type(error).__name__}: {reason}{_place(error)}"


def _place(error: BaseException) -> str:
    """Return the line of the user's code that failed, where it is the user's."""
    made = [(file, int(line)) for file, line in _FRAME.findall(str(error))]
    # That stack begins where the program does: what comes after this package's part is the model's.
    ours = [place for place, (file, _) in enumerate(made) if file.startswith(_PACKAGE)]
    raised = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    for frames in (made[ours[-1] + 1 if ours else 0 :], raised):
        users = [
            (file, line)
            for file, line in frames
            if not file.startswith((_PACKAGE, sys.base_prefix, "<")) and "site-packages" not in file
        ]
        if users or made:
            return " ({}, line {})".format(*users[-1]) if users else ""
    return ""
