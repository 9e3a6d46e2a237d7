"""Arrays as plain values: bytes with a data type and a shape, which any Python can pickle."""

from __future__ import annotations

from typing import Any

import numpy as np


def packed(array: np.ndarray[Any, Any]) -> tuple[str, tuple[int, ...], bytes]:
    """Return an array as plain values.

    >>> packed(np.array([1.0, 2.0], np.float32))[:2]
    ('<f4', (2,))
    """
    return array.dtype.str, array.shape, np.ascontiguousarray(array).tobytes()


def unpacked(values: tuple[str, tuple[int, ...], bytes]) -> np.ndarray[Any, Any]:
    """Return the array that was packed, as a read-only view of the bytes.

    >>> unpacked(packed(np.array([1, 2], np.int8))).tolist()
    [1, 2]
    """
    dtype, shape, content = values
    return np.frombuffer(content, dtype).reshape(shape)
