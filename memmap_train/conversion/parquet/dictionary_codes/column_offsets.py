"""Offsets of the columns of 32-bit integers in a parquet file, from its footer's bytes.

pyarrow has accessors for them, but C++ exceptions pass through these and end the whole process
where a footer is damaged or mentions encryption. Here, columns whose entries can't be read are left
out.

Notes
-----
Source: parquet.thrift of https://github.com/apache/parquet-format (ColumnMetaData), in Thrift's
compact protocol; see `page_headers`. The fields are those that every writer writes, in this order.
"""

import os
import re
import threading
from array import array
from pathlib import Path
from typing import NamedTuple

_NUMBER = rb"([\x80-\xff]{0,9}[\x00-\x7f])"
# Type: INT32; encodings: a list of 32-bit numbers; path: a list of one text, of this length.
_TO_NAME = re.compile(rb"\x15\x02\x19[\x15-\xe5][\x00-\x7f]{1,14}?\x19\x18" + _NUMBER)
# Codec, values, bytes of no interest, compressed bytes; the first data page, and the dictionary's.
_FROM_NAME = re.compile(
    rb"\x15%b\x16%b\x16[\x80-\xff]{0,9}[\x00-\x7f]\x16%b\x26%b\x26%b" % ((_NUMBER,) * 5)
)
_CODECS = {0: False, 1: True}  # parquet.thrift: CompressionCodec
_MAX_BYTES = 1 << 60  # of a file: systems take offsets of 63 bits
_N_NUMBERS = 5  # of a chunk, in an array: tuples take five times as much for a million chunks
_OTHER_CODEC = -1
_UNKNOWN = (0, 0, 0, 0, _OTHER_CODEC)
_NO_NUMBERS = array("q")
_TAIL_BYTES = 8  # the footer's length (4 bytes, little endian) and the magic


class Chunk(NamedTuple):
    """A column of a row group.

    Attributes
    ----------
    begin, data_begin, end : int
        File offsets of the dictionary page, of the first data page, and of the end of the chunk.
    n_values : int
    compressed : bool
        Whether its pages are compressed by snappy; otherwise they aren't compressed.
    """

    begin: int
    data_begin: int
    end: int
    n_values: int
    compressed: bool


class ColumnOffsets:
    """Chunks of a parquet file by column and row group; read when first needed. Thread-safe.

    Parameters
    ----------
    path : Path
    n_groups : int
        Number of row groups; columns with another number of chunks are left out.
    """

    def __init__(self, path: Path, n_groups: int) -> None:
        self._path, self._n_groups = path, n_groups
        self._lock = threading.Lock()
        self._chunks: dict[bytes, array[int]] | None = None  # as many numbers for each chunk

    def chunk(self, group: int, name: str) -> Chunk | None:
        """Return the chunk of a column; None if it isn't known, or has another codec.

        Raises
        ------
        OSError
            The file can't be read.
        """
        with self._lock:
            if self._chunks is None:
                self._chunks = _find_chunks(_read_footer(self._path))
        numbers = self._chunks.get(name.encode(), _NO_NUMBERS)
        if len(numbers) != self._n_groups * _N_NUMBERS:
            return None
        begin, data_begin, end, n_values, codec = numbers[group * _N_NUMBERS :][:_N_NUMBERS]
        if codec == _OTHER_CODEC:
            return None
        return Chunk(begin, data_begin, end, n_values, _CODECS[codec])


def _read_footer(path: Path) -> bytes:
    with open(path, "rb") as file:
        file.seek(-_TAIL_BYTES, os.SEEK_END)
        n_bytes = int.from_bytes(file.read(4), "little")
        file.seek(-_TAIL_BYTES - n_bytes, os.SEEK_END)
        return file.read(n_bytes)


def _find_chunks(footer: bytes) -> "dict[bytes, array[int]]":
    """Return the numbers of each column's chunks, in the order of the row groups."""
    found: dict[bytes, array[int]] = {}
    for match in _TO_NAME.finditer(footer):
        begin = match.end()
        end = begin + _number(match[1])
        numbers = found.get(name := footer[begin:end])
        if numbers is None:
            numbers = found[name] = array("q")
        rest = _FROM_NAME.match(footer, end)
        numbers.extend(_numbers(*rest.groups()) if rest else _UNKNOWN)
    return found


def _numbers(*fields: bytes) -> tuple[int, ...]:
    """Return the numbers in these fields; `_UNKNOWN` for impossible sizes and other codecs."""
    # Zigzag encoding: non-negative numbers are written doubled.
    codec, n_values, n_bytes, data_begin, begin = (_number(field) >> 1 for field in fields)
    if codec not in _CODECS or max(n_bytes, data_begin, begin, n_values) >= _MAX_BYTES:
        return _UNKNOWN
    return begin, data_begin, begin + n_bytes, n_values, codec


def _number(field: bytes) -> int:
    """Return a variable-length number: seven bits a byte, the lowest ones first."""
    value = 0
    for byte in reversed(field):
        value = value << 7 | byte & 127
    return value
