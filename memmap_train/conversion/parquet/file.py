"""Parquet sources: what is in them, and the columns of one row group as numpy arrays.

Wide row groups are read by blocks of columns, never by batches of rows: going back into thousands
of column readers for each batch decodes four times slower and holds all the compressed pages.
"""

import os
import stat
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...dataset.format import MAX_ID_BYTES
from ...dataset.manifest import SourceEntry
from ...errors import SourceError
from ...system.checksum import Checksum
from ...system.paths import checked_path
from ..codec import MAX_CODE, MISSING_CODE
from ..schema import NO_IDS, OTHER_ERAS, OTHER_IDS, Kind
from .dictionary_codes.footer import Footer
from .dictionary_codes.pages import PageReader
from .labels import LabelError, as_text, nan_as_null, uuids_as_text

_MAGIC, _ENCRYPTED_MAGIC = b"PAR1", b"PARE"
DECODING_BYTES = 10
"""Per value, measured for int8: int32 values and their levels, in buffers that double."""
_MIN_AT_ONCE, _VALUES_AT_ONCE, _MAX_AT_ONCE = 8, 2**20, 2**23
_TEXTS_AT_ONCE = 2**14
_PIECE_BYTES = 2**20
_METADATA_BYTES = (
    12  # of memory for a byte of the footer, measured: parsed by Arrow, and by `footer`
)
# What Spark and Dask write beside the files of a folder: parquet, but without rows of its own.
_SUMMARIES = frozenset(("_metadata", "_common_metadata"))
_SAMPLES, _SAMPLE_BYTES = 64, 2**18  # of a file: 16 MiB, read in milliseconds
_TAIL_BYTES = 8  # the footer's length (4 bytes, little endian) and the magic
_MIN_BYTES = len(_MAGIC) + _TAIL_BYTES
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # of the years 1 to 9999


@dataclass(frozen=True, slots=True)
class RowGroupRows:
    """The eras of a row group's rows.

    Attributes
    ----------
    labels : list of str
    codes : ndarray of int32, shape (rows,)
        Position in `labels` of each row's era.
    """

    labels: list[str]
    codes: npt.NDArray[np.int32]


class _Known:
    """Where the columns of a file are: shared by its handles, and gone with the last of them."""

    def __init__(self, path: Path, metadata: Any) -> None:
        self.metadata = metadata
        self.footer = Footer(path, metadata.num_row_groups)


@dataclass(slots=True)
class _Shared:
    """What is known of a file as long as a handle is open; and who may find out."""

    known: "weakref.ref[_Known]"
    lock: threading.Lock


class Source:
    """An open parquet file.

    Attributes
    ----------
    path : Path
    entry : SourceEntry
        Name, size, time and footer digest: by these a later conversion knows the file again.
    kinds : list of (column name, kind)
    row_groups : list of int
        Rows of each row group.
    metadata : dict of str to str
        The file's own key-value pairs (Arrow's and pandas' left out).

    Raises
    ------
    SourceError
        There is no such file, it isn't parquet, or it is cut short.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.entry = describe_file(self.path)
        self._mark = _mark(self.path)
        try:
            self._file: Any = pq.ParquetFile(self.path)
            metadata, arrow_schema = self._file.metadata, self._file.schema_arrow
        except UnicodeEncodeError:
            raise SourceError(
                f"{self.path}: its path isn't UTF-8, and pyarrow opens no others; rename it"
            ) from None
        except UnicodeDecodeError as error:
            raise SourceError(
                f"{self.path}: the name of a column isn't UTF-8 ({error.object!r:.60}), and "
                "pyarrow opens no such file; write it again without this column"
            ) from None
        except (pa.ArrowException, OSError, ValueError) as error:
            raise SourceError(
                f"{self.path}: not a readable parquet file: {_one_line(error)}; download it again"
            ) from None
        self.kinds: list[tuple[str, Kind]] = [(f.name, _kind(f)) for f in arrow_schema]
        self._types = {field.name: field.type for field in arrow_schema}
        self._nullable = {f.name: f.nullable for f in arrow_schema if pa.types.is_integer(f.type)}
        self.row_groups = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        self._known: _Known | None = _Known(self.path, metadata)
        self._shared = _Shared(weakref.ref(self._known), threading.Lock())
        self._pages = PageReader(self.path, self._known.footer, self._nullable)
        pairs = metadata.metadata or {}
        self.metadata = {
            key.decode("utf-8", "replace"): value.decode("utf-8", "replace")
            for key, value in pairs.items()
            if key not in (b"pandas", b"ARROW:schema")
        }

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.name

    def item_bytes(self, columns: Sequence[str]) -> int:
        """Return the bytes of a decoded value of the widest of some numeric columns."""
        types = [_value_type(self._types[name]) for name in columns]
        return max((-(-t.bit_width // 8) for t in types if not pa.types.is_null(t)), default=1)

    def reopened(self) -> "Source":
        """Return another handle on the file, for another thread.

        Its footer isn't parsed again while any handle is open.

        Raises
        ------
        SourceError
            The file isn't the one that was opened first.
        """
        self.check_unchanged()
        twin = object.__new__(Source)
        for name, value in vars(self).items():
            setattr(twin, name, value)
        try:
            with self._shared.lock:
                known = self._shared.known()
                metadata = None if known is None else known.metadata
                twin._file = pq.ParquetFile(self.path, metadata=metadata)
                if known is None:
                    known = _Known(self.path, twin._file.metadata)
                    self._shared.known = weakref.ref(known)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{self.path}: can't be opened again: {_one_line(error)}") from None
        twin._known = known
        twin._pages = PageReader(self.path, known.footer, self._nullable)
        return twin

    def share_columns(self, other: "Source") -> None:
        """Hold the other's columns where they are the same: there may be a thousand such files."""
        if (self.kinds, self._types, self._nullable) == (
            other.kinds,
            other._types,
            other._nullable,
        ):
            self.kinds, self._types, self._nullable = other.kinds, other._types, other._nullable

    def check_unchanged(self) -> None:
        """Raise a SourceError if the file isn't the one that was opened."""
        if describe_file(self.path) != self.entry:
            raise SourceError(
                f"{self.path}: the file changed while it was read; run the same command again"
            )

    def check_untouched(self) -> None:
        """Raise a SourceError if somebody has written to the file, or put another in its place.

        Cheap enough to be asked each time that what was read is relied on.
        """
        if _mark(self.path) != self._mark:
            raise SourceError(
                f"{self.path}: the file changed while it was read; run the same command again"
            )

    def close(self) -> None:
        """Close the file. What was learnt of it stays, and `reopened` does."""
        if self._file is not None:
            self._file.close()
        self._file = self._known = None
        self.__dict__.pop("_pages", None)

    # -- row groups ---------------------------------------------------------------------------

    def eras(self, group: int, column: str) -> RowGroupRows:
        """Return the era of each row of a row group, as text.

        Raises
        ------
        SourceError
            An era is null, an empty text, or no label: see `labels`.
        """
        values = self._without_nulls(group, column, "era", "a label", _TEXTS_AT_ONCE)
        labels, codes = self._encode(values, group, column, "era")
        if "" in labels:
            raise SourceError(f"{self.path}: era column {column!r}: an era's label is empty")
        return RowGroupRows(labels, codes)

    def counts(
        self, group: int, rows: RowGroupRows, column: str | None
    ) -> dict[str, dict[str, int]]:
        """Return {era: {data_type: rows}} of a row group; the data type is "" where it is null."""
        if column is None:
            per_era = np.bincount(rows.codes, minlength=len(rows.labels))
            return {label: {"": int(n)} for label, n in zip(rows.labels, per_era, strict=True) if n}
        values = map(_filled, self._pieces(group, column, _TEXTS_AT_ONCE))
        types, type_codes = self._encode(values, group, column, "data type")
        pairs = rows.codes.astype(np.int64) * len(types) + type_codes
        found: dict[str, dict[str, int]] = {}
        for pair, n in zip(*np.unique(pairs, return_counts=True), strict=True):
            code, type_code = divmod(int(pair), len(types))
            found.setdefault(rows.labels[code], {})[types[type_code]] = int(n)
        return found

    def id_width(self, group: int, column: str) -> int:
        """Return the bytes (UTF-8) of the longest id of a row group.

        Raises
        ------
        SourceError
            An id is null, no label (see `labels`), or longer than a manifest allows.
        """
        texts = self._id_texts(group, column, _TEXTS_AT_ONCE)
        return max((_longest(array) for array in texts), default=0)

    def ids(self, group: int, column: str, at_once: int) -> Iterator[npt.NDArray[np.bytes_]]:
        """Yield a row group's ids as fixed-width bytes (UTF-8), so many at once.

        Each array is as wide as its longest.

        Raises
        ------
        SourceError
            As for `id_width`.
        """
        return map(_fixed_width, self._id_texts(group, column, at_once))

    def features(
        self,
        group: int,
        names: Sequence[str],
        out: npt.NDArray[np.int8] | None = None,
    ) -> npt.NDArray[np.int8]:
        """Decode integer features of a row group to codes.

        Parameters
        ----------
        group : int
        names : sequence of str
        out : ndarray of int8, shape (features, rows), optional
            To fill.

        Returns
        -------
        ndarray of int8, shape (features, rows)
            `MISSING_CODE` where null.

        Raises
        ------
        SourceError
            A value outside 0 to 4.
        """
        if out is None:
            out = np.empty((len(names), self.row_groups[group]), np.int8)
        left = self._pages.read(group, names, out)
        columns = self._columns(group, [names[position] for position in left])
        for position, column in zip(left, columns, strict=True):
            if pa.types.is_null(column.type):
                out[position] = MISSING_CODE
                continue
            present = column.drop_null() if column.null_count else column
            self._check_range(group, names[position], present)
            out[position] = _values(column, null=MISSING_CODE)
            del column, present  # before the next one is decoded
        return out

    def floats(self, group: int, names: Sequence[str]) -> Iterator[npt.NDArray[np.float32]]:
        """Yield numeric columns of a row group as float32, NaN where null.

        Integer features come as code / 4, after the same check as in `features`.
        """
        for name, array in zip(names, self._columns(group, names), strict=True):
            if pa.types.is_integer(array.type):
                self._check_range(group, name, array.drop_null())
                yield np.multiply(_floats(array), np.float32(0.25))
            else:
                yield _floats(array)

    def targets(self, group: int, names: Sequence[str]) -> Iterator[npt.NDArray[np.float32]]:
        """Return targets of a row group as float32, one after another, NaN where null."""
        return map(_floats, self._columns(group, names))

    def _first_row(self, group: int) -> int:
        return sum(self.row_groups[:group])

    def _id_texts(self, group: int, column: str, at_once: int) -> Iterator[Any]:
        """Yield ids as large_string arrays, checked."""
        begin = 0
        for array in self._without_nulls(group, column, "id", "an id", at_once):
            try:
                texts = as_text(array)
            except LabelError as error:
                row = self._first_row(group) + begin + error.place
                raise self._no_label(error, row, column, "id") from None
            begin += len(array)
            longest = _longest(texts)
            if longest > MAX_ID_BYTES:  # refused before every row is made as wide
                raise SourceError(
                    f"{self.path}: id column {column!r}: an id of {longest:,} bytes; expected at "
                    f"most {MAX_ID_BYTES:,}"
                )
            if pc.any(pc.ends_with(texts, "\0")).as_py():  # numpy takes it for padding
                raise SourceError(
                    f"{self.path}: id column {column!r}: an id ends with a zero byte, which "
                    f"ids.npy can't keep; expected text; {OTHER_IDS}"
                )
            yield texts

    def _without_nulls(
        self, group: int, column: str, what: str, expected: str, at_once: int
    ) -> Iterator[Any]:
        """Yield a column a piece at a time; refuse rows in which it is null."""
        n_nulls, first, begin = 0, 0, 0
        for array in map(nan_as_null, self._pieces(group, column, at_once)):
            if array.null_count:
                first = first if n_nulls else begin + int(np.argmax(_is_null(array)))
                n_nulls += array.null_count
            elif not n_nulls:
                yield array
            begin += len(array)
        if n_nulls:
            raise SourceError(
                f"{self.path}: {what} column {column!r}: {n_nulls:,} rows without an {what}, the "
                f"first at row {self._first_row(group) + first:,}; expected {expected} in every "
                f"row; drop these rows, or put one there{f', or {NO_IDS}' if what == 'id' else ''}"
            )

    def _encode(
        self, arrays: Iterator[Any], group: int, column: str, what: str
    ) -> tuple[list[str], npt.NDArray[np.int32]]:
        """Return (distinct values as text, position of each row's value)."""
        positions: dict[str, int] = {}
        codes = [np.empty(0, np.int32)]
        begin = 0
        for array in arrays:
            encoded = pc.dictionary_encode(array)
            indices = _values(encoded.indices)
            try:
                labels = as_text(encoded.dictionary).to_pylist()
            except LabelError as error:
                row = begin + int(np.argmax(indices == error.place))
                raise self._no_label(error, self._first_row(group) + row, column, what) from None
            known = [positions.setdefault(label, len(positions)) for label in labels]
            codes.append(np.array(known, np.int32)[indices])
            begin += len(array)
        return list(positions), np.concatenate(codes)

    def _no_label(self, error: LabelError, row: int, column: str, what: str) -> SourceError:
        """Return the error that says which row of a column has no label, and what to do."""
        advice = {"era": OTHER_ERAS, "id": OTHER_IDS}.get(what, "write the file without it")
        return SourceError(
            f"{self.path}: {what} column {column!r}: found {error.found} (row {row:,}); expected "
            f"{error.expected}; {advice}"
        )

    def _check_range(self, group: int, name: str, array: Any) -> None:
        values = _values(array)
        if values.dtype == np.int8:
            values = values.view(np.uint8)  # negative ones become large: one pass finds both
        if len(values) and (
            values.max() > MAX_CODE or (values.dtype != np.uint8 and values.min() < 0)
        ):
            wrong = values.view(np.int8) if array.type == pa.int8() else values
            found = int(wrong[np.flatnonzero((wrong < 0) | (wrong > 4))[0]])
            raise SourceError(
                f"{self.path}: feature {name!r}: expected integer codes 0 to 4, found {found} "
                f"(row group {group}); values that aren't codes must be floats in the file"
            )

    def _columns(self, group: int, names: Sequence[str]) -> Iterator[Any]:
        """Yield columns of a row group, decoded a few at a time."""
        at_once = columns_at_once(self.row_groups[group], self.item_bytes(names))
        for first in range(0, len(names), at_once):
            yield from self._read(group, names[first : first + at_once])

    def _read(self, group: int, names: Sequence[str]) -> list[Any]:
        """Return columns of a row group as plain arrays: one chunk, no dictionaries."""
        try:
            table = self._file.read_row_group(group, columns=list(names), use_threads=False)
            columns = [_plain(table.column(name)) for name in names]
        except (pa.ArrowException, OSError) as error:
            raise SourceError(
                f"{self.path}: row group {group} can't be read: {_one_line(error)}"
            ) from None
        self._check_rows(group, len(table))
        return columns

    def _pieces(self, group: int, name: str, at_once: int) -> Iterator[Any]:
        """Yield a column of a row group as plain arrays of so many rows.

        One column alone is cheap to read in pieces, and texts take several times as much memory as
        what is made of them.
        """
        n_rows = 0
        try:
            for batch in self._file.iter_batches(
                at_once, row_groups=[group], columns=[name], use_threads=False
            ):
                n_rows += len(batch)
                # A struct with fields of such names may have come along.
                yield _plain(pa.chunked_array([batch.column(name)]))
        except (pa.ArrowException, OSError) as error:
            raise SourceError(
                f"{self.path}: row group {group} can't be read: {_one_line(error)}"
            ) from None
        self._check_rows(group, n_rows)

    def _check_rows(self, group: int, n_rows: int) -> None:
        if n_rows != self.row_groups[group]:
            raise SourceError(
                f"{self.path}: row group {group}: expected {self.row_groups[group]:,} rows, "
                f"found {n_rows:,}"
            )


def columns_at_once(n_rows: int, item_bytes: int) -> int:
    """Return how many columns of so many rows, and bytes a value, are decoded by one call.

    Arrow holds `DECODING_BYTES` per value for all columns of a call, and more of wide ones, so few
    columns keep a row group of a million rows small; a call costs some 100 µs, so many keep one of
    a thousand fast.
    """
    n_rows = max(n_rows, 1)
    most = _MAX_AT_ONCE // (n_rows * item_bytes)
    return max(min(_MIN_AT_ONCE, most), _VALUES_AT_ONCE // (n_rows * item_bytes), 1)


def describe_file(path: Path) -> SourceEntry:
    """Return a parquet file's name, size, time and footer digest, without parsing it.

    Raises
    ------
    SourceError
        There is no such file, it isn't parquet, or it is cut short.
    """
    return _describe(path)[0]


def sample_digest(path: Path) -> str:
    """Return a digest of a file's bytes: of all of them, or of a large file's in many places.

    A copy of a file has the same one, whatever its time of modification.

    Raises
    ------
    SourceError
        The file can't be read.
    """
    hashed = Checksum()
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            offsets = list(range(0, size, _SAMPLE_BYTES))
            if len(offsets) > _SAMPLES:
                offsets = np.linspace(0, size - _SAMPLE_BYTES, _SAMPLES, dtype=np.int64).tolist()
            for offset in offsets:
                file.seek(offset)
                hashed.update(file.read(_SAMPLE_BYTES))
    except OSError as error:
        raise SourceError(f"{path}: can't be read: {error.strerror}") from error
    return hashed.text


def metadata_bytes(path: Path) -> int:
    """Return what a parquet file takes of memory once it is open: for each column of a row group.

    Raises
    ------
    SourceError
        As for `describe_file`.
    """
    return _METADATA_BYTES * _describe(path)[1]


def _describe(path: Path) -> tuple[SourceEntry, int]:
    """Return what is known of a file without parsing it, and the bytes of its footer."""
    checked_path(path, SourceError)
    if path.name in _SUMMARIES and path.is_file():
        raise SourceError(
            f"{path}: a summary of the parquet files beside it, without rows of its own; name "
            f"those files, such as {path.parent}/*.parquet"
        )
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):  # opening one may wait for ever
            raise SourceError(f"{path}: a pipe; expected a parquet file")
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            head = file.read(len(_MAGIC))
            if head == _ENCRYPTED_MAGIC:
                raise SourceError(f"{path}: the parquet file is encrypted; expected a plain one")
            if head != _MAGIC:
                raise SourceError(
                    f"{path}: not a parquet file: expected it to begin with PAR1, found {head!r}"
                )
            if status.st_size < _MIN_BYTES:
                raise SourceError(
                    f"{path}: not a parquet file: expected {_MIN_BYTES} bytes or more, found "
                    f"{status.st_size:,}; download it again"
                )
            file.seek(-_TAIL_BYTES, os.SEEK_END)
            tail = file.read(_TAIL_BYTES)
            footer_bytes = int.from_bytes(tail[:4], "little")
            if tail[4:] != _MAGIC or footer_bytes + _MIN_BYTES > status.st_size:
                raise SourceError(
                    f"{path}: the parquet file is cut short or damaged: its footer is missing "
                    f"({status.st_size:,} bytes); download it again"
                )
            file.seek(-_TAIL_BYTES - footer_bytes, os.SEEK_END)
            hashed, left = Checksum(), footer_bytes
            while piece := file.read(min(left, _PIECE_BYTES)):
                hashed.update(piece)
                left -= len(piece)
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise SourceError(f"{path}: a folder; expected a parquet file") from None
    except OSError as error:
        raise SourceError(f"{path}: can't be read: {error.strerror}") from error
    seconds = min(max(status.st_mtime, _FIRST_SECOND), _LAST_SECOND)
    modified = datetime.fromtimestamp(seconds, UTC).isoformat()
    return SourceEntry(path.name, status.st_size, modified, hashed.text), footer_bytes


def _mark(path: Path) -> tuple[int, int, int] | None:
    """Return size and times of the file at a path; None if there is none.

    Not its inode number: some network file systems give the same file another one each time.
    """
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


_KINDS: Sequence[tuple[Kind, Callable[[Any], bool]]] = (
    ("integer", pa.types.is_integer),
    ("float", pa.types.is_floating),
    ("bool", pa.types.is_boolean),
    ("decimal", pa.types.is_decimal),
    ("text", pa.types.is_string),
    ("text", pa.types.is_large_string),
    ("text", pa.types.is_string_view),
    ("bytes", pa.types.is_binary),
    ("bytes", pa.types.is_large_binary),
    ("bytes", pa.types.is_binary_view),
    ("bytes", pa.types.is_fixed_size_binary),
    ("date", pa.types.is_date),
    ("timestamp", pa.types.is_timestamp),
    ("null", pa.types.is_null),
)
_EXTENSION, _UUID = b"ARROW:extension:name", "arrow.uuid"


def _kind(field: Any) -> Kind:
    """Return what the values of a column are."""
    value_type = _value_type(field.type)
    if isinstance(value_type, pa.BaseExtensionType):
        name = value_type.extension_name
    else:  # of an extension that isn't registered, only what it is stored as is known
        name = (field.metadata or {}).get(_EXTENSION, b"").decode("utf-8", "replace")
    if name:
        return "uuid" if name == _UUID else name
    return next((kind for kind, fits in _KINDS if fits(value_type)), str(value_type))


def _value_type(data_type: Any) -> Any:
    return data_type.value_type if pa.types.is_dictionary(data_type) else data_type


def _plain(column: Any) -> Any:
    """Return a chunked column as one array of its value type."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    # Few kernels know views.
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    elif pa.types.is_binary_view(column.type):
        column = column.cast(pa.large_binary())
    elif pa.types.is_fixed_size_binary(column.type):
        column = column.cast(pa.binary())
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return uuids_as_text(array) if isinstance(array, pa.ExtensionArray) else array


def _floats(array: Any) -> npt.NDArray[np.float32]:
    """Return an array of numbers as float32, NaN where null; what is too large is infinite."""
    if pa.types.is_null(array.type):
        return np.full(len(array), np.nan, np.float32)
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    elif not pa.types.is_floating(array.type):
        array = array.cast(pa.float32(), safe=False)
    with np.errstate(over="ignore", invalid="ignore"):
        return _values(array, null=np.nan).astype(np.float32, copy=False)


def _values(array: Any, null: float = 0) -> npt.NDArray[Any]:
    """Return an array of numbers as numpy's, with another number where it is null.

    Not by pyarrow's own `to_numpy`: where pandas is installed that imports it first, which takes
    longer than converting ten thousand rows of 1,000 features.
    """
    if not array.null_count:
        return np.from_dlpack(array)
    values = np.frombuffer(array.buffers()[1], np.from_dlpack(array[:0]).dtype)
    values = values[array.offset : array.offset + len(array)].copy()
    values[_is_null(array)] = null
    return values


def _is_null(array: Any) -> npt.NDArray[np.bool_]:
    return np.from_dlpack(array.is_null().cast(pa.int8())).view(np.bool_)


def _filled(texts: Any) -> Any:
    """Return texts, or bytes, an empty one where null."""
    return texts.fill_null(pa.scalar("", texts.type)) if texts.null_count else texts


def _longest(texts: Any) -> int:
    """Return the bytes of the longest of some texts."""
    return pc.max(pc.binary_length(texts)).as_py() or 0


def _fixed_width(array: Any) -> npt.NDArray[np.bytes_]:
    """Return a large_string array without nulls as fixed-width bytes."""
    n = len(array)
    buffers = array.buffers()
    offsets = np.frombuffer(buffers[1], np.int64, n + 1, array.offset * 8)
    lengths = np.diff(offsets)
    width = max(1, int(lengths.max(initial=0)))
    data = np.frombuffer(buffers[2] or b"", np.uint8)
    if n and (lengths == width).all():  # Numerai's own: all 16 bytes
        return data[offsets[0] : offsets[-1]].view(f"S{width}").copy()
    out = np.zeros((n, width), np.uint8)
    inside = np.arange(width) < lengths[:, np.newaxis]
    out[inside] = data[offsets[0] : offsets[-1]]
    return out.view(f"S{width}").reshape(n)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
