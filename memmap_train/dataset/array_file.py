"""One `.npy` file of a dataset: opened, checked against its expected dtype and shape, mapped.

Files are plain `.npy` files (numpy's format 1.0, C order, little endian); `array_writer` writes
them. Nothing here depends on a manifest or on other files of the era.
"""

import errno
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from math import prod
from pathlib import Path

import numpy as np

from ..arrays import Array
from ..errors import ShardError
from ..system.file_access import advise
from .file_digest import FileStamp
from .file_errors import become_shorter, explained
from .format import HEADER_BYTES, MAX_HEADER_BYTES

_HEADER = re.compile(
    rb"\{ *'descr': *('[\w<>=|]*'), *'fortran_order': *(True|False), *"
    rb"'shape': *\(([0-9, ]*)\),? *\}[ \n]*"
)


@lru_cache(maxsize=256)
def npy_header(dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> bytes:
    """Return the header of a C-ordered `.npy` file (format 1.0)."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer,
        {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": False,
            "shape": shape,
        },
    )
    header = buffer.getvalue()
    assert len(header) == HEADER_BYTES  # numpy pads to 64, so that the shape may grow
    return header


@contextmanager
def opened_array(
    path: Path,
    dtype: np.dtype[np.generic],
    shape: tuple[int, ...],
    stamp: FileStamp | None = None,
) -> Iterator[tuple[io.FileIO, int]]:
    """Open one `.npy` file after checking that it holds what is expected.

    Parameters
    ----------
    path : Path
    dtype : numpy.dtype
    shape : tuple of int
        Expected shape, as in the manifest.
    stamp : FileStamp, optional
        Stamp of the file that was there when the manifest was read.

    Returns
    -------
    file : io.FileIO
    offset : int
        Offset of its data in bytes.

    Raises
    ------
    ShardError
        The file is missing, cut short, too long, another one than before, or holds another dtype
        or shape.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            advise(file.fileno(), "RANDOM")  # only the header is read: no reading ahead
            offset = _check_file(file, path, dtype, shape)
            if stamp is not None:
                stamp.check(file, path)
            yield file, offset
    except OSError as error:
        raise explained(error, path) from None


def open_array(
    path: Path,
    dtype: np.dtype[np.generic],
    shape: tuple[int, ...],
    stamp: FileStamp | None = None,
) -> Array:
    """Map one `.npy` file read-only, after the checks of `opened_array`.

    If the file system doesn't support shared maps, the map is a private one. If it supports no
    maps, the array is read into memory.
    """
    with opened_array(path, dtype, shape, stamp) as (file, offset):
        array: Array | None = None
        for mode in ("r", "c"):
            try:
                array = np.memmap(file, dtype=dtype, mode=mode, offset=offset, shape=shape)
                break
            except OSError as error:
                if error.errno == errno.ENOMEM:
                    raise
        if array is None:
            array = np.empty(shape, dtype)
            file.seek(offset)
            read_into(file, array)
        array.flags.writeable = False
        return array


def read_into(file: io.FileIO, out: Array) -> None:
    """Fill an array, in C order, with the next bytes of a file.

    Raises
    ------
    ShardError
        The file ends before the array is full.
    """
    left = out.reshape(-1).view(np.uint8).data
    while left:
        n_bytes = file.readinto(left)
        if not n_bytes:
            raise become_shorter(Path(os.fsdecode(file.name)))
        left = left[n_bytes:]


def check_array(path: Path, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> int:
    """Check one `.npy` file as `opened_array` does; return the offset of its data."""
    with opened_array(path, dtype, shape) as (_, offset):
        return offset


def _check_file(
    file: io.FileIO,
    path: Path,
    dtype: np.dtype[np.generic],
    shape: tuple[int, ...],
) -> int:
    """Return the offset of the data, or raise a ShardError."""
    expected_header = npy_header(dtype, shape)
    offset = len(expected_header)
    if file.read(offset) != expected_header:  # the header that this package writes needs no parsing
        offset, *found = _parse_header(file, path)
        expected = [repr(dtype.str), "False", ", ".join(map(str, shape))]
        if found != expected:
            descr, fortran_order, sizes = found
            in_order = " in Fortran order" if fortran_order == "True" else ""
            raise ShardError(
                f"{path}: expected {expected[0]} ({expected[2]}), found {descr:.40} ({sizes:.40})"
                f"{in_order}"
            )
    size = os.fstat(file.fileno()).st_size
    expected_size = offset + dtype.itemsize * prod(shape)
    if size != expected_size:
        how = "cut short" if size < expected_size else "too long"
        raise ShardError(
            f"{path}: {how}: expected {expected_size:,} bytes, found {size:,}; "
            "`memmap-train verify` lists all that is wrong"
        )
    return offset


def _parse_header(file: io.FileIO, path: Path) -> tuple[int, str, str, str]:
    """Return the data's offset, and dtype, order and sizes of a header that others wrote.

    It is untrusted input: numpy's parser and Python's warn about some headers, or fail on them with
    errors of many kinds. So it is matched by a pattern and read as text.
    """
    file.seek(0)
    start = file.read(10)
    n_bytes = int.from_bytes(start[8:], "little")
    if start[:8] != b"\x93NUMPY\x01\x00" or n_bytes > MAX_HEADER_BYTES:
        raise ShardError(f"{path}: not a .npy file of format 1.0")
    match = _HEADER.fullmatch(file.read(n_bytes))
    if match is None:
        raise ShardError(f"{path}: not a .npy file of format 1.0: its header can't be read")
    descr, fortran_order, sizes = (text.decode("latin-1") for text in match.groups())
    sizes = ", ".join(size.strip() for size in sizes.split(",") if size.strip())
    return 10 + n_bytes, descr, fortran_order, sizes
