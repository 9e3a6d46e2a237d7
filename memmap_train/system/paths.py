"""Paths as users write them: expanded, and checked to be usable on this system."""

import errno
import os
from pathlib import Path

from ..errors import MemmapTrainError, PathError

_MAX_SHOWN = 200  # characters of a path in a message


def user_path(path: str | os.PathLike[str]) -> Path:
    """Return a user's path, with a leading ``~`` replaced by the home folder.

    Shells replace it themselves, but not in ``--out=~/shards``; Python and TOML files don't.

    Raises
    ------
    PathError
        ``~name`` names a user whom this machine doesn't know, or there is no home folder.

    Examples
    --------
    >>> user_path("data/~shards").as_posix()
    'data/~shards'
    """
    given = os.fsdecode(path)
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
