"""Direct I/O (O_DIRECT): whether a file can be read that way, and how it is switched on."""

import mmap
import os
from pathlib import Path

BLOCK_BYTES = 4096  # offsets and lengths of direct I/O are multiples of the disk's blocks


def can_read_directly(path: Path) -> bool:
    """Return True if the system and the file system support direct I/O for a file."""
    if not hasattr(os, "O_DIRECT") or not hasattr(os, "preadv"):
        return False
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        bypass_cache(file)
        return os.preadv(file, [mmap.mmap(-1, BLOCK_BYTES)], 0) > 0
    except OSError:
        return False
    finally:
        os.close(file)


def bypass_cache(file: int) -> None:
    """Switch an open file to direct I/O; OSError if that isn't supported."""
    import fcntl  # POSIX only, as O_DIRECT is

    fcntl.fcntl(file, fcntl.F_SETFL, os.O_RDONLY | os.O_DIRECT)
