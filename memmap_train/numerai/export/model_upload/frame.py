"""The rows of a live file, as Numerai's runner passes them: blocks of features, eras, ids.

Takes a pandas DataFrame of any columns in any order. pandas isn't imported: the frame brings it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

BLOCK_ROWS = 2048
MIDDLE = 0.5
"""What Numerai writes for a missing feature, and conversion too."""
MAX_CODE = 4


def column_places(frame: Any, names: list[str]) -> npt.NDArray[np.intp]:
    """Return the places of columns in a frame.

    Raises
    ------
    ValueError
        The frame lacks some of them.
    """
    # Of a name that comes twice the first column counts.
    places = {name: place for place, name in reversed(list(enumerate(frame.columns)))}
    missing = [name for name in names if name not in places]
    if missing:
        raise ValueError(
            f"live_features lacks {len(missing):,} of the {len(names):,} features that the model "
            f"was trained on, such as {missing[0]!r}"
        )
    return np.array([places[name] for name in names], np.intp)


def holds_codes(frame: Any, places: npt.NDArray[np.intp]) -> bool:
    """Return True if features are codes 0 to 4, False if they are numbers from 0 to 1.

    Codes with a missing value among them are read as floats, so it takes all columns to know.
    """
    if any(dtype.kind in "iu" for dtype in frame.dtypes.iloc[places]):
        return True
    return any(
        bool((values > 1).any())
        for low in range(0, len(frame), BLOCK_ROWS)
        for values in [floats_of(frame, slice(low, low + BLOCK_ROWS), places)]
    )


def blocks(
    frame: Any, places: npt.NDArray[np.intp], *, are_codes: bool, missing: float
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Yield the features of consecutive rows, each with the first row's number.

    Yields
    ------
    tuple of int and ndarray of float32, shape (at most BLOCK_ROWS, features)
        Numbers as in training: code / 4, and `missing` where one is missing.

    Raises
    ------
    ValueError
        A value that is neither.
    """
    for low in range(0, len(frame), BLOCK_ROWS):
        yield (
            low,
            decoded(
                floats_of(frame, slice(low, low + BLOCK_ROWS), places),
                are_codes=are_codes,
                missing=missing,
            ),
        )


def decoded(
    values: npt.NDArray[np.float32], *, are_codes: bool, missing: float
) -> npt.NDArray[np.float32]:
    """Return features as in training, in the same memory."""
    is_missing = np.isnan(values)
    if are_codes:
        # NaN is no code either, but counts as missing.
        if not (is_missing | ((values >= 0) & (values <= MAX_CODE) & (values % 1 == 0))).all():
            raise ValueError("live_features has features that aren't codes 0 to 4")
        values *= np.float32(0.25)
    elif np.isinf(values).any():
        raise ValueError("live_features has infinite features")
    values[is_missing] = missing
    return values


def floats_of(frame: Any, rows: Any, places: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """Return some rows of columns as a new float32 array; NaN where one is missing."""
    part = frame.iloc[rows].iloc[:, places]
    has_plain_dtypes = all(
        isinstance(dtype, np.dtype) and dtype.kind in "iuf" for dtype in part.dtypes
    )
    if has_plain_dtypes:
        return np.array(part.to_numpy(dtype=np.float32), np.float32, order="C")
    found = np.empty(part.shape, np.float32)
    for place in range(part.shape[1]):  # of columns with objects only alone pd.NA becomes NaN
        found[:, place] = part.iloc[:, place].to_numpy(dtype=np.float32, na_value=np.nan)
    return found


def rows_of_eras(frame: Any) -> list[npt.NDArray[np.intp]]:
    """Return the rows of each era; all rows where the frame has no eras."""
    if not len(frame):
        return []
    eras = _labels_of(frame, "era")
    if eras is None:
        return [np.arange(len(frame))]
    codes, _ = eras.factorize()  # -1 where it is missing
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    return np.split(order, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1)


def with_ids(frame: Any, values: npt.NDArray[np.float64]) -> Any:
    """Return predictions as a plain DataFrame whose index is named `id`."""
    # The runner refuses subclasses of DataFrame; an index makes a plain one.
    index = _labels_of(frame, "id")
    found = (frame.index if index is None else index).rename("id").to_frame(name="prediction")
    found["prediction"] = values
    return found


def _labels_of(frame: Any, name: str) -> Any:
    """Return a column, the first of this name, or a level of the index; None without either.

    It is an index; of an index of several levels those of this name alone count.
    """
    places = np.flatnonzero(frame.columns == name)
    if len(places):
        column = frame.columns[places[0]]
        return frame.iloc[:, places[:1]].set_index(column).index
    if name in frame.index.names:
        return frame.index.get_level_values(name)
    return None
