"""Make files and folders durable: what was written survives a power cut.

Some file systems don't support it and return an error (shared folders of virtual machines, DrvFs,
CIFS, some FUSE file systems; Windows opens no folders at all). Files there are as durable as the
file system makes them. An error of the disk itself is always raised.
"""

import errno
import os
from pathlib import Path

_UNSUPPORTED = frozenset((errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP))
_UNSUPPORTED_FOR_FOLDERS = _UNSUPPORTED | {errno.EBADF, errno.EACCES, errno.EPERM, errno.EISDIR}


def sync_file(descriptor: int) -> None:
    """Make the content of an open file durable, where its file system can."""
    _sync(descriptor, _UNSUPPORTED)


def sync_directory(directory: Path) -> None:
    """Make renames and new names in a folder durable, where its file system can."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError as error:
        # Windows opens no folder, other systems none that may be written to but not read.
        if error.errno in _UNSUPPORTED_FOR_FOLDERS:
            return
        raise
    try:
        _sync(descriptor, _UNSUPPORTED_FOR_FOLDERS)
    finally:
        os.close(descriptor)


def _sync(descriptor: int, unsupported: frozenset[int]) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in unsupported:
            raise
