"""Headers of parquet's pages: structs in Thrift's compact protocol.

Only the fields that `page_layout` needs are returned. Other fields are skipped; what can't be
skipped raises `UnsupportedLayoutError`, and the column is left to Arrow.

Notes
-----
Sources: parquet.thrift of https://github.com/apache/parquet-format (PageHeader), and
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
"""

from typing import Any, NamedTuple

Data = bytes | bytearray

PLAIN, PLAIN_DICTIONARY, RLE, RLE_DICTIONARY = 0, 2, 3, 8  # parquet.thrift: Encoding
DATA_PAGE, DICTIONARY_PAGE = 0, 2  # parquet.thrift: PageType
_MAX_DEPTH = 3  # of structs: a header holds a data page's, which holds its statistics


class UnsupportedLayoutError(Exception):
    """A page, or its header, has a layout that this decoder doesn't know."""


class Header(NamedTuple):
    """The header of a page.

    Attributes
    ----------
    kind : int
        `DATA_PAGE` or `DICTIONARY_PAGE`.
    n_bytes, compressed_bytes : int
        Size of the page without its header, before and after compression.
    n_values : int
    encoding, level_encoding : int
        Encoding of the values, and of the definition levels, which mark nulls (0 in the header of a
        dictionary page).
    """

    kind: int
    n_bytes: int
    compressed_bytes: int
    n_values: int
    encoding: int
    level_encoding: int


def parse_header(data: Data, offset: int) -> tuple[Header, int]:
    """Return the header that begins at an offset, and the offset of its end.

    Raises
    ------
    UnsupportedLayoutError
        The bytes aren't a header, or that of another kind of page.
    IndexError
        The data end before the header does.
    """
    fields, offset = _struct(data, offset, 1)
    kind = fields.get(1)
    details = fields.get(5 if kind == DATA_PAGE else 7)
    if kind not in (DATA_PAGE, DICTIONARY_PAGE) or not isinstance(details, dict):
        raise UnsupportedLayoutError
    level_encoding = details.get(3) if kind == DATA_PAGE else 0
    numbers = [fields.get(2), fields.get(3), details.get(1), details.get(2), level_encoding]
    found = [number for number in numbers if isinstance(number, int) and number >= 0]
    if len(found) != len(numbers):
        raise UnsupportedLayoutError
    return Header(kind, *found), offset


def varint(data: Data, offset: int) -> tuple[int, int]:
    """Return the variable-length number at an offset, and the offset of its end.

    Raises
    ------
    UnsupportedLayoutError
        The number has more than 63 bits.
    IndexError
        The data end before the number does.
    """
    value = data[offset]
    if value < 128:
        return value, offset + 1
    value &= 127
    for shift in range(7, 63, 7):
        offset += 1
        value |= (data[offset] & 127) << shift
        if data[offset] < 128:
            return value, offset + 1
    raise UnsupportedLayoutError


def _struct(data: Data, offset: int, depth: int) -> tuple[dict[int, Any], int]:
    """Return a struct's fields by their numbers, and the offset of its end."""
    fields: dict[int, Any] = {}
    number = 0
    while data[offset]:
        delta, kind = data[offset] >> 4, data[offset] & 15
        offset += 1
        if delta:
            number += delta
        else:
            number, offset = _zigzag(data, offset)
        value: Any = None
        if kind in (1, 2):  # true, false
            pass
        elif kind in (4, 5, 6):  # 16, 32, 64 bits
            value, offset = _zigzag(data, offset)
        elif kind == 8:  # text
            n_bytes, offset = varint(data, offset)
            offset += n_bytes
        elif kind == 12 and depth < _MAX_DEPTH:
            value, offset = _struct(data, offset, depth + 1)
        else:
            raise UnsupportedLayoutError
        fields[number] = value
    return fields, offset + 1


def _zigzag(data: Data, offset: int) -> tuple[int, int]:
    value, offset = varint(data, offset)
    return (value >> 1) ^ -(value & 1), offset
