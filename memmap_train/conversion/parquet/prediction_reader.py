"""The rows of predictions in a parquet or CSV file or a data frame: eras, ids and numbers.

Takes a path or a frame and the names that the columns may have; yields numpy arrays in its order, a
block at a time. A file's first bytes say what it is, not its name. Only the columns that are needed
are decoded.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from ...errors import SourceError
from ...text import counted
from .columns import kind_of
from .file import one_line, read_file_info
from .prediction_columns import EXPECTED, PREDICTION, UNNAMED, PredictionColumns, choose_columns
from .prediction_rows import PredictionRows, checked_rows

_MAGIC = b"PAR1"
_ROWS_AT_ONCE = 2**16
_BLOCK_BYTES = 2**19  # of a CSV file that are parsed at once; Arrow parses dozens ahead
_WRONG_VALUE = re.compile(r"In CSV column #(\d+): Row #(\d+): .*invalid value '(.*)'", re.DOTALL)
_WRONG_WIDTH = re.compile(r"CSV parse error: Row #(\d+): Expected (\d+) columns, got (\d+)")


def read_predictions(
    path: Path, *, id_names: Sequence[str], era_names: Sequence[str]
) -> Iterator[PredictionRows]:
    """Yield the rows of a file of predictions.

    Parameters
    ----------
    path : Path
    id_names, era_names : sequence of str
        Names that these columns may have; the first one that the file has is taken. Without one,
        the ids are the file's index. A file needn't have eras.

    Raises
    ------
    SourceError
        The file can't be read or is empty, it has no such columns, or a value isn't what is
        expected: a prediction that is missing or infinite or text, a row without an id.

    Notes
    -----
    The predictions are the column ``prediction``, or else the only column of numbers.
    """
    try:
        if path.is_fifo():  # it can be read once, and waiting for it may never end
            raise SourceError(f"{path}: a pipe; expected a file of predictions")
        with open(path, "rb") as file:
            head = file.read(len(_MAGIC))
    except OSError as error:
        raise SourceError(f"{path}: can't be read: {error.strerror or error}") from error
    if not head:
        raise SourceError(f"{path}: the file is empty; expected predictions: ids and numbers")
    read = _read_parquet if head == _MAGIC else _read_csv
    yield from _all_rows(path, read(path, id_names, era_names))


def read_frame(
    frame: Any, name: str, *, id_names: Sequence[str], era_names: Sequence[str]
) -> Iterator[PredictionRows]:
    """Yield the rows of a frame of pandas or Polars, of an Arrow table, or the like.

    Parameters
    ----------
    frame : object
        With the method ``__arrow_c_stream__``, which gives its columns without a copy.
    name : str
        The frame in messages.
    id_names, era_names : sequence of str
        As for `read_predictions`; an index of pandas is a column too.

    Raises
    ------
    SourceError
        As `read_predictions`.

    Notes
    -----
    Source: the Arrow PyCapsule interface.
    """
    yield from _all_rows(name, _read_frame(frame, name, id_names, era_names))


def _all_rows(
    path: Path | str, batches: Iterator[tuple[PredictionColumns, Any]]
) -> Iterator[PredictionRows]:
    begin = 0
    for columns, batch in batches:
        if len(batch):
            yield checked_rows(path, columns, batch, begin)
            begin += len(batch)
    pa.default_memory_pool().release_unused()  # a caller sorts what it has, in as much memory
    if not begin:
        raise SourceError(f"{path}: there are no rows; expected predictions: ids and numbers")


def _read_frame(
    frame: Any, name: str, id_names: Sequence[str], era_names: Sequence[str]
) -> Iterator[tuple[PredictionColumns, Any]]:
    with _one_line_errors(name):
        reader = pa.RecordBatchReader.from_stream(frame)
    with closing(reader):
        kinds = [(field.name, kind_of(field)) for field in reader.schema]
        names = [*id_names, *_named_index(reader.schema), *UNNAMED]
        columns = choose_columns(name, kinds, names, era_names)
        wanted = [name for name in (columns.era, columns.id, columns.prediction) if name]
        with _one_line_errors(name):
            for batch in reader:
                for low in range(0, len(batch), _ROWS_AT_ONCE):
                    rows = pa.Table.from_batches([batch.slice(low, _ROWS_AT_ONCE)])
                    yield columns, rows.select(wanted)


def _named_index(schema: Any) -> list[str]:
    """Return the columns that are the index of a frame of pandas."""
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    return [name for name in index if isinstance(name, str)]  # others are ranges


def _read_parquet(
    path: Path, id_names: Sequence[str], era_names: Sequence[str]
) -> Iterator[tuple[PredictionColumns, Any]]:
    info = read_file_info(path)
    # Buffers filled in advance would be kept until the file is closed.
    with closing(pq.ParquetFile(path, pre_buffer=False)) as file:
        names = [*id_names, *_named_index(file.schema_arrow), *UNNAMED]
        columns = choose_columns(path, info.kinds, names, era_names)
        wanted = [name for name in (columns.era, columns.id, columns.prediction) if name]
        with _one_line_errors(path):
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=wanted, use_threads=False):
                yield columns, pa.Table.from_batches([batch])


def _read_csv(
    path: Path, id_names: Sequence[str], era_names: Sequence[str]
) -> Iterator[tuple[PredictionColumns, Any]]:
    labels = dict.fromkeys([*id_names, *era_names, *UNNAMED], pa.large_string())
    with _one_line_errors(path), closing(_opened_csv(path, labels)) as found:
        kinds = [(field.name, kind_of(field)) for field in found.schema]
    # Text among the numbers is found where it is, and its row with it.
    kinds = [(name, "float" if name == PREDICTION else kind) for name, kind in kinds]
    columns = choose_columns(path, kinds, [*id_names, *UNNAMED], era_names)
    wanted = [name for name in (columns.era, columns.id, columns.prediction) if name is not None]
    types = labels | {columns.prediction: pa.float64()}
    names = [name for name, _ in kinds]
    with _one_line_errors(path, names), closing(_opened_csv(path, types, wanted)) as reader:
        for batch in reader:
            yield columns, pa.Table.from_batches([batch])


def _opened_csv(path: Path, types: dict[str, Any], wanted: Sequence[str] = ()) -> Any:
    return pa_csv.open_csv(
        path,
        # With threads Arrow doesn't know in which row a value is wrong.
        read_options=pa_csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
        convert_options=pa_csv.ConvertOptions(column_types=types, include_columns=list(wanted)),
    )


@contextmanager
def _one_line_errors(path: Path | str, names: Sequence[str] = ()) -> Iterator[None]:
    """Turn an error of Arrow into one of ours; `names` are those of a CSV file's columns."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeError, ValueError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{path}: {_what_is_wrong(one_line(error).rstrip('.'), names)}") from None


def _what_is_wrong(error: str, names: Sequence[str]) -> str:
    """Return what Arrow found in a file, with the row as we count them: without the header."""
    if found := _WRONG_VALUE.match(error):
        column, row, value = found.groups()
        return (
            f"row {int(row) - 1:,}: column {names[int(column)]!r} is {value!r:.60}; expected a "
            "finite number in every row"
        )
    if found := _WRONG_WIDTH.match(error):
        row, expected, n_columns = map(int, found.groups())
        return (
            f"row {row - 1:,} has {counted(n_columns, 'column')} and the first line {expected}; "
            f"{EXPECTED}"
        )
    return f"the predictions can't be read: {error}; {EXPECTED}"
