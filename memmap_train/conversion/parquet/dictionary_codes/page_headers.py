"""Headers of parquet's pages: structs in Thrift's compact protocol.

Only what `pages` has to know of them. Whatever else stands there is stepped over, and what can't be
is refused with `OtherLayoutError`: such pages are for Arrow to read.

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


class OtherLayoutError(Exception):
    """Pages, or a header, that are laid out in another way than is known here."""


class Header(NamedTuple):
    """What stands before a page.

    Attributes
    ----------
    kind : int
        `DATA_PAGE` or `DICTIONARY_PAGE`.
    n_bytes, compressed_bytes : int
        Of the page behind the header, and of what is stored of it.
    n_values : int
    encoding, level_encoding : int
        Of the values; of what says which are null (0 for a dictionary).
    """

    kind: int
    n_bytes: int
    compressed_bytes: int
    n_values: int
    encoding: int
    level_encoding: int


def parse_header(data: Data, place: int) -> tuple[Header, int]:
    """Return the header that begins at a place, and where it ends.

    Raises
    ------
    OtherLayoutError
        It is none, or of another kind of page.
    IndexError
        The data end before it does.
    """
    fields, place = _struct(data, place, 1)
    kind = fields.get(1)
    details = fields.get(5 if kind == DATA_PAGE else 7)
    if kind not in (DATA_PAGE, DICTIONARY_PAGE) or not isinstance(details, dict):
        raise OtherLayoutError
    level_encoding = details.get(3) if kind == DATA_PAGE else 0
    numbers = [fields.get(2), fields.get(3), details.get(1), details.get(2), level_encoding]
    found = [number for number in numbers if isinstance(number, int) and number >= 0]
    if len(found) != len(numbers):
        raise OtherLayoutError
    return Header(kind, *found), place


def varint(data: Data, place: int) -> tuple[int, int]:
    """Return the number that is written there, seven bits a byte, and where it ends.

    Raises
    ------
    OtherLayoutError
        It has more than 63 bits.
    IndexError
        The data end before it does.
    """
    value = data[place]
    if value < 128:
        return value, place + 1
    value &= 127
    for shift in range(7, 63, 7):
        place += 1
        value |= (data[place] & 127) << shift
        if data[place] < 128:
            return value, place + 1
    raise OtherLayoutError


def _struct(data: Data, place: int, depth: int) -> tuple[dict[int, Any], int]:
    """Return a struct's fields by their numbers, and where it ends."""
    fields: dict[int, Any] = {}
    number = 0
    while data[place]:
        delta, kind = data[place] >> 4, data[place] & 15
        place += 1
        if delta:
            number += delta
        else:
            number, place = _zigzag(data, place)
        value: Any = None
        if kind in (1, 2):  # true, false
            pass
        elif kind in (4, 5, 6):  # 16, 32, 64 bits
            value, place = _zigzag(data, place)
        elif kind == 8:  # text
            n_bytes, place = varint(data, place)
            place += n_bytes
        elif kind == 12 and depth < _MAX_DEPTH:
            value, place = _struct(data, place, depth + 1)
        else:
            raise OtherLayoutError
        fields[number] = value
    return fields, place + 1


def _zigzag(data: Data, place: int) -> tuple[int, int]:
    value, place = varint(data, place)
    return (value >> 1) ^ -(value & 1), place
