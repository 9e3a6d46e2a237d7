"""Paths that a user names: one that the system can't even look at is refused in one line.

Imports nothing of ours but errors.
"""

import errno
import os
from pathlib import Path

from .errors import MemmapTrainError

_MOST_SHOWN = 200  # characters of a path in a message


def checked_path(path: str | os.PathLike[str], kind: type[MemmapTrainError]) -> Path:
    """Return a path, whether or not there is something, or raise an error of this kind.

    Raises
    ------
    MemmapTrainError
        A name in it is too long or holds the character NUL, links in it form a loop, or a folder
        in it may not be entered.
    """
    checked = Path(path)
    try:
        os.stat(checked)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except ValueError:
        raise kind(f"{str(checked)!r:.{_MOST_SHOWN}}: no name can hold the character NUL") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            shown = f"{checked!s:.{_MOST_SHOWN}}"
            raise kind(f"{shown}…: too long for a name; shorten it") from None
        raise kind(f"{checked}: can't be reached: {error.strerror}") from None
    return checked
