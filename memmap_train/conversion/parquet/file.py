"""Information on a parquet file without its rows: columns, row groups, footer checksum.

Takes a path; returns a `ParquetFileInfo`: immutable, without an open file, and cheap to keep
for a thousand files. Rows are read through a handle, see `handle`.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...dataset.manifest import SourceEntry
from ...errors import SourceError
from ...system.checksum import Checksum
from ...system.paths import checked_path
from ..schema import Kind
from .columns import decoded_bytes, kind_of

_MAGIC, _ENCRYPTED_MAGIC = b"PAR1", b"PARE"
_PIECE_BYTES = 2**20
METADATA_BYTES = 12
"""Bytes of memory for a byte of the footer, measured: parsed by Arrow, and offsets of columns."""
# What Spark and Dask write beside the files of a folder: parquet, but without rows of its own.
_SUMMARIES = frozenset(("_metadata", "_common_metadata"))
_SAMPLES, _SAMPLE_BYTES = 64, 2**18  # of a file: 16 MiB, read in milliseconds
_TAIL_BYTES = 8  # the footer's length (4 bytes, little endian) and the magic
_MIN_BYTES = len(_MAGIC) + _TAIL_BYTES
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # of the years 1 to 9999

Stamp = tuple[int, int, int]
"""Size in bytes, time of modification and time of change in nanoseconds."""


@dataclass(frozen=True, slots=True)
class ParquetFileInfo:
    """The properties of a parquet file, as it was when it was first opened.

    Attributes
    ----------
    path : Path
    entry : SourceEntry
        Name, size, time and footer digest, by which a later conversion recognizes the file.
    kinds : tuple of (column name, kind)
    types : dict of str to pyarrow.DataType
        The Arrow type of each column.
    nullable : dict of str to bool
        Whether the rows of each integer column may be null.
    row_groups : tuple of int
        Number of rows of each row group.
    metadata : dict of str to str
        The file's own key-value pairs, without those of Arrow and pandas.
    stamp : (int, int, int) or None
        Size and times, which are compared by `check_untouched`.
    """

    path: Path
    entry: SourceEntry
    kinds: tuple[tuple[str, Kind], ...]
    types: Mapping[str, Any]
    nullable: Mapping[str, bool]
    row_groups: tuple[int, ...]
    metadata: Mapping[str, str]
    stamp: Stamp | None

    def item_bytes(self, columns: Sequence[str]) -> int:
        """Return the bytes of a decoded value of the widest of some numeric columns."""
        return max((decoded_bytes(self.types[name]) for name in columns), default=1)

    def first_row(self, group: int) -> int:
        """Return the number of the first row of a row group, counted over the file."""
        return sum(self.row_groups[:group])

    def sharing_columns(self, other: "ParquetFileInfo") -> "ParquetFileInfo":
        """Return this information with the other's column records, if they are equal.

        There may be a thousand files with the same thousands of columns.
        """
        mine = self.kinds, self.types, self.nullable
        if mine != (other.kinds, other.types, other.nullable):
            return self
        return replace(self, kinds=other.kinds, types=other.types, nullable=other.nullable)

    def check_unchanged(self) -> None:
        """Raise a SourceError if the file isn't the one that was opened."""
        if describe_file(self.path) != self.entry:
            raise self._changed()

    def check_untouched(self) -> None:
        """Raise a SourceError if the file was written to or replaced.

        This is cheap enough to be called whenever what was read is relied on.
        """
        if _stamp(self.path) != self.stamp:
            raise self._changed()

    def _changed(self) -> SourceError:
        return SourceError(
            f"{self.path}: the file changed while it was read; run the same command again"
        )


def read_file_info(path: str | os.PathLike[str]) -> ParquetFileInfo:
    """Read the footer of a parquet file.

    Raises
    ------
    SourceError
        There is no such file, it isn't parquet, or it is cut short.
    """
    path = Path(path)
    entry, stamp = describe_file(path), _stamp(path)
    try:
        with closing(pq.ParquetFile(path)) as file:
            metadata, arrow_schema = file.metadata, file.schema_arrow
    except UnicodeEncodeError:
        raise SourceError(
            f"{path}: its path isn't UTF-8, and pyarrow opens no others; rename it"
        ) from None
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path}: the name of a column isn't UTF-8 ({error.object!r:.60}), and "
            "pyarrow opens no such file; write it again without this column"
        ) from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SourceError(
            f"{path}: not a readable parquet file: {one_line(error)}; download it again"
        ) from None
    return ParquetFileInfo(
        path=path,
        entry=entry,
        kinds=tuple((field.name, kind_of(field)) for field in arrow_schema),
        types={field.name: field.type for field in arrow_schema},
        nullable={f.name: f.nullable for f in arrow_schema if pa.types.is_integer(f.type)},
        row_groups=tuple(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)),
        metadata={
            key.decode("utf-8", "replace"): value.decode("utf-8", "replace")
            for key, value in (metadata.metadata or {}).items()
            if key not in (b"pandas", b"ARROW:schema")
        },
        stamp=stamp,
    )


def read_distinct_files(paths: Sequence[str | os.PathLike[str]]) -> list[ParquetFileInfo]:
    """Read the footers of files that are read together.

    Raises
    ------
    SourceError
        The same errors as of `read_file_info`, or the same file is named twice.
    """
    files: list[ParquetFileInfo] = []
    found: set[tuple[object, ...]] = set()
    for path in paths:
        info = read_file_info(path)
        status = os.stat(path)
        files.append(info.sharing_columns(files[0]) if files else info)
        # Some network file systems give all files one inode number, or one file several.
        same = {
            (os.path.realpath(path),),
            (status.st_dev, status.st_ino, info.entry.bytes, info.entry.footer_digest),
        }
        if same & found:
            raise SourceError(
                f"{path}: the same file is named twice; its rows would come twice: name it once"
            )
        found |= same
    return files


def describe_file(path: Path) -> SourceEntry:
    """Return a parquet file's name, size, time and footer digest, without parsing it.

    Raises
    ------
    SourceError
        There is no such file, it isn't parquet, or it is cut short.
    """
    return _describe(path)[0]


def sample_digest(path: Path) -> str:
    """Return a checksum of a file's bytes: of all of them, or of a large file's in many places.

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
    """Return the bytes of memory that the parsed footer of a parquet file takes, an estimate.

    Raises
    ------
    SourceError
        See `describe_file`.
    """
    return METADATA_BYTES * _describe(path)[1]


def one_line(error: BaseException) -> str:
    """Return the message of an error of Arrow in one line."""
    return " ".join(str(error).split())[:300]


def _describe(path: Path) -> tuple[SourceEntry, int]:
    """Return the description of a file, and the bytes of its footer."""
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
            footer_bytes = _check_frame(path, file, status.st_size)
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


def _check_frame(path: Path, file: BinaryIO, n_bytes: int) -> int:
    """Check how a parquet file begins and ends; return the bytes of its footer."""
    head = file.read(len(_MAGIC))
    if head == _ENCRYPTED_MAGIC:
        raise SourceError(f"{path}: the parquet file is encrypted; expected a plain one")
    if head != _MAGIC:
        raise SourceError(
            f"{path}: not a parquet file: expected it to begin with PAR1, found {head!r}"
        )
    if n_bytes < _MIN_BYTES:
        raise SourceError(
            f"{path}: not a parquet file: expected {_MIN_BYTES} bytes or more, found "
            f"{n_bytes:,}; download it again"
        )
    file.seek(-_TAIL_BYTES, os.SEEK_END)
    tail = file.read(_TAIL_BYTES)
    footer_bytes = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or footer_bytes + _MIN_BYTES > n_bytes:
        raise SourceError(
            f"{path}: the parquet file is cut short or damaged: its footer is missing "
            f"({n_bytes:,} bytes); download it again"
        )
    return footer_bytes


def _stamp(path: Path) -> Stamp | None:
    """Return size and times of the file at a path; None if there is none.

    The inode number isn't compared: some network file systems give the same file another one each
    time.
    """
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
