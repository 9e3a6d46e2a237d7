"""Errors for files of a dataset: each names the file and why it can't be read."""

import errno
from pathlib import Path

from ..errors import ShardError
from ..system.resources import reached_map_limit


def become_shorter(path: Path) -> ShardError:
    """Return the error for a file that was whole when it was opened."""
    return ShardError(
        f"{path}: the file has become shorter while it was read; "
        "`memmap-train verify` lists all that is wrong"
    )


def explained(error: OSError, path: Path) -> ShardError:
    """Return the ShardError for a file that can't be opened, read or mapped."""
    if isinstance(error, ShardError):
        return error
    if error.errno == errno.ENOMEM and (most := reached_map_limit()):
        return ShardError(
            f"{path}: can't be mapped: this system allows a process {most:,} maps, and every array "
            f"of an era takes one or two; allow more with `sudo sysctl -w vm.max_map_count="
            f"{8 * most}`"
        )
    if error.errno == errno.ENOMEM:
        return ShardError(
            f"{path}: can't be mapped: this process may not have as many addresses; raise the "
            "limit with `ulimit -v unlimited`"
        )
    return ShardError(f"{path}: {why_unreadable(error, path)}")


def why_unreadable(error: OSError, path: Path) -> str:
    """Return the reason why a file of a dataset can't be opened, in words."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        return f"can't be read: {error.strerror}"
    for linked in (path, path.parent):
        if linked.is_symlink() and not linked.exists():
            return f"the file is missing: {linked.name} is a link to nothing"
    return "the file is missing"
