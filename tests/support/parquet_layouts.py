"""Parquet files written by hand, byte by byte, with legal layouts that no writer makes.

A file is drawn from a random generator: how each page is cut into runs, packed or not, how they are
padded, which bit width, encodings, dictionary and compression it has. The values are drawn after
the layout, so every layout is possible, and what a reader must find is known.

Notes
-----
Sources: parquet.thrift and Encodings.md of https://github.com/apache/parquet-format,
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md, and
https://github.com/google/snappy/blob/main/format_description.txt.
"""

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Random = np.random.Generator
Fields = dict[int, tuple[str, Any]]
"""A Thrift struct: {field number: (kind, value)}; see `struct`."""

NULL = 5
"""What stands for a null among the expected codes."""
CODECS = {0: None, 1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}
PLAIN, PLAIN_DICTIONARY, RLE, RLE_DICTIONARY = 0, 2, 3, 8
STYLES = ("short", "long", "packed", "packed", "repeated", "made up")
_KINDS = {"bool": 2, "i32": 5, "i64": 6, "text": 8, "list": 9, "struct": 12}


# -- Thrift's compact protocol ----------------------------------------------------------------


def varint(value: int) -> bytes:
    """Return a number, seven bits a byte, the lowest ones first."""
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def struct(fields: Fields) -> bytes:
    """Return an encoded struct of numbers, bytes, structs, and lists as (kind, values)."""
    parts, last = [], 0
    for number, (kind, value) in sorted(fields.items()):
        code = _KINDS[kind] - (kind == "bool" and bool(value))
        parts.append(bytes([(number - last) << 4 | code]))
        parts.append(b"" if kind == "bool" else _value(kind, value))
        last = number
    return b"".join([*parts, b"\0"])


def _value(kind: str, value: Any) -> bytes:
    if kind == "struct":
        return struct(value)
    if kind == "text":
        return varint(len(value)) + bytes(value)
    if kind == "list":
        item, values = value
        size = len(values)
        start = bytes([min(size, 15) << 4 | _KINDS[item]]) + (varint(size) if size > 14 else b"")
        return start + b"".join(_value(item, each) for each in values)
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)


# -- runs -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A run of the hybrid encoding; `n` repeated values, or `n` groups of eight packed ones.

    `n_used` of its values count: fewer than all only in a page's last run.
    """

    packed: bool
    n: int
    n_used: int


def random_runs(random: Random, n_values: int, style: str) -> list[Run]:
    """Cut a page's values into runs, of which only the last one may hold more than it needs.

    "made up": the first run is so short that packed groups for all others have space for its rows.
    """
    runs: list[Run] = []
    left = n_values
    if style == "made up" and n_values > 8:
        n = int(random.integers(1, 8))
        n_groups = -(-(n_values - n) // 8)
        return [Run(False, n, n), Run(True, n_groups, n_values - n)]
    while left:
        packed = style == "packed" or (style != "repeated" and random.random() < 0.5)
        if packed:
            most = {"long": 63, "packed": 63}.get(style, 3)
            n = int(random.integers(1, most + 1))
            if style == "packed" and random.random() < 0.7:
                n = min(63, max(1, left // 8))
            n_used = min(left, 8 * n)
        else:
            most = {"long": 400, "repeated": 300}.get(style, 12)
            n = int(random.integers(1, most + 1))
            n_used = min(left, n)
            if random.random() < 0.9:
                n = n_used
        runs.append(Run(packed, n, n_used))
        left -= n_used
    return runs


def drawn_values(random: Random, runs: list[Run], n_choices: int) -> list[int]:
    """Return values that fit a page's runs, each below a limit."""
    values: list[int] = []
    for run in runs:
        if run.packed:
            values += random.integers(n_choices, size=run.n_used).tolist()
        else:
            values += [int(random.integers(n_choices))] * run.n_used
    return values


def encoded_runs(random: Random, runs: list[Run], values: list[int], n_bits: int) -> bytes:
    """Return values in the hybrid encoding; what fills up the last run is arbitrary, often 0."""
    parts, first = [], 0
    most = 1 << n_bits if random.random() < 0.3 else 1
    for run in runs:
        mine = values[first : first + run.n_used]
        first += run.n_used
        if run.packed:
            padding = random.integers(most, size=8 * run.n - run.n_used)
            bits = sum(value << n_bits * i for i, value in enumerate([*mine, *padding.tolist()]))
            parts += [varint(run.n << 1 | 1), bits.to_bytes(n_bits * run.n, "little")]
        else:
            parts += [varint(run.n << 1), mine[0].to_bytes(-(-n_bits // 8), "little")]
    return b"".join(parts)


# -- pages ------------------------------------------------------------------------------------


@dataclass
class Column:
    """What all pages of a column have in common.

    `nulls`, `fallback` and `fresh` are probabilities: of a null, of a page of plain values, and of
    a new layout. `layouts` holds the layouts of earlier pages by their number of values.
    """

    optional: bool = True
    nulls: float = 0.0
    any_levels: bool = False
    codec: int = 0
    literal: bool = False
    dictionary: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    n_bits: int = 3
    encoding: int = RLE_DICTIONARY
    version: int = 1
    style: str = "packed"
    checksums: bool = False
    statistics: bool = False
    fallback: float = 0.0
    layouts: dict[int, list[Run]] = field(default_factory=dict)
    fresh: float = 0.0


def compressed(random: Random, data: bytes, column: Column) -> bytes:
    """Return the bytes as the column's codec stores them; snappy may store literals only."""
    name = CODECS[column.codec]
    if name is None:
        return data
    if name == "snappy" and column.literal:
        n_cuts = int(random.integers(3) == 0) if len(data) > 1 else 0
        cut = int(random.integers(1, len(data))) if n_cuts else len(data)
        pieces = [data[:cut], data[cut:]] if n_cuts else [data]
        return varint(len(data)) + b"".join(_literal(random, piece) for piece in pieces if piece)
    return bytes(pa.Codec(name).compress(data, asbytes=True))


def _literal(random: Random, data: bytes) -> bytes:
    size = len(data) - 1
    least = 0 if size < 60 else -(-size.bit_length() // 8)
    n_bytes = int(random.integers(least, 5)) if random.random() < 0.2 else least
    tag = (59 + n_bytes if n_bytes else size) << 2
    return bytes([tag]) + (size.to_bytes(n_bytes, "little") if n_bytes else b"") + data


def data_page(random: Random, column: Column, n_rows: int) -> tuple[bytes, list[int]]:
    """Return a data page with its header, and the codes of its rows."""
    is_null = random.random(n_rows) < (column.nulls if column.optional else 0)
    n_values = n_rows - int(is_null.sum())
    plain = random.random() < column.fallback
    if n_values not in column.layouts or random.random() < column.fresh:
        column.layouts[n_values] = random_runs(random, n_values, column.style)
    runs = column.layouts[n_values]
    choices = len(column.dictionary)
    indices = drawn_values(random, runs, choices)
    codes = [column.dictionary[index] for index in indices]
    if plain:
        body = np.array(codes, "<i4").tobytes()
    else:
        body = bytes([column.n_bits]) + encoded_runs(random, runs, indices, column.n_bits)
        if random.random() < 0.02:
            body += random.bytes(3)  # behind the last run: no reader looks there
    levels = _levels(random, is_null, any_runs=column.any_levels) if column.optional else b""
    rows: npt.NDArray[np.int64] = np.full(n_rows, NULL)
    rows[~is_null] = codes
    encoding = PLAIN if plain else column.encoding
    if column.version == 2:
        header: Fields = {
            1: ("i32", n_rows),
            2: ("i32", int(is_null.sum())),
            3: ("i32", n_rows),
            4: ("i32", encoding),
            5: ("i32", len(levels)),
            6: ("i32", 0),
        }
        stored = levels + compressed(random, body, column)
        page = _page(3, 8, header, len(levels) + len(body), stored, column)
        return page, rows.tolist()
    content = (len(levels).to_bytes(4, "little") + levels if column.optional else b"") + body
    header = {1: ("i32", n_rows), 2: ("i32", encoding), 3: ("i32", RLE), 4: ("i32", RLE)}
    if column.statistics:
        header[5] = ("struct", {3: ("i64", int(is_null.sum())), 5: ("text", b"\4\0\0\0")})
    stored = compressed(random, content, column)
    return _page(0, 5, header, len(content), stored, column), rows.tolist()


def dictionary_page(random: Random, column: Column) -> bytes:
    """Return the dictionary's page with its header."""
    content = np.array(column.dictionary, "<i4").tobytes()
    encoding = PLAIN if column.encoding == RLE_DICTIONARY else PLAIN_DICTIONARY
    header: Fields = {1: ("i32", len(column.dictionary)), 2: ("i32", encoding)}
    if random.random() < 0.5:
        header[3] = ("bool", False)
    return _page(2, 7, header, len(content), compressed(random, content, column), column)


def _levels(random: Random, is_null: npt.NDArray[np.bool_], *, any_runs: bool) -> bytes:
    """Return definition levels in as few runs as possible, or in any."""
    n_rows = len(is_null)
    present = (~is_null).astype(int).tolist()
    if not any_runs:
        runs, first = [], 0
        for end in [*(np.flatnonzero(np.diff(is_null)) + 1).tolist(), n_rows]:
            if end > first:
                runs.append(Run(False, end - first, end - first))
            first = end
    else:
        runs = random_runs(random, n_rows, "packed")  # repeated ones need equal levels
    return encoded_runs(random, runs, present, 1)


def _page(
    kind: int, number: int, details: Fields, n_bytes: int, stored: bytes, column: Column
) -> bytes:
    header: Fields = {
        1: ("i32", kind),
        2: ("i32", n_bytes),
        3: ("i32", len(stored)),
        number: ("struct", details),
    }
    if column.checksums:
        checksum = zlib.crc32(stored)
        header[4] = ("i32", checksum - (checksum >> 31 << 32))
    return struct(header) + stored


# -- files ------------------------------------------------------------------------------------


def random_column(random: Random) -> Column:
    """Draw what a column's pages have in common; most columns resemble Numerai's."""

    def rarely(usual: Any, others: list[Any], chance: float = 0.15) -> Any:
        return others[int(random.integers(len(others)))] if random.random() < chance else usual

    n_values = rarely(5, [1, 2, 3, 4, 6, 7, 8, 11])
    dictionary = random.permutation(np.resize(np.arange(5), n_values)).tolist()
    needed = max(1, (n_values - 1).bit_length())
    return Column(
        optional=bool(random.random() < 0.7),
        nulls=rarely(0.0, [0.01, 0.5, 1.0], 0.1),
        any_levels=rarely(False, [True]),
        codec=rarely(int(random.integers(2)), list(CODECS), 0.1),
        literal=bool(random.random() < 0.5),
        dictionary=dictionary,
        n_bits=rarely(max(3, needed), [needed, needed + 1, 8, 9]),
        encoding=rarely(RLE_DICTIONARY, [PLAIN_DICTIONARY]),
        version=rarely(1, [2], 0.05),
        style=STYLES[int(random.integers(len(STYLES)))],
        checksums=bool(random.random() < 0.2),
        statistics=bool(random.random() < 0.2),
        fallback=rarely(0.0, [0.3], 0.05),
        fresh=rarely(0.0, [0.3, 1.0], 0.4),
    )


def random_pages(random: Random, n_rows: int) -> list[int]:
    """Cut a row group into pages of which most have the same number of rows."""
    usual = int(random.choice([8, 16, 24, 40, 64, 100, 512, 1000]))
    pages: list[int] = []
    while n_rows:
        n = usual if random.random() < 0.9 else int(random.integers(1, 200))
        pages.append(min(n, n_rows))
        n_rows -= pages[-1]
    if random.random() < 0.03:
        pages.insert(int(random.integers(len(pages) + 1)), 0)
    return pages


def write_random(path: Path, random: Random) -> tuple[list[str], list[npt.NDArray[np.int8]]]:
    """Write a file of columns of a few kinds: many share a layout and differ in their values.

    Returns
    -------
    list of str
        The columns' names.
    list of ndarray of int8, shape (columns, rows)
        Codes of each row group, `NULL` where a row has none.
    """
    kinds = [random_column(random) for _ in range(int(random.integers(1, 4)))]
    columns = [kinds[int(random.integers(len(kinds)))] for _ in range(int(random.integers(2, 9)))]
    sizes = random.choice([1, 7, 8, 96, 100, 768, 1500, 4000], int(random.integers(1, 4)))
    groups = []
    for n_rows in sizes:
        usual = random_pages(random, int(n_rows))
        groups.append(
            [usual if random.random() < 0.8 else random_pages(random, int(n_rows)) for _ in columns]
        )
    return write_columns(path, random, columns, groups)


def write_columns(
    path: Path, random: Random, columns: list[Column], groups: list[list[list[int]]]
) -> tuple[list[str], list[npt.NDArray[np.int8]]]:
    """Write a file, and return its columns' names and codes as `write_random` does.

    Parameters
    ----------
    path : Path
    random : Generator
    columns : list of Column
    groups : list of list of list of int
        The rows of each page of each column of each row group.
    """
    names = [f"feature_{number}" for number in range(len(columns))]
    data = bytearray(b"PAR1")
    written, expected = [], []
    for pages in groups:
        n_rows = sum(pages[0])
        codes = np.empty((len(columns), n_rows), np.int8)
        chunks: list[Fields] = [{} for _ in columns]
        order = random.permutation(len(columns)) if random.random() < 0.3 else range(len(columns))
        for position in order:
            column = columns[position]
            begin = len(data)
            data += dictionary_page(random, column)
            data_begin, rows = len(data), []
            for n in pages[position]:
                page, values = data_page(random, column, n)
                data += page
                rows += values
            codes[position] = rows
            chunks[position] = _chunk(random, column, names[position], begin, data_begin, data)
            if random.random() < 0.1:
                data += random.bytes(int(random.integers(1, 30)))  # between chunks: allowed
        written.append((chunks, n_rows))
        expected.append(codes)
    data += _footer(columns, names, written)
    path.write_bytes(data)
    return names, expected


def _chunk(
    random: Random, column: Column, name: str, begin: int, data_begin: int, data: bytearray
) -> Fields:
    n_bytes = len(data) - begin
    details: Fields = {
        1: ("i32", 1),
        2: ("list", ("i32", [PLAIN, RLE, RLE_DICTIONARY])),
        3: ("list", ("text", [name.encode()])),
        4: ("i32", column.codec),
        6: ("i64", n_bytes),
        7: ("i64", n_bytes),
        9: ("i64", data_begin),
        11: ("i64", begin),
    }
    if random.random() < 0.1:
        details[12] = ("struct", {3: ("i64", 0), 5: ("text", b"\4\0\0\0")})
    return {2: ("i64", begin), 3: ("struct", details)}


def _footer(
    columns: list[Column], names: list[str], groups: list[tuple[list[Fields], int]]
) -> bytes:
    schema: list[Fields] = [{4: ("text", b"schema"), 5: ("i32", len(columns))}]
    schema += [
        {
            1: ("i32", 1),  # INT32
            3: ("i32", int(column.optional)),
            4: ("text", name.encode()),
            6: ("i32", 15),  # INT_8
        }
        for column, name in zip(columns, names, strict=True)
    ]
    row_groups: list[Fields] = []
    for chunks, n_rows in groups:
        for chunk in chunks:
            chunk[3][1][5] = ("i64", n_rows)
        size = sum(chunk[3][1][6][1] for chunk in chunks)
        row_groups.append({1: ("list", ("struct", chunks)), 2: ("i64", size), 3: ("i64", n_rows)})
    footer = struct(
        {
            1: ("i32", 2),
            2: ("list", ("struct", schema)),
            3: ("i64", sum(n_rows for _, n_rows in groups)),
            4: ("list", ("struct", row_groups)),
            6: ("text", b"written by hand"),
        }
    )
    return footer + len(footer).to_bytes(4, "little") + b"PAR1"
