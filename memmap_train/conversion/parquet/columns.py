"""Arrow's columns as numpy arrays: their kinds, their values, and how many are decoded at once.

Takes Arrow types and arrays; returns plain strings and numpy arrays. Reads no files.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..codec import MAX_CODE
from ..schema import Kind
from .labels import uuids_as_text

DECODING_BYTES = 10
"""Bytes per value, measured for int8: int32 values and their levels, in buffers that double."""
_MIN_AT_ONCE, _VALUES_AT_ONCE, _MAX_AT_ONCE = 8, 2**20, 2**23

_KINDS: Sequence[tuple[Kind, Callable[[Any], bool]]] = (
    ("integer", pa.types.is_integer),
    ("float", pa.types.is_floating),
    ("bool", pa.types.is_boolean),
    ("decimal", pa.types.is_decimal),
    ("text", pa.types.is_string),
    ("text", pa.types.is_large_string),
    ("text", pa.types.is_string_view),
    ("bytes", pa.types.is_binary),
    ("bytes", pa.types.is_large_binary),
    ("bytes", pa.types.is_binary_view),
    ("bytes", pa.types.is_fixed_size_binary),
    ("date", pa.types.is_date),
    ("timestamp", pa.types.is_timestamp),
    ("null", pa.types.is_null),
)
_EXTENSION, _UUID = b"ARROW:extension:name", "arrow.uuid"


def kind_of(field: Any) -> Kind:
    """Return the kind of a column's values."""
    value_type = _value_type(field.type)
    if isinstance(value_type, pa.BaseExtensionType):
        name = value_type.extension_name
    else:  # of an extension that isn't registered, only its storage type is known
        name = (field.metadata or {}).get(_EXTENSION, b"").decode("utf-8", "replace")
    if name:
        return "uuid" if name == _UUID else name
    return next((kind for kind, fits in _KINDS if fits(value_type)), str(value_type))


def decoded_bytes(data_type: Any) -> int:
    """Return the bytes of a decoded value of a numeric column, at least 1."""
    value_type = _value_type(data_type)
    return 1 if pa.types.is_null(value_type) else -(-value_type.bit_width // 8)


def columns_at_once(n_rows: int, item_bytes: int) -> int:
    """Return the number of columns that one call decodes.

    Arrow holds `DECODING_BYTES` per value for all columns of a call, and more for wide ones, so few
    columns keep a row group of a million rows small; a call costs some 100 µs, so many keep one of
    a thousand fast.

    Parameters
    ----------
    n_rows : int
        Rows of the row group.
    item_bytes : int
        Bytes of a decoded value.
    """
    n_rows = max(n_rows, 1)
    most = _MAX_AT_ONCE // (n_rows * item_bytes)
    return max(min(_MIN_AT_ONCE, most), _VALUES_AT_ONCE // (n_rows * item_bytes), 1)


def as_plain_array(column: Any) -> Any:
    """Return a chunked column as one array of its value type, without a dictionary."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    # Few kernels know views.
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    elif pa.types.is_binary_view(column.type):
        column = column.cast(pa.large_binary())
    elif pa.types.is_fixed_size_binary(column.type):
        column = column.cast(pa.binary())
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return uuids_as_text(array) if isinstance(array, pa.ExtensionArray) else array


def as_floats(array: Any) -> npt.NDArray[np.float32]:
    """Return an array of numbers as float32, NaN where null; too large numbers become infinite."""
    if pa.types.is_null(array.type):
        return np.full(len(array), np.nan, np.float32)
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    elif not pa.types.is_floating(array.type):
        array = array.cast(pa.float32(), safe=False)
    with np.errstate(over="ignore", invalid="ignore"):
        return as_numbers(array, null=np.nan).astype(np.float32, copy=False)


def as_numbers(array: Any, null: float = 0) -> npt.NDArray[Any]:
    """Return an array of numbers as numpy's, with another number where it is null.

    pyarrow's own `to_numpy` imports pandas first where that is installed, which takes longer than
    converting ten thousand rows of 1,000 features.
    """
    if not array.null_count:
        return np.from_dlpack(array)
    values = np.frombuffer(array.buffers()[1], np.from_dlpack(array[:0]).dtype)
    values = values[array.offset : array.offset + len(array)].copy()
    values[null_mask(array)] = null
    return values


def null_mask(array: Any) -> npt.NDArray[np.bool_]:
    """Return a mask that is True where an array is null."""
    return np.from_dlpack(array.is_null().cast(pa.int8())).view(np.bool_)


def first_non_code(array: Any) -> int | None:
    """Return the first of some integers that isn't a code from 0 to 4; None if all are codes."""
    values = as_numbers(array)
    if values.dtype == np.int8:
        values = values.view(np.uint8)  # negative ones become large: one pass finds both
    if not len(values) or (
        values.max() <= MAX_CODE and (values.dtype == np.uint8 or values.min() >= 0)
    ):
        return None
    wrong = values.view(np.int8) if array.type == pa.int8() else values
    return int(wrong[np.flatnonzero((wrong < 0) | (wrong > MAX_CODE))[0]])


def fill_nulls(texts: Any) -> Any:
    """Return texts, or bytes, with an empty one where null."""
    return texts.fill_null(pa.scalar("", texts.type)) if texts.null_count else texts


def longest_bytes(texts: Any) -> int:
    """Return the bytes of the longest text; 0 if there is none."""
    return pc.max(pc.binary_length(texts)).as_py() or 0


def as_fixed_width(texts: Any) -> npt.NDArray[np.bytes_]:
    """Return a large_string array without nulls as fixed-width bytes."""
    n = len(texts)
    buffers = texts.buffers()
    offsets = np.frombuffer(buffers[1], np.int64, n + 1, texts.offset * 8)
    lengths = np.diff(offsets)
    width = max(1, int(lengths.max(initial=0)))
    data = np.frombuffer(buffers[2] or b"", np.uint8)
    if n and (lengths == width).all():  # Numerai's own: all 16 bytes
        return data[offsets[0] : offsets[-1]].view(f"S{width}").copy()
    out = np.zeros((n, width), np.uint8)
    inside = np.arange(width) < lengths[:, np.newaxis]
    out[inside] = data[offsets[0] : offsets[-1]]
    return out.view(f"S{width}").reshape(n)


def _value_type(data_type: Any) -> Any:
    return data_type.value_type if pa.types.is_dictionary(data_type) else data_type
