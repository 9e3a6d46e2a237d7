"""The rows that a model upload is tried on: a live file, or rows that are made.

Takes a path, or names of features; returns the features of the rows as a model reads them.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...conversion.parquet.file import read_file_info
from ...conversion.parquet.handle import ParquetHandle
from ...conversion.parquet.writer import SourceWriter
from ...errors import ExportError, listed

MADE_ROWS = 7000
"""About as many as a live era has."""
MAX_ROWS = 50_000
"""Of a file: one era has fewer, and this many of all features take 0.7 GB."""
_MISSING = np.float32(0.5)  # as conversion has it


def make_live(path: Path, features: Sequence[str]) -> None:
    """Write a live file with random codes, of Numerai's shape."""
    generator = np.random.default_rng([0])
    codes = generator.integers(0, 5, (len(features), MADE_ROWS), np.int8)
    ids = np.array([f"n{number:015x}" for number in range(MADE_ROWS)], "S16")
    with SourceWriter(path, features, ["target"], rows_per_group=MADE_ROWS) as writer:
        targets = np.full((MADE_ROWS, 1), np.nan, np.float32)
        writer.write_era("X", "live", features=codes.T, targets=targets, ids=ids)


class LiveRows:
    """The rows of a live file.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    n_rows : int

    Raises
    ------
    ExportError
        It has no rows, or more than `MAX_ROWS`.
    SourceError
        It can't be read.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._info = path, read_file_info(path)
        self.n_rows = sum(self._info.row_groups)
        if not 0 < self.n_rows <= MAX_ROWS:
            raise ExportError(
                f"{path}: expected the rows of a live file, 1 to {MAX_ROWS:,}, found "
                f"{self.n_rows:,}; name live.parquet"
            )

    def check_names(self, names: Sequence[str]) -> None:
        """Raise an ExportError if the file lacks some features."""
        missing = [name for name in names if name not in self._info.types]
        if missing:
            raise ExportError(
                f"{self.path}: expected the {len(names):,} features of the run, {len(missing):,} "
                f"are missing: {listed(missing, 3)}; name the live file of the same data version"
            )

    def features(self, names: Sequence[str], fill_missing: float | None) -> npt.NDArray[np.float32]:
        """Return features of all rows as in training, shape (rows, features).

        Raises
        ------
        SourceError
            A value that isn't a code.
        """
        found = np.empty((self.n_rows, len(names)), np.float32)
        handle, low = ParquetHandle(self._info), 0
        try:
            for group, n_rows in enumerate(self._info.row_groups):
                columns = handle.floats(group, names, divide_codes=True)
                for place, column in enumerate(columns):
                    found[low : low + n_rows, place] = column
                low += n_rows
        finally:
            handle.close()
        found[np.isnan(found)] = _MISSING if fill_missing is None else fill_missing
        return found
