"""A toy source whose cells hold their coordinates: any misplacement shows as a wrong coordinate.

Every cell is a function of (era, row, column), computed here a second time for comparison:

- a float cell, and every target, is a *coordinate*: one float32 that holds era, row and column
  exactly, and no two cells share it; `where` reads it back (use it to see what went wrong);
- so is a benchmark's value;
- an int8 cell is a code 0..4, a hash of (era, row, column);
- an id is text made of era and row.

A row's number is its position among the rows of its era *in the file*, whatever lies between them.
So `toy_features(era, rows, …)` is what the era's shard must hold, however the file is laid out.
"""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

Eras = Mapping[str, int] | Sequence[tuple[str, int]]
Rows = int | Sequence[int] | npt.NDArray[np.integer]

MAX_ROWS, MAX_FEATURES, MAX_TARGETS, MAX_BENCHMARKS = 4096, 320, 160, 12
"""What a coordinate can hold; of eras, labels whose number is below 2,000, or without one."""


def toy_table(
    eras: Eras,
    *,
    n_features: int = 5,
    n_targets: int = 2,
    dtype: str = "int8",
    order: Sequence[int] | npt.NDArray[np.integer] | None = None,
    ids: bool = True,
    nulls: bool = False,
    seed: int = 0,
    data_type: str = "train",
    first_rows: Mapping[str, int] | None = None,
) -> pa.Table:
    """Return the rows of a toy source: era, data_type, feature_*, target*, id.

    Parameters
    ----------
    eras : mapping of label to rows, or list of (label, rows)
        In the file's order. The rows of a repeated label are numbered on.
    n_features, n_targets : int
    dtype : {"int8", "float32", "float64"}
        Type of the features. float64 cells differ from float32 ones by less than the rounding.
    order : sequence of int, optional
        A permutation of all rows: which of the rows above stands first, second, … in the file. Rows
        are numbered after it.
    ids : bool
        Whether there is an `id` column.
    nulls : bool
        Whether about every seventh feature cell and target cell is missing: null; in float features
        null in odd columns and NaN in even ones.
    seed : int
        Other seeds give other features; targets and ids stay.
    data_type : str
        Value of the column `data_type` in every row.
    first_rows : mapping of label to int, optional
        The number of an era's first row in this file, for an era that another file begins.
    """
    pairs = list(eras.items()) if isinstance(eras, Mapping) else list(eras)
    labels = np.repeat([label for label, _ in pairs], [rows for _, rows in pairs])
    if order is not None:
        labels = labels[np.asarray(order)]
    rows = np.zeros(len(labels), np.int64)
    for label in dict.fromkeys(labels.tolist()):
        mine = labels == label
        rows[mine] = np.arange(mine.sum()) + (first_rows or {}).get(label, 0)
    features = np.empty((len(labels), n_features), np.int8 if dtype == "int8" else np.float64)
    no_feature = np.zeros(features.shape, bool)
    targets = np.empty((len(labels), n_targets), np.float32)
    names = np.empty(len(labels), object)
    for label in dict.fromkeys(labels.tolist()):
        mine = labels == label
        if dtype == "int8":
            features[mine] = _codes(label, rows[mine], n_features, seed)
        else:
            features[mine] = _coordinates(label, rows[mine] ^ seed, range(n_features))
        no_feature[mine] = nulls & _missing(label, rows[mine], n_features, "feature")
        targets[mine] = toy_targets(label, rows[mine], n_targets, nulls=nulls)
        names[mine] = [name.decode() for name in toy_ids(label, rows[mine])]
    if dtype == "float64":
        features *= 1 + 2.0**-30
    columns: dict[str, Any] = {
        "era": pa.array(labels.tolist(), pa.string()),
        "data_type": pa.array([data_type] * len(labels), pa.string()),
    }
    for column, name in enumerate(feature_names(n_features)):
        cells, missing = features[:, column].astype(dtype), no_feature[:, column]
        if dtype != "int8" and column % 2 == 0:
            columns[name] = pa.array(np.where(missing, cells.dtype.type(np.nan), cells))
        else:
            columns[name] = pa.array(cells, mask=missing)
    for column, name in enumerate(target_names(n_targets)):
        columns[name] = pa.array(targets[:, column], from_pandas=True)
    if ids:
        columns["id"] = pa.array(names, pa.string())
    return pa.table(columns)


def write_toy(
    path: Path,
    eras: Eras,
    *,
    n_features: int = 5,
    n_targets: int = 2,
    dtype: str = "int8",
    row_group_rows: int = 1000,
    order: Sequence[int] | npt.NDArray[np.integer] | None = None,
    ids: bool = True,
    nulls: bool = False,
    seed: int = 0,
    data_type: str = "train",
    first_rows: Mapping[str, int] | None = None,
) -> None:
    """Write a toy source as parquet, row groups of `row_group_rows` rows; see `toy_table`."""
    table = toy_table(
        eras,
        n_features=n_features,
        n_targets=n_targets,
        dtype=dtype,
        order=order,
        ids=ids,
        nulls=nulls,
        seed=seed,
        data_type=data_type,
        first_rows=first_rows,
    )
    pq.write_table(table, path, row_group_size=row_group_rows)


def feature_names(n_features: int) -> list[str]:
    """Return the names of the features' columns in the file's order, which isn't alphabetical."""
    return [f"feature_{'zyx'[column % 3]}{column}" for column in range(n_features)]


def target_names(n_targets: int) -> list[str]:
    """Return the names of the targets' columns; the first is `target`, which is no alias."""
    return ["target", *(f"target_t{column}_20" for column in range(1, n_targets))][:n_targets]


def toy_features(
    era: str,
    rows: Rows,
    n_features: int,
    dtype: str,
    *,
    nulls: bool = False,
    missing: float = 0.5,
    seed: int = 0,
) -> npt.NDArray[np.float32]:
    """Return the features that rows of an era must have: float32, shape (rows, features).

    Parameters
    ----------
    era : str
    rows : int or sequence of int
        Number of rows from the first on, or the numbers of rows.
    n_features : int
    dtype : {"int8", "float32", "float64"}
        Type of the features in the source; that of the store makes no difference.
    nulls, seed
        Arguments with which the source was written.
    missing : float
        Value in place of a missing feature.
    """
    numbers = _numbers(rows)
    if dtype == "int8":
        found = _codes(era, numbers, n_features, seed).astype(np.float32) / np.float32(4)
    else:
        found = _coordinates(era, numbers ^ seed, range(n_features))
    found[nulls & _missing(era, numbers, n_features, "feature")] = missing
    return found


def toy_targets(
    era: str, rows: Rows, n_targets: int, *, nulls: bool = False
) -> npt.NDArray[np.float32]:
    """Return the targets of rows of an era: float32, shape (rows, targets), NaN where missing."""
    numbers = _numbers(rows)
    # Columns of their own: no feature can pass for a target.
    columns = range(MAX_FEATURES, MAX_FEATURES + n_targets)
    found = _coordinates(era, numbers, columns)
    found[nulls & _missing(era, numbers, n_targets, "target")] = np.nan
    return found


def toy_benchmarks(
    era: str, rows: Rows, n_benchmarks: int, *, nulls: bool = False
) -> npt.NDArray[np.float32]:
    """Return the benchmarks of rows of an era: float32, shape (rows, benchmarks), NaN if missing.

    With `nulls`, about every seventh is missing.
    """
    numbers = _numbers(rows)
    first = MAX_FEATURES + MAX_TARGETS  # no feature and no target can pass for a benchmark
    found = _coordinates(era, numbers, range(first, first + n_benchmarks))
    found[nulls & _missing(era, numbers, n_benchmarks, "benchmark")] = np.nan
    return found


def toy_counts(
    era: str, rows: Rows, n_features: int, dtype: str, *, nulls: bool = False, seed: int = 0
) -> npt.NDArray[np.int64]:
    """Return the number of rows with code 0, 1, 2, 3, 4, or none: shape (features, 6)."""
    cells = toy_features(era, rows, n_features, dtype, nulls=nulls, missing=np.nan, seed=seed)
    counts = [(cells == code / 4).sum(axis=0) for code in range(5)]
    return np.stack([*counts, np.isnan(cells).sum(axis=0)], axis=1)


def toy_ids(era: str, rows: Rows) -> npt.NDArray[np.bytes_]:
    """Return the ids of rows of an era: 16 bytes each."""
    return np.array([f"n{_era_code(era):07x}{row:08x}" for row in _numbers(rows)], "S16")


def where(cell: float) -> tuple[int, int, int]:
    """Return (era number, row, column) of a float cell; columns of targets begin at 0, too.

    >>> where(float(toy_features("0012", [34], 6, "float32")[0, 5]))
    (12, 34, 5)
    >>> where(float(toy_targets("0012", [34], 2)[0, 1]))
    (12, 34, 1)
    """
    significand, exponent = np.frexp(np.float64(cell))
    place = round(float(abs(significand)) * 2**24) - 2**23
    column = (int(exponent) + 120) * 2 + int(cell < 0)
    return place // MAX_ROWS, place % MAX_ROWS, column % MAX_FEATURES


def _numbers(rows: Rows) -> npt.NDArray[np.int64]:
    return np.arange(rows) if isinstance(rows, int) else np.asarray(rows, np.int64)


def _era_code(label: str) -> int:
    """Return a number below 2,048 for a label: its own number if it holds one."""
    digits = "".join(filter(str.isdigit, label))
    return int(digits) if digits else 2000 + zlib.crc32(label.encode()) % 48


def _coordinates(
    label: str, rows: npt.NDArray[np.int64], columns: range
) -> npt.NDArray[np.float32]:
    """Return cells with era and row in the significand, and the column in sign and exponent."""
    assert _era_code(label) < 2048
    assert columns.stop <= MAX_FEATURES + MAX_TARGETS + MAX_BENCHMARKS
    assert rows.max(initial=0) < MAX_ROWS
    places = 2**23 + _era_code(label) * MAX_ROWS + rows
    column = np.array(columns, np.int64)
    signs = np.where(column % 2, -1.0, 1.0)
    return np.ldexp(places[:, np.newaxis] * signs, column // 2 - 120 - 24).astype(np.float32)


def _codes(
    label: str, rows: npt.NDArray[np.int64], n_features: int, seed: int
) -> npt.NDArray[np.int8]:
    return (_hash(label, rows, n_features, f"code {seed}") % np.uint64(5)).astype(np.int8)


def _missing(
    label: str, rows: npt.NDArray[np.int64], n_columns: int, what: str
) -> npt.NDArray[np.bool_]:
    missing: npt.NDArray[np.bool_] = (
        _hash(label, rows, n_columns, f"missing {what}") % np.uint64(7) == 0
    )
    return missing


def _hash(
    label: str, rows: npt.NDArray[np.int64], n_columns: int, purpose: str
) -> npt.NDArray[np.uint64]:
    """Return hashes (splitmix64) of cells: shape (rows, columns)."""
    base = zlib.crc32(f"{purpose} {label}".encode())
    cells = (rows[:, np.newaxis] * 2**12 + np.arange(n_columns)).astype(np.uint64)
    cells += np.uint64(base * 2**32)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        cells ^= cells >> np.uint64(shift)
        cells *= np.uint64(factor)
    return cells ^ (cells >> np.uint64(31))
