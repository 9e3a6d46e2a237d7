"""A range of addresses that files are mapped into, each at an address of the caller's choice.

**The riskiest code of this package.** Python's `mmap` can't choose an address, so the C library is
called. With MAP_FIXED the kernel replaces whatever is mapped at an address, without asking: a wrong
address would overwrite the memory of this process. Files are therefore mapped only inside a range
that was reserved here before, and every address is checked against it.
"""

import ctypes
import mmap
import os
import sys
import weakref
from functools import cache

_PROT_NONE, _MAP_FIXED = 0, 0x10  # of Linux and macOS
_MAP_FAILED = 2 ** (8 * ctypes.sizeof(ctypes.c_void_p)) - 1


class AddressRange:
    """A reserved range of addresses, which takes no memory; released with the last reference.

    Parameters
    ----------
    n_bytes : int

    Attributes
    ----------
    begin : int
        The first address.

    Raises
    ------
    OSError
        The system doesn't grant that many addresses, as under `ulimit -v`.
    """

    def __init__(self, n_bytes: int) -> None:
        calls = _c_library()
        assert calls is not None  # see `addresses_can_be_chosen`
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
        self.begin = calls.map(None, n_bytes, _PROT_NONE, flags, -1)
        self._calls, self._n_bytes = calls, n_bytes
        release = weakref.finalize(self, calls.unmap, self.begin, n_bytes)
        release.atexit = False  # the system does it, once no thread reads any more

    def map_file(self, offset: int, descriptor: int, n_bytes: int) -> None:
        """Map the first bytes of an open file read-only, to be read at random.

        Parameters
        ----------
        offset : int
            Where in the range; a multiple of the page size.
        descriptor : int
        n_bytes : int

        Raises
        ------
        OSError
            The file can't be mapped.
        """
        assert offset >= 0
        assert offset % mmap.PAGESIZE == 0
        assert 0 < n_bytes <= self._n_bytes - offset
        address = self.begin + offset
        flags = mmap.MAP_PRIVATE | _MAP_FIXED
        self._calls.map(address, n_bytes, mmap.PROT_READ, flags, descriptor)
        self._calls.expect_random_reads(address, n_bytes)


class _CLibrary:
    """The calls of the C library."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        address, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
        self._mmap, self._munmap, self._madvise = library.mmap, library.munmap, library.madvise
        self._mmap.argtypes = [address, size, number, number, number, ctypes.c_int64]
        self._mmap.restype = address
        self._munmap.argtypes = [address, size]
        self._madvise.argtypes = [address, size, number]

    def map(
        self, address: int | None, n_bytes: int, access: int, flags: int, descriptor: int
    ) -> int:
        found: int | None = self._mmap(address, n_bytes, access, flags, descriptor, 0)
        if found is None or found == _MAP_FAILED:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return found

    def unmap(self, address: int, n_bytes: int) -> None:
        self._munmap(address, n_bytes)

    def expect_random_reads(self, address: int, n_bytes: int) -> None:
        """Keep the kernel from reading up to 8 MB ahead for each row."""
        if hasattr(mmap, "MADV_RANDOM"):
            self._madvise(address, n_bytes, mmap.MADV_RANDOM)


def addresses_can_be_chosen() -> bool:
    """Return True if this module supports the system and its addresses have 64 bits."""
    return _c_library() is not None


@cache
def _c_library() -> _CLibrary | None:
    is_known = sys.platform in ("linux", "darwin") and hasattr(mmap, "MAP_PRIVATE")
    if not is_known or ctypes.sizeof(ctypes.c_void_p) < 8:
        return None
    try:
        return _CLibrary()
    except (OSError, AttributeError):
        return None
