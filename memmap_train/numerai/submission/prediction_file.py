"""A file of predictions, with exactly an id and a prediction, as it is read and as it is sent.

Takes a path of a CSV or parquet file; returns arrays. A parquet file is sent as CSV: Numerai
documents no other format for uploads.
"""

import csv
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...arrays import Float64, Ids
from ...conversion.parquet.file import read_file_info
from ...conversion.parquet.prediction_columns import PREDICTION
from ...conversion.parquet.prediction_reader import read_predictions
from ...dataset.ids import ID_COLUMN
from ...errors import NumeraiError, listed
from .payload import Payload, payload

HEADER = (ID_COLUMN, PREDICTION)
_PARQUET = b"PAR1"
_COMPRESSED = {b"\x1f\x8b": "gzip", b"PK": "zip", b"BZ": "bzip2"}
_MAX_LINE = 10_000  # bytes of the first line that are looked at
_MAX_NAME = 60  # characters of a column's name in a message
_ROWS_AT_ONCE = 2**14


@dataclass(frozen=True, slots=True, eq=False)
class PredictionFile:
    """The predictions of a file.

    Attributes
    ----------
    payload : Payload
        The file as it was before it was read.
    is_csv : bool
    ids : ndarray of bytes, shape (rows,)
    values : ndarray of float64, shape (rows,)
        All of them finite.
    """

    payload: Payload
    is_csv: bool
    ids: Ids
    values: Float64


def read_prediction_file(path: Path) -> PredictionFile:
    """Return the predictions of a file.

    Raises
    ------
    NumeraiError
        There is no such file, it is empty, or has other columns.
    SourceError
        It can't be read, or a value isn't an id or a finite number.
    """
    found = payload(path)
    with open(path, "rb") as file:
        head = file.read(len(_PARQUET))
    is_csv, compression = head != _PARQUET, _COMPRESSED.get(head[:2])
    if compression is not None:
        raise NumeraiError(
            f"{path}: expected a CSV or parquet file, found one compressed with {compression}; "
            "decompress it first"
        )
    names = _names_in_csv(path) if is_csv else [name for name, _ in read_file_info(path).kinds]
    # In a parquet file the columns are in any order, since the index of pandas is the last one.
    if (names if is_csv else sorted(names)) != list(HEADER):
        raise NumeraiError(
            f"{path}: expected the columns id and prediction, found {_shown(names)}; write exactly "
            "these two, separated by a comma, as `memmap-train predict` does without --era"
        )
    blocks = list(read_predictions(path, id_names=[ID_COLUMN], era_names=[]))
    ids = np.concatenate([block.ids for block in blocks])
    return PredictionFile(found, is_csv, ids, np.concatenate([block.values for block in blocks]))


def _names_in_csv(path: Path) -> list[str]:
    with open(path, "rb") as file:
        line = file.readline(_MAX_LINE).decode("utf-8-sig", "replace").strip("\r\n")
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return [line]


def _shown(names: list[str]) -> str:
    """Return columns for a message; of a file that is no CSV they may be long."""
    short = [name if len(name) <= _MAX_NAME else f"{name[:_MAX_NAME]}…" for name in names]
    return listed(short) or "none"


@contextmanager
def as_csv(file: PredictionFile) -> Iterator[Payload]:
    """Yield what is sent: the file itself, or its rows in a temporary CSV file.

    Raises
    ------
    NumeraiError
        The temporary file can't be written.
    """
    if file.is_csv:
        yield file.payload
        return
    with ExitStack() as stack:
        try:
            made = tempfile.TemporaryDirectory(prefix="memmap-train-submit-")
            path = Path(stack.enter_context(made), "predictions.csv")
            _write_csv(path, file)
            sent = replace(payload(path), name=f"{file.payload.path.stem}.csv")
        except OSError as error:
            raise NumeraiError(
                f"{file.payload.path}: its rows can't be written to {tempfile.gettempdir()} as "
                f"CSV: {error.strerror}; set TMPDIR to a folder with free space"
            ) from error
        yield sent


def _write_csv(path: Path, file: PredictionFile) -> None:
    with open(path, "w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(HEADER)
        for begin in range(0, len(file.ids), _ROWS_AT_ONCE):
            rows = slice(begin, begin + _ROWS_AT_ONCE)
            ids = [name.decode() for name in file.ids[rows].tolist()]
            writer.writerows(zip(ids, file.values[rows].tolist(), strict=True))
