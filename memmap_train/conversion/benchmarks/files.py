"""Files of benchmarks, opened: which column is the era, the id, a benchmark.

Takes paths of parquet files such as Numerai's `validation_benchmark_models.parquet`; returns
records without open files. Reads footers alone.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import SchemaError, SourceError, listed, nearest
from ..parquet.file import ParquetFileInfo, read_distinct_files
from ..schema import (
    DATA_TYPE_COLUMN,
    ID_CANDIDATES,
    LABEL_KINDS,
    ColumnOptions,
    Schema,
    reasons,
)

_NUMBERS = frozenset(("integer", "float", "decimal", "null"))
_NO_BENCHMARKS = frozenset((DATA_TYPE_COLUMN, ColumnOptions().era_column, *ID_CANDIDATES))


@dataclass(frozen=True, slots=True)
class BenchmarkFile:
    """A file of benchmarks.

    Attributes
    ----------
    info : ParquetFileInfo
    era, id : str
        The columns by which its rows are joined.
    names : tuple of str
        Its benchmarks, in the file's order.
    """

    info: ParquetFileInfo
    era: str
    id: str
    names: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The path of the file."""
        return self.info.path

    @property
    def n_rows(self) -> int:
        """Rows of the file."""
        return sum(self.info.row_groups)


def open_benchmark_files(paths: Sequence[Path], schema: Schema) -> tuple[BenchmarkFile, ...]:
    """Open files of benchmarks for a dataset with the columns of a schema.

    Raises
    ------
    SourceError
        A file can't be read, or is named twice.
    SchemaError
        A file has no eras, no ids or no benchmarks, or a column that is no benchmark.
    """
    return tuple(_choose_columns(info, schema) for info in read_distinct_files(paths))


def _choose_columns(info: ParquetFileInfo, schema: Schema) -> BenchmarkFile:
    eras = dict.fromkeys((schema.era, ColumnOptions().era_column))
    ids = dict.fromkeys((*filter(None, (schema.id,)), *ID_CANDIDATES))
    era = _label_column(info, list(eras), "era")
    id_column = _label_column(info, list(ids), "id")
    others = [
        (name, kind)
        for name, kind in info.kinds
        if name not in _NO_BENCHMARKS and name not in (era, id_column)
    ]
    _check_benchmarks(info, others, {*schema.features, *schema.targets, *schema.unusable})
    return BenchmarkFile(info, era, id_column, tuple(name for name, _ in others))


def _label_column(info: ParquetFileInfo, candidates: Sequence[str], what: str) -> str:
    """Return the first candidate among a file's columns."""
    kinds = dict(info.kinds)
    column = next((name for name in candidates if name in kinds), None)
    if column is None:
        raise SchemaError(
            f"{info.path}: no {what} column among its {len(kinds):,} columns; expected "
            f"{' or '.join(map(repr, candidates))}{nearest(candidates[0], kinds)}: benchmarks are "
            "joined by era and id: write the file again with both"
        )
    if sum(name == column for name, _ in info.kinds) > 1:
        raise SchemaError(
            f"{info.path}: {column!r} stands for several columns; expected one {what} column: "
            "write the file again with one of that name"
        )
    if kinds[column] not in LABEL_KINDS:
        raise SchemaError(
            f"{info.path}: {what} column {column!r} holds {kinds[column]} values; expected text or "
            "whole numbers: write the file again with such labels"
        )
    return column


def _check_benchmarks(
    info: ParquetFileInfo, others: Sequence[tuple[str, str]], taken: Collection[str]
) -> None:
    """Raise a SchemaError unless all these columns can be benchmarks, and there is one."""
    counts = Counter(name for name, _ in others)
    if repeated := [name for name, count in counts.items() if count > 1]:
        raise SchemaError(
            f"{info.path}: {listed(repeated, 3)}: several columns of one name; expected one for "
            "each benchmark: write the file again with different names"
        )
    usual = ColumnOptions()
    prefixes = f"{usual.feature_prefix}_", f"{usual.target_prefix}_"
    others_taken = {*taken, usual.target_prefix}
    if both := [name for name in counts if name in others_taken or name.startswith(prefixes)]:
        raise SchemaError(
            f"{info.path}: {listed(both, 3)}: {len(both):,} of its columns are features or "
            "targets; expected a file of benchmarks: name a source before --out, or write the file "
            "again without these columns"
        )
    wrong = {name: f"holds {kind}" for name, kind in others if kind not in _NUMBERS}
    if wrong:
        raise SchemaError(
            f"{info.path}: not numbers: {reasons(wrong)}; expected numbers in every column but "
            f"era, {DATA_TYPE_COLUMN} and id: write the file again without these columns, or "
            "with numbers"
        )
    if not others:
        raise SchemaError(
            f"{info.path}: no benchmarks among its columns {listed(dict(info.kinds))}; expected "
            "columns of numbers beside era and id; Numerai's files of benchmarks end with "
            "benchmark_models.parquet or are meta_model.parquet"
        )
    if "" in counts:
        raise SourceError(f"{info.path}: a benchmark's name is empty; write the file again")
