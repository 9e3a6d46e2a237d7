"""Types of numpy arrays by what they hold, for annotations. Imports numpy only."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.generic]
"""An array whose dtype doesn't matter."""
Stored: TypeAlias = npt.NDArray[Any]
"""An array as a file holds it; its dtype is known only when the file is open."""
Floats: TypeAlias = npt.NDArray[np.floating[Any]]
"""Floating-point numbers of any width."""
Float32: TypeAlias = npt.NDArray[np.float32]
Float64: TypeAlias = npt.NDArray[np.float64]
Int8: TypeAlias = npt.NDArray[np.int8]
Int32: TypeAlias = npt.NDArray[np.int32]
Int64: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Ids: TypeAlias = npt.NDArray[np.bytes_]
"""Ids of rows: UTF-8 of one width, padded with zeros."""
Mask: TypeAlias = npt.NDArray[np.bool_]
Positions: TypeAlias = npt.NDArray[np.intp]
"""Positions in another array."""
