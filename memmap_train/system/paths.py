"""Paths as users write them: expanded, and checked to be usable on this system."""

import errno
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import MemmapTrainError, PathError, shown

PACKAGE_DIR = Path(__file__).parents[1]
"""The folder of this package, `memmap_train/`."""

_MAX_SHOWN = 200  # characters of a path in a message
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def user_path(path: str | os.PathLike[str]) -> Path:
    """Return a user's path, with a leading ``~`` replaced by the home folder.

    Shells replace it themselves, but not in ``--out=~/shards``; Python and TOML files don't.

    Raises
    ------
    PathError
        It isn't a path, or is empty, or is a URL; ``~name`` names a user whom this machine doesn't
        know, or there is no home folder.

    Examples
    --------
    >>> user_path("data/~shards").as_posix()
    'data/~shards'
    """
    if not isinstance(path, str | bytes | os.PathLike):
        raise PathError(f"expected a path, found {shown(path)}")
    given = os.fsdecode(path)
    if not given:
        raise PathError("expected a path, found an empty text; the current folder is '.'")
    if _URL.match(given) and not os.path.exists(given):
        raise PathError(
            f"{given:.{_MAX_SHOWN}}: expected a path of this machine, found a URL; download it and "
            "name the file"
        )
    try:
        expanded = os.path.expanduser(given)
    except ValueError:  # a user's name can't contain the character NUL
        expanded = given
    if given.startswith("~") and expanded == given:
        name = Path(given).parts[0][1:]
        whose = f"the user {name!r}" if name else "this user"
        raise PathError(
            f"{given}: the home folder of {whose} isn't known here; name the folder in full, or "
            f"write ./{given} if its name begins with ~"
        )
    found = Path(expanded)
    # A path forgets a leading "./": it must mean the same when it comes here again.
    return found.absolute() if str(found).startswith("~") else found


def user_paths(paths: object) -> list[Path]:
    """Return the `user_path` of one path, or of each of several.

    Raises
    ------
    PathError
        Something isn't a path. A table or a mapping isn't a list of paths, although its names could
        be taken for them.
    """
    if isinstance(paths, str | bytes | os.PathLike):
        paths = [paths]
    is_table = isinstance(paths, Mapping) or hasattr(paths, "columns")
    if is_table or not isinstance(paths, Iterable):
        raise PathError(f"expected a path, or a list of paths, found {shown(paths)}")
    return [user_path(path) for path in paths]


def checked_path(path: str | os.PathLike[str], kind: type[MemmapTrainError]) -> Path:
    """Return a `user_path` that the system accepts, whether or not it exists.

    Raises
    ------
    MemmapTrainError
        A name in it is too long or holds the character NUL, links in it form a loop, or a folder
        in it may not be entered.
    """
    checked = user_path(path)
    try:
        os.stat(checked)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except ValueError:
        raise kind(f"{str(checked)!r:.{_MAX_SHOWN}}: no name can hold the character NUL") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            shown = f"{checked!s:.{_MAX_SHOWN}}"
            raise kind(f"{shown}…: too long for a name; shorten it") from None
        raise kind(f"{checked}: can't be reached: {error.strerror}") from None
    return checked
