"""The rows of benchmark files, in a scratch file: read once, found by era.

A row group is read a column at a time: its eras, ids and benchmarks go to an unnamed file, which is
mapped when all rows are there. So it takes no anonymous memory but for the eras of one row group,
however many rows the files have, in whatever order. Row groups without an era of the dataset are
skipped.
"""

import mmap
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ...arrays import Float32, Ids, Int32, Int64, Positions, Stored
from ...dataset.eras import era_identity
from ...errors import SourceError
from ...text import counted
from ..parquet.handle import ParquetHandle
from ..parquet.row_labels import read_eras, read_ids
from .files import BenchmarkFile

ROWS_AT_ONCE = 2**14
"""Rows of a segment: its ids are as wide as the longest of them, and at most 4,096 bytes."""
_VALUES_AT_ONCE = 2**18
_ALIGNMENT = 8
_ERA_BYTES = 24
"""Bytes of memory for a row of a row group while its eras are read; measured."""
_ADVICE = "write the file again"


@dataclass(frozen=True, slots=True)
class EraRows:
    """The rows of one era in one file; their values stay in the scratch file.

    Attributes
    ----------
    file : int
        The position of the file.
    ids : ndarray of bytes, shape (rows,)
    """

    file: int
    ids: Ids
    _first: Int64
    _step: Int64
    _floats: Float32

    def values(self, benchmark: int, rows: Positions) -> Float32:
        """Return a benchmark of the file, by its position, for some of these rows.

        NaN where a row has no value.
        """
        values: Float32 = self._floats[self._first[rows] + benchmark * self._step[rows]]
        return values


@dataclass(frozen=True, slots=True)
class _Segment:
    """Where some rows of a row group lie in the scratch file: `order` sorts them by era."""

    first: int
    order: int
    ids: int
    width: int
    n_rows: int


@dataclass(frozen=True, slots=True)
class _RowGroup:
    """A row group in the scratch file.

    Attributes
    ----------
    file, n_rows, values : int
        The number of its file, its rows, and the offset of its benchmarks' values.
    segments : tuple of _Segment
    runs : ndarray of int32, shape (runs, 4)
        Era, segment, and begin and end in the segment's order; sorted by era.
    """

    file: int
    n_rows: int
    values: int
    segments: tuple[_Segment, ...]
    runs: Int32


_Run = tuple[Ids, Int64, int]


class BenchmarkRows:
    """The rows of benchmark files whose eras a dataset has.

    Parameters
    ----------
    files : sequence of BenchmarkFile
    eras : sequence of str
        The eras of the dataset; another spelling of a label is the same era.
    folder : Path
        Where the scratch file is made; it has no name there, and ends with the process.
    progress : callable(rows done, rows in all)

    Attributes
    ----------
    files : sequence of BenchmarkFile
    n_other_eras : Counter of int
        The number of rows of each file, by its position, whose era the dataset lacks.

    Raises
    ------
    SourceError
        A file can't be read, a row has no era or no id, or a value is infinite.
    """

    def __init__(
        self,
        files: Sequence[BenchmarkFile],
        eras: Sequence[str],
        folder: Path,
        progress: Callable[[int, int], None],
    ) -> None:
        self.files = files
        self.n_other_eras: Counter[int] = Counter()
        self._numbers = {era: number for number, era in enumerate(eras)}
        self._known = {era_identity(era): number for era, number in self._numbers.items()}
        self._groups: list[_RowGroup] = []
        self._map: mmap.mmap | None = None
        self._n_bytes = 0
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        try:
            self._read(progress)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the scratch file."""
        if self._map is not None:
            with suppress(BufferError):  # an array still refers to it: freed with that array
                self._map.close()
        self._file.close()

    @property
    def rows_per_era(self) -> Counter[str]:
        """Rows of each era of the dataset in all files."""
        found: Int64 = np.zeros(len(self._numbers), np.int64)
        for group in self._groups:
            np.add.at(found, group.runs[:, 0], group.runs[:, 3] - group.runs[:, 2])
        return Counter({era: int(found[number]) for era, number in self._numbers.items()})

    def of_era(self, era: str) -> list[EraRows]:
        """Return the rows of one era, by file; thread-safe."""
        number = self._numbers[era]
        parts: dict[int, list[_Run]] = {}
        for group in self._groups:
            first, last = np.searchsorted(group.runs[:, 0], [number, number + 1])
            for run in group.runs[first:last].tolist():
                parts.setdefault(group.file, []).append(self._run(group, *run[1:]))
        floats = self._mapped(np.float32, 0, self._n_bytes // 4)
        return [
            EraRows(
                file,
                np.concatenate([ids for ids, _, _ in found]),
                np.concatenate([first for _, first, _ in found]),
                np.repeat([step for _, _, step in found], [len(ids) for ids, _, _ in found]),
                floats,
            )
            for file, found in sorted(parts.items())
        ]

    # -- the scratch file ---------------------------------------------------------------------

    def _run(self, group: _RowGroup, segment: int, begin: int, end: int) -> _Run:
        """Return the ids of one run of rows, and where their values lie among all floats.

        The value of the next benchmark of a row lies as many floats further as its group has rows.
        """
        where = group.segments[segment]
        rows = self._mapped(np.int32, where.order, where.n_rows)[begin:end]
        ids = self._mapped(f"S{where.width}", where.ids, where.n_rows)[rows]
        return ids, rows.astype(np.int64) + (group.values // 4 + where.first), group.n_rows

    def _mapped(self, dtype: Any, offset: int, count: int) -> Stored:
        assert self._map is not None
        return np.frombuffer(self._map, dtype, count, offset)

    def _write(self, array: Stored) -> int:
        """Append an array; return its offset."""
        self._file.write(b"\0" * (-self._file.tell() % _ALIGNMENT))
        offset = self._file.tell()
        self._file.write(array.data)
        return offset

    # -- reading ------------------------------------------------------------------------------

    def _read(self, progress: Callable[[int, int], None]) -> None:
        total, done = sum(file.n_rows for file in self.files), 0
        for number, file in enumerate(self.files):
            with closing(ParquetHandle(file.info, uses_decoder=False)) as handle:
                for group, n_rows in enumerate(file.info.row_groups):
                    if n_rows:
                        self._read_group(handle, number, group)
                    done += n_rows
                    progress(done, total)
        self._file.flush()
        self._n_bytes = self._file.tell()
        if self._groups:
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)

    def _read_group(self, handle: ParquetHandle, number: int, group: int) -> None:
        """Read one row group, unless the dataset has none of its eras."""
        file, n_rows = self.files[number], handle.info.row_groups[group]
        eras = read_eras(handle, group, file.era, _ADVICE)
        numbers = [self._known.get(era_identity(label), -1) for label in eras.labels]
        codes = np.array(numbers, np.int32)[eras.codes]
        n_others = int((codes < 0).sum())
        self.n_other_eras[number] += n_others
        if n_others == n_rows:
            return
        segments: list[_Segment] = []
        runs, first = [], 0
        for ids in read_ids(handle, group, file.id, ROWS_AT_ONCE, _ADVICE):
            mine = codes[first : first + len(ids)]
            order = np.argsort(mine, kind="stable")
            runs.append(_runs(mine[order], len(segments)))
            at = self._write(order.astype(np.int32)), self._write(ids)
            segments.append(_Segment(first, *at, ids.dtype.itemsize, len(ids)))
            first += len(ids)
        values = self._write(np.empty(0))
        for name in file.names:
            self._write_values(handle, group, name)
        found = np.concatenate(runs)
        found = found[np.argsort(found[:, 0], kind="stable")]
        self._groups.append(_RowGroup(number, n_rows, values, tuple(segments), found))

    def _write_values(self, handle: ParquetHandle, group: int, name: str) -> None:
        """Append the values of a benchmark, one after another."""
        first = handle.info.first_row(group)
        for values in handle.float_pieces(group, name, _VALUES_AT_ONCE):
            infinite = np.isinf(values)
            if infinite.any():
                raise SourceError(
                    f"{handle.info.path}: benchmark {name!r}: "
                    f"{counted(int(infinite.sum()), 'value')} infinite or too large for float32, "
                    f"the first at row {first + int(np.argmax(infinite)):,}; expected numbers, or "
                    f"none: {_ADVICE}"
                )
            self._file.write(values.data)
            first += len(values)


def memory_bytes(files: Sequence[BenchmarkFile]) -> int:
    """Return the bytes of memory that reading the largest row group takes."""
    return _ERA_BYTES * max((max(file.info.row_groups, default=0) for file in files), default=0)


def scratch_bytes(files: Sequence[BenchmarkFile], id_bytes: int) -> int:
    """Return the bytes that the scratch file may take, of files with ids of a width."""
    return sum(file.n_rows * (id_bytes + 4 + 4 * len(file.names)) for file in files)


def _runs(codes: Int32, segment: int) -> Int32:
    """Return the runs of sorted eras: era, segment, begin, end; without other eras (-1)."""
    begins = np.flatnonzero(np.diff(codes, prepend=np.int32(-2)))
    ends = np.append(begins[1:], len(codes))
    runs = np.stack([codes[begins], np.full(len(begins), segment), begins, ends], axis=1)
    return runs[runs[:, 0] >= 0].astype(np.int32)
