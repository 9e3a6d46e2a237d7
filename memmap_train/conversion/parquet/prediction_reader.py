"""The rows of predictions in a parquet or CSV file or a data frame: eras, ids and numbers.

Takes a path or a frame and the names that the columns may have; yields numpy arrays in its order, a
block at a time. A file's first bytes say what it is, not its name. Only the columns that are needed
are decoded.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from ...dataset.format import MAX_ID_BYTES
from ...errors import SourceError, listed
from ...text import counted
from ..schema import LABEL_KINDS
from .columns import (
    as_fixed_width,
    as_numbers,
    as_plain_array,
    kind_of,
    longest_bytes,
    null_mask,
)
from .file import one_line, read_file_info
from .labels import LabelError, as_text, label_codes, nan_as_null

PREDICTION = "prediction"
_MAGIC = b"PAR1"
_ROWS_AT_ONCE = 2**16
_BLOCK_BYTES = 2**19  # of a CSV file that are parsed at once; Arrow parses dozens ahead
_NUMBERS = frozenset(("integer", "float", "decimal"))
_EXPECTED = "expected ids and predictions, as `memmap-train predict` writes them"
_WRONG_VALUE = re.compile(r"In CSV column #(\d+): Row #(\d+): .*invalid value '(.*)'", re.DOTALL)
_WRONG_WIDTH = re.compile(r"CSV parse error: Row #(\d+): Expected (\d+) columns, got (\d+)")
_UNNAMED = ("__index_level_0__", "")  # an index without a name, in parquet and in CSV


@dataclass(frozen=True, slots=True)
class PredictionColumns:
    """The names of a file's columns; `era` is None where it has none."""

    id: str
    era: str | None
    prediction: str


@dataclass(frozen=True, slots=True)
class PredictionRows:
    """Consecutive rows of a file of predictions.

    Attributes
    ----------
    era_labels : tuple of str
        Distinct eras of these rows; empty if the file has no eras.
    era_codes : ndarray of int32, shape (rows,)
        Position of each row's era in `era_labels`; all 0 if the file has no eras.
    ids : ndarray of bytes, shape (rows,)
        The ids, as wide as the longest of them.
    values : ndarray of float64, shape (rows,)
        The predictions, all of them finite.
    """

    era_labels: tuple[str, ...]
    era_codes: npt.NDArray[np.int32]
    ids: npt.NDArray[np.bytes_]
    values: npt.NDArray[np.float64]


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
    yield from _checked_rows(path, read(path, id_names, era_names))


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
    yield from _checked_rows(name, _read_frame(frame, name, id_names, era_names))


def _checked_rows(
    path: Path | str, batches: Iterator[tuple[PredictionColumns, Any]]
) -> Iterator[PredictionRows]:
    begin = 0
    for columns, batch in batches:
        if len(batch):
            yield _rows(path, columns, batch, begin)
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
        names = [*id_names, *_named_index(reader.schema), *_UNNAMED]
        columns = _choose(name, kinds, names, era_names)
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
        names = [*id_names, *_named_index(file.schema_arrow), *_UNNAMED]
        columns = _choose(path, info.kinds, names, era_names)
        wanted = [name for name in (columns.era, columns.id, columns.prediction) if name]
        with _one_line_errors(path):
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=wanted, use_threads=False):
                yield columns, pa.Table.from_batches([batch])


def _read_csv(
    path: Path, id_names: Sequence[str], era_names: Sequence[str]
) -> Iterator[tuple[PredictionColumns, Any]]:
    labels = dict.fromkeys([*id_names, *era_names, *_UNNAMED], pa.large_string())
    with _one_line_errors(path), closing(_opened_csv(path, labels)) as found:
        kinds = [(field.name, kind_of(field)) for field in found.schema]
    # Text among the numbers is found where it is, and its row with it.
    kinds = [(name, "float" if name == PREDICTION else kind) for name, kind in kinds]
    columns = _choose(path, kinds, [*id_names, *_UNNAMED], era_names)
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


def _choose(
    path: Path | str,
    kinds: Sequence[tuple[str, str]],
    id_names: Sequence[str],
    era_names: Sequence[str],
) -> PredictionColumns:
    """Return which columns are which; a SourceError names the columns that were found."""
    names = [name for name, _ in kinds]
    found = f"found the columns {listed(names, 8)}"
    era = next((name for name in era_names if name in names), None)
    row_id = next((name for name in id_names if name in names and name != era), None)
    if row_id is None:
        raise SourceError(
            f"{path}: no column of ids: expected {id_names[0]!r}, {found}; {_EXPECTED}"
        )
    kind_of_name = dict(kinds)
    unnamed = {row_id, era, *_UNNAMED}
    numbers = [name for name, kind in kinds if kind in _NUMBERS and name not in unnamed]
    if PREDICTION in names:
        prediction = PREDICTION
    elif len(numbers) == 1:
        prediction = numbers[0]
    else:
        several = f"{len(numbers)} columns of numbers" if numbers else "no column of numbers"
        raise SourceError(
            f"{path}: no column {PREDICTION!r}, and {several} that could be it; {found}; write a "
            f"file with one column of predictions, called {PREDICTION!r}"
        )
    for name, what, expected in (
        (row_id, "ids", LABEL_KINDS),
        (era, "eras", LABEL_KINDS),
        (prediction, "predictions", _NUMBERS),
    ):
        if name is None:
            continue
        if Counter(names)[name] > 1:
            raise SourceError(f"{path}: {Counter(names)[name]} columns are called {name!r}")
        if kind_of_name[name] not in expected:
            wanted = "numbers" if expected is _NUMBERS else "text or whole numbers"
            raise SourceError(
                f"{path}: the {what}, column {name!r}, are {kind_of_name[name]}; expected {wanted}"
            )
    return PredictionColumns(row_id, era, prediction)


def _rows(path: Path | str, columns: PredictionColumns, batch: Any, begin: int) -> PredictionRows:
    """Return the rows of a batch, checked; `begin` rows of the file are before it."""
    values = _values(path, batch[columns.prediction], columns.prediction, begin)
    texts = _texts(path, batch[columns.id], columns.id, "an id", begin)
    if longest_bytes(texts) > MAX_ID_BYTES:
        raise SourceError(f"{path}: an id is longer than {MAX_ID_BYTES:,} bytes")
    labels: list[str] = []
    codes = np.zeros(len(batch), np.int32)
    if columns.era is not None:
        eras = _texts(path, batch[columns.era], columns.era, "an era", begin)
        labels, codes = label_codes([eras])
    return PredictionRows(tuple(labels), codes, as_fixed_width(texts), values)


def _values(path: Path | str, column: Any, name: str, begin: int) -> npt.NDArray[np.float64]:
    array = as_plain_array(column)
    if not pa.types.is_floating(array.type):
        array = array.cast(pa.float64(), safe=False)
    values = as_numbers(array, null=np.nan).astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        is_missing = np.isnan(values[wrong[0]])
        raise SourceError(
            f"{path}: row {begin + wrong[0] + 1:,}: the prediction (column {name!r}) is "
            f"{'missing (NaN)' if is_missing else 'infinite'}; expected a finite number in every "
            "row; leave rows out that have none"
        )
    return values


def _texts(path: Path | str, column: Any, name: str, what: str, begin: int) -> Any:
    array = nan_as_null(as_plain_array(column))
    row = int(np.argmax(null_mask(array))) if array.null_count else None
    if row is None:
        try:
            array = as_text(array)
        except LabelError as error:
            raise SourceError(
                f"{path}: row {begin + error.row + 1:,}: column {name!r}: found {error.found}; "
                f"expected {error.expected}"
            ) from None
        empty = np.flatnonzero(np.diff(_offsets(array)) == 0)
        row = int(empty[0]) if len(empty) else None
    if row is not None:
        raise SourceError(
            f"{path}: row {begin + row + 1:,} has no value in column {name!r}; expected {what} in "
            "every row"
        )
    return array


def _offsets(texts: Any) -> npt.NDArray[np.int64]:
    return np.frombuffer(texts.buffers()[1], np.int64, len(texts) + 1, texts.offset * 8)


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
            f"{_EXPECTED}"
        )
    return f"the predictions can't be read: {error}; {_EXPECTED}"
