"""Memory maps of files, and hints to the kernel about how a file will be read."""

import mmap
import os
import sys
from contextlib import suppress


def advise(descriptor: int, advice: str, start: int = 0, n_bytes: int = 0) -> None:
    """Tell the kernel how a part of an open file will be read, if the system supports it.

    Parameters
    ----------
    descriptor : int
    advice : {"RANDOM", "SEQUENTIAL", "WILLNEED", "DONTNEED"}
    start, n_bytes : int
        The part in bytes; by default the whole file.
    """
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):  # some kernels and sandboxes have the call but reject it
            os.posix_fadvise(descriptor, start, n_bytes, getattr(os, f"POSIX_FADV_{advice}"))


def map_file(descriptor: int, n_bytes: int) -> mmap.mmap:
    """Map the first bytes of an open file read-only, without keeping a descriptor if possible.

    The map is a private one where systems distinguish them: more file systems allow it.

    Raises
    ------
    OSError
        The file system allows no maps, or the process may not use that many addresses.
    """
    if not hasattr(mmap, "MAP_PRIVATE"):  # on Windows
        return mmap.mmap(descriptor, n_bytes, access=mmap.ACCESS_READ)
    options = {"trackfd": False} if sys.version_info >= (3, 13) else {}
    return mmap.mmap(descriptor, n_bytes, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ, **options)
