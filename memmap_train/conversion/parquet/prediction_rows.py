"""Rows of predictions as numpy arrays, each value checked.

Takes rows as Arrow's columns; returns eras, ids and numbers. An error names the first wrong row.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...dataset.format import MAX_ID_BYTES
from ...errors import SourceError
from .columns import as_fixed_width, as_numbers, as_plain_array, longest_bytes, null_mask
from .labels import LabelError, as_text, label_codes, nan_as_null
from .prediction_columns import PredictionColumns


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


def checked_rows(
    path: Path | str, columns: PredictionColumns, batch: Any, begin: int
) -> PredictionRows:
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
