"""Labels of a row group's rows: eras, data types and ids, as text and numpy arrays.

Takes a handle on a parquet file. Rows without a label are refused by their number in the file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...dataset.format import MAX_ID_BYTES
from ...errors import SourceError
from ..schema import OTHER_ERAS, OTHER_IDS
from .columns import as_fixed_width, fill_nulls, longest_bytes, null_mask
from .file import ParquetFileInfo
from .handle import ParquetHandle
from .labels import LabelError, as_text, ends_with_zero, label_codes, nan_as_null

_TEXTS_AT_ONCE = 2**14


@dataclass(frozen=True, slots=True)
class RowEras:
    """The eras of a row group's rows.

    Attributes
    ----------
    labels : list of str
    codes : ndarray of int32, shape (rows,)
        Position in `labels` of each row's era.
    """

    labels: list[str]
    codes: npt.NDArray[np.int32]


def read_eras(handle: ParquetHandle, group: int, column: str, advice: str = OTHER_ERAS) -> RowEras:
    """Return the era of each row of a row group, as text.

    Parameters
    ----------
    handle : ParquetHandle
    group : int
    column : str
    advice : str, optional
        What to do if the column can't be used: the end of an error.

    Raises
    ------
    SourceError
        An era is null, an empty text, or no label: see `labels`.
    """
    values = _without_nulls(handle, group, column, "era", "a label", _TEXTS_AT_ONCE, advice)
    labels, codes = _label_codes(handle.info, values, group, column, "era", advice)
    if "" in labels:
        raise SourceError(f"{handle.info.path}: era column {column!r}: an era's label is empty")
    return RowEras(labels, codes)


def count_rows(
    handle: ParquetHandle, group: int, eras: RowEras, data_type_column: str | None
) -> dict[str, dict[str, int]]:
    """Return {era: {data_type: rows}} of a row group; the data type is "" where it is null."""
    if data_type_column is None:
        per_era = np.bincount(eras.codes, minlength=len(eras.labels))
        return {label: {"": int(n)} for label, n in zip(eras.labels, per_era, strict=True) if n}
    values = map(fill_nulls, handle.pieces(group, data_type_column, _TEXTS_AT_ONCE))
    types, type_codes = _label_codes(
        handle.info, values, group, data_type_column, "data type", "write the file without it"
    )
    pairs = eras.codes.astype(np.int64) * len(types) + type_codes
    found: dict[str, dict[str, int]] = {}
    for pair, n in zip(*np.unique(pairs, return_counts=True), strict=True):
        code, type_code = divmod(int(pair), len(types))
        found.setdefault(eras.labels[code], {})[types[type_code]] = int(n)
    return found


def longest_id(handle: ParquetHandle, group: int, column: str) -> int:
    """Return the bytes (UTF-8) of the longest id of a row group.

    Raises
    ------
    SourceError
        An id is null, no label (see `labels`), or longer than a manifest allows.
    """
    texts = _id_texts(handle, group, column, _TEXTS_AT_ONCE, OTHER_IDS)
    return max(map(longest_bytes, texts), default=0)


def read_ids(
    handle: ParquetHandle, group: int, column: str, at_once: int, advice: str = OTHER_IDS
) -> Iterator[npt.NDArray[np.bytes_]]:
    """Yield a row group's ids as fixed-width bytes (UTF-8), `at_once` rows at a time.

    Each array is as wide as its longest id.

    Raises
    ------
    SourceError
        The same errors as `longest_id`.
    """
    return map(as_fixed_width, _id_texts(handle, group, column, at_once, advice))


def _id_texts(
    handle: ParquetHandle, group: int, column: str, at_once: int, advice: str
) -> Iterator[Any]:
    """Yield ids as large_string arrays, checked."""
    begin, where = 0, f"{handle.info.path}: id column {column!r}"
    for array in _without_nulls(handle, group, column, "id", "an id", at_once, advice):
        try:
            texts = as_text(array)
        except LabelError as error:
            row = begin + error.row
            raise _not_a_label(handle.info, error, group, row, column, "id", advice) from None
        begin += len(array)
        longest = longest_bytes(texts)
        if longest > MAX_ID_BYTES:  # refused before every row is made as wide
            raise SourceError(
                f"{where}: an id of {longest:,} bytes; expected at most {MAX_ID_BYTES:,}"
            )
        if ends_with_zero(texts):  # numpy takes it for padding
            raise SourceError(
                f"{where}: an id ends with a zero byte, which ids.npy can't keep; expected text; "
                f"{advice}"
            )
        yield texts


def _without_nulls(
    handle: ParquetHandle,
    group: int,
    column: str,
    what: str,
    expected: str,
    at_once: int,
    advice: str,
) -> Iterator[Any]:
    """Yield a column a piece at a time; refuse rows in which it is null."""
    n_nulls, first, begin = 0, 0, 0
    for array in map(nan_as_null, handle.pieces(group, column, at_once)):
        if array.null_count:
            first = first if n_nulls else begin + int(np.argmax(null_mask(array)))
            n_nulls += array.null_count
        elif not n_nulls:
            yield array
        begin += len(array)
    if n_nulls:
        raise SourceError(
            f"{handle.info.path}: {what} column {column!r}: {n_nulls:,} rows without an {what}, "
            f"the first at row {handle.info.first_row(group) + first:,}; expected {expected} in "
            f"every row; drop these rows, or put one there, or {advice}"
        )


def _label_codes(
    info: ParquetFileInfo,
    arrays: Iterator[Any],
    group: int,
    column: str,
    what: str,
    advice: str,
) -> tuple[list[str], npt.NDArray[np.int32]]:
    try:
        return label_codes(arrays)
    except LabelError as error:
        raise _not_a_label(info, error, group, error.row, column, what, advice) from None


def _not_a_label(
    info: ParquetFileInfo,
    error: LabelError,
    group: int,
    row: int,
    column: str,
    what: str,
    advice: str,
) -> SourceError:
    """Return the error that says which row has no label, and what to do."""
    return SourceError(
        f"{info.path}: {what} column {column!r}: found {error.found} (row "
        f"{info.first_row(group) + row:,}); expected {error.expected}; {advice}"
    )
