"""Labels as text: the values of an era, id or data type column of any type.

Takes an Arrow array without nulls; returns its text as `large_string`. Equal values get equal
texts, and different values different texts:

- text stays as it is, and so do bytes that are UTF-8;
- whole numbers become decimal text, also those of floats (``1.0``) and decimals;
- dates, and timestamps at midnight, become ``2024-01-05``; other timestamps become
  ``2024-01-05T12:30:00``, followed by the fraction of the second if there is one. A timestamp with
  a time zone becomes its local time;
- UUIDs get their usual form.
"""

import uuid
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

# Above these, a float may stand for several whole numbers.
_MAX_WHOLE = {16: 2**11, 32: 2**24, 64: 2**53}
_UTC = frozenset(("UTC", "utc", "Etc/UTC", "Z", "GMT", "+00:00"))
_FIRST_DAY, _END_DAY = np.datetime64("0001-01-01", "D"), np.datetime64("10000-01-01", "D")


class LabelError(Exception):
    """A value can't be a label.

    Attributes
    ----------
    found, expected : str
    row : int
        Position of the value among those that were given.
    """

    def __init__(self, found: object, expected: str, row: int) -> None:
        super().__init__(found, expected, row)
        self.found, self.expected, self.row = str(found), expected, row


def as_text(array: Any) -> Any:
    """Return an array without nulls as large_string.

    Raises
    ------
    LabelError
        Bytes aren't UTF-8, a number isn't whole, or a date has a year beyond 1 to 9999.
    """
    kind = array.type
    if pa.types.is_floating(kind):
        return _whole_floats(array)
    if pa.types.is_decimal(kind):
        return _whole_decimals(array)
    if pa.types.is_date(kind):
        return _array(_dates(_numbers(array).astype(f"datetime64[{_unit(kind)}]")))
    if pa.types.is_timestamp(kind):
        return _timestamps(array)
    texts = array.cast(pa.large_string(), safe=False)
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        found, row = _first_undecodable(texts)
        raise LabelError(f"{found!r:.60}, not UTF-8 text", "text", row) from None
    return texts


def label_codes(arrays: Iterable[Any]) -> tuple[list[str], npt.NDArray[np.int32]]:
    """Return the distinct values of arrays as text, and the position of each row's value in them.

    Raises
    ------
    LabelError
        The same errors as `as_text`; rows are counted over all arrays.
    """
    positions: dict[str, int] = {}
    codes = [np.empty(0, np.int32)]
    for array in arrays:
        encoded = pc.dictionary_encode(array)
        indices = _numbers(encoded.indices)
        try:
            labels = as_text(encoded.dictionary).to_pylist()
        except LabelError as error:
            row = sum(map(len, codes)) + int(np.argmax(indices == error.row))
            raise LabelError(error.found, error.expected, row) from None
        known = [positions.setdefault(label, len(positions)) for label in labels]
        codes.append(np.array(known, np.int32)[indices])
    return list(positions), np.concatenate(codes)


def ends_with_zero(texts: Any) -> bool:
    """Return True if a text ends with a zero byte."""
    return bool(pc.any(pc.ends_with(texts, "\0")).as_py())


def uuids_as_text(array: Any) -> Any:
    """Return UUIDs in their usual form as large_string; nulls stay null."""
    values = array.storage.to_pylist()
    return _array(None if value is None else str(uuid.UUID(bytes=value)) for value in values)


def nan_as_null(array: Any) -> Any:
    """Return an array in which NaNs, which mark missing values, are null."""
    if pa.types.is_floating(array.type):
        return pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
    return array


def _whole_floats(array: Any) -> Any:
    most = _MAX_WHOLE[array.type.bit_width]
    values = _numbers(array)
    wrong = np.flatnonzero((values != np.rint(values)) | (np.abs(values) > most))
    if len(wrong):
        expected = f"whole numbers up to {most:,}"
        raise LabelError(values[wrong[0]], expected, int(wrong[0]))
    return _array(map(str, values.astype(np.int64).tolist()))


def _whole_decimals(array: Any) -> Any:
    values = array.to_pylist()
    for row, value in enumerate(values):
        if value != value.to_integral_value():
            raise LabelError(value, "whole numbers", row)
    return _array(str(int(value)) for value in values)


def _timestamps(array: Any) -> Any:
    zone = array.type.tz
    if zone is not None and zone not in _UTC:
        array = _wall_time(array, zone)
    times = _numbers(array).astype(f"datetime64[{array.type.unit}]")
    texts = _dates(times)
    for row in np.flatnonzero(times != times.astype("datetime64[D]")):
        text = str(times[row])  # with as many digits as the unit has
        seconds, _, fraction = text.partition(".")
        texts[row] = f"{seconds}.{fraction}".rstrip("0").rstrip(".") if fraction else seconds
    return _array(texts)


def _wall_time(array: Any, zone: str) -> Any:
    """Return timestamps in the local time of a time zone."""
    try:
        local = pc.local_timestamp(array)
        first, last = (
            pc.assume_timezone(local, zone, ambiguous=which) for which in ("earliest", "latest")
        )
    except (pa.ArrowException, OSError) as error:
        found = f"the time zone {zone!r}: {' '.join(str(error).split())}"
        raise LabelError(found, "one that is known here, or the times in UTC", 0) from None
    if not first.equals(last):
        row = int(np.flatnonzero(_numbers(first) != _numbers(last))[0])
        found = f"{local[row]}, an hour that clocks in {zone} show twice"
        raise LabelError(found, "times that tell moments apart, such as those in UTC", row)
    return local


def _dates(times: npt.NDArray[np.datetime64]) -> list[str]:
    """Return the days of times as ISO dates."""
    days = times.astype("datetime64[D]")
    wrong = np.flatnonzero((days < _FIRST_DAY) | (days >= _END_DAY))
    if len(wrong):
        raise LabelError(f"the date {days[wrong[0]]}", "a year from 1 to 9999", int(wrong[0]))
    return [str(day) for day in days]


def _first_undecodable(texts: Any) -> tuple[bytes, int]:
    for row, value in enumerate(texts.cast(pa.large_binary()).to_pylist()):
        try:
            value.decode()
        except UnicodeDecodeError:
            return value, row
    raise AssertionError("Arrow finds text that isn't UTF-8, and Python doesn't")


def _unit(kind: Any) -> str:
    return "D" if pa.types.is_date32(kind) else "ms"


def _numbers(array: Any) -> npt.NDArray[Any]:
    """Return the values of an array of fixed width without nulls; a view."""
    width = array.type.bit_width
    dtype = f"f{width // 8}" if pa.types.is_floating(array.type) else f"i{width // 8}"
    values = np.frombuffer(array.buffers()[1] or b"", dtype)
    return values[array.offset : array.offset + len(array)]


def _array(texts: Any) -> Any:
    return pa.array(texts, pa.large_string())
