"""The rows of parquet files: the eras, data types and ids of all row groups, read before a plan.

Takes files and the columns that label their rows; returns the eras of each row group and their
totals. Reads no features and no targets.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from ..dataset.eras import era_folder, era_identity, era_sort_key
from ..dataset.format import MAX_FOLDER_BYTES
from ..errors import SourceError, listed
from ..system.threads import ThreadPool
from .parquet.file import ParquetFileInfo
from .parquet.handle_pool import HandlePool
from .parquet.row_labels import count_rows, longest_id, read_eras
from .plan import RowGroup
from .schema import Schema, data_type_column

_N_READERS = 2  # threads: each holds the eras and ids of up to a million rows


@dataclass(frozen=True, slots=True)
class RowScan:
    """The rows of parquet files, by row group and by era.

    Attributes
    ----------
    groups : tuple of RowGroup
        The row groups that have rows, in the order of the files.
    rows_per_era : dict of str to int
        Rows of each era, in the dataset's order.
    data_types : dict of str to dict of str to int
        The number of rows of each data type, by era; rows without one aren't counted.
    id_width : int
        Bytes of the longest id; 0 where there are no ids.
    """

    groups: tuple[RowGroup, ...]
    rows_per_era: dict[str, int]
    data_types: dict[str, dict[str, int]]
    id_width: int


def scan_rows(
    handles: HandlePool, schema: Schema, progress: Callable[[int, int], None] | None = None
) -> RowScan:
    """Read the eras, data types and ids of all rows.

    Parameters
    ----------
    handles : HandlePool
    schema : Schema
    progress : callable(rows done, rows in all), optional

    Raises
    ------
    SourceError
        There are no rows, a row has no era or no id, or an era has two labels.
    """
    n_rows = sum(sum(file.row_groups) for file in handles.files)
    if n_rows == 0:
        raise SourceError(
            f"{listed(str(file.path) for file in handles.files)}: no rows; nothing to convert: "
            "name other files"
        )
    numbers = [
        (position, index)
        for position, file in enumerate(handles.files)
        for index, rows in enumerate(file.row_groups)
        if rows
    ]
    groups: list[RowGroup] = []
    totals: dict[str, Counter[str]] = {}
    id_width = n_done = 0
    with ThreadPool(_N_READERS, thread_name_prefix="plan") as threads:
        found = threads.map(partial(_scan_row_group, handles, schema), numbers)
        for (position, index), (counts, width) in zip(numbers, found, strict=True):
            rows = {era: sum(types.values()) for era, types in counts.items()}
            groups.append(RowGroup(position, index, sum(rows.values()), rows))
            for era, types in counts.items():
                totals.setdefault(era, Counter()).update(types)
            id_width = max(id_width, width)
            n_done += groups[-1].rows
            if progress is not None:
                progress(n_done, n_rows)
    _check_labels(handles.files, groups, schema.era)
    return RowScan(
        groups=tuple(groups),
        rows_per_era={era: totals[era].total() for era in sorted(totals, key=era_sort_key)},
        data_types={
            era: {name: n for name, n in types.items() if name} for era, types in totals.items()
        },
        id_width=id_width,
    )


def _scan_row_group(
    handles: HandlePool, schema: Schema, number: tuple[int, int]
) -> tuple[dict[str, dict[str, int]], int]:
    """Return {era: {data_type: rows}} of a row group, and the bytes of its longest id."""
    position, index = number
    with handles.take(position) as handle:
        eras = read_eras(handle, index, schema.era)
        counts = count_rows(handle, index, eras, data_type_column(handle.info.kinds))
        width = 0 if schema.id is None else max(1, longest_id(handle, index, schema.id))
    for era in counts:
        if len(era_folder(era)) > MAX_FOLDER_BYTES:
            raise SourceError(
                f"{handle.info.path}: era column {schema.era!r}: {era[:40]!r}… is too long for the "
                f"name of a folder ({MAX_FOLDER_BYTES} bytes)"
            )
    return counts, width


def _check_labels(
    files: Sequence[ParquetFileInfo], groups: Sequence[RowGroup], column: str
) -> None:
    """Refuse different texts for one era, which would become two eras."""
    first_in: dict[str, int] = {}
    for group in groups:
        for era in group.eras:
            first_in.setdefault(era, group.source)
    known: dict[tuple[str, int | None], str] = {}
    for era, file in first_in.items():
        other = known.setdefault(era_identity(era), era)
        if other != era:
            raise SourceError(
                f"{files[file].path}: era column {column!r}: {era!r} and {other!r} (in "
                f"{files[first_in[other]].path}) are two labels of one era; expected the same "
                "label in all rows and files: write the column again with one of them"
            )
