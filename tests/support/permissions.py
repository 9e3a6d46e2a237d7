"""Permissions that count also in tests that a superuser runs."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_VERSION = 0x20080522  # of the layout below: Linux 2.6.26 and later
_OVERRIDES = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


@contextmanager
def permissions_count() -> Iterator[None]:
    """Drop the capabilities by which a superuser may open anything, for this and new threads."""
    if os.geteuid() != 0:
        yield
        return
    if sys.platform != "linux":
        pytest.skip("a superuser may open anything")
    library = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    data = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
    if library.capget(header, data):
        raise OSError(ctypes.get_errno(), "capget")
    before = data[0]
    data[0] = before & ~_OVERRIDES
    try:
        if library.capset(header, data):
            raise OSError(ctypes.get_errno(), "capset")
        yield
    finally:
        data[0] = before
        library.capset(header, data)
