"""The benchmarks of one era, made a chunk of rows at a time.

Takes what datasets hold of the era, and the rows that files have of it; yields arrays. Reads and
writes no files.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ...arrays import Float32, Ids, Positions
from ...dataset.ids import positions_of

if TYPE_CHECKING:
    from .rows import EraRows

CHUNK_BYTES = 16_000_000
"""Bytes of memory for a chunk of rows, and for what is made of it."""


class JoinedEra:
    """The benchmarks of one era, made a chunk of rows at a time.

    Parameters
    ----------
    n_rows, n_benchmarks : int
    layers : list of (columns, ndarray of float32)
        What datasets hold: the benchmarks' columns, and their values.
    keeps_stored : bool
        Whether a row for which no file has a value keeps what a dataset holds.

    Attributes
    ----------
    counts : dict of int to (int, int)
        The rows of each file, by its position, that were joined, and those with other ids.
    """

    def __init__(
        self,
        n_rows: int,
        n_benchmarks: int,
        layers: Sequence[tuple[list[int], Float32]],
        keeps_stored: bool,
    ) -> None:
        self.shape = n_rows, n_benchmarks
        self.counts: dict[int, tuple[int, int]] = {}
        self._layers, self._keeps_stored = layers, keeps_stored
        self._parts: dict[int, list[tuple[Positions, EraRows, int]]] = {}

    def add(self, rows: "EraRows", columns: Sequence[int], ids: Ids) -> None:
        """Join the rows of a file, whose benchmarks have these columns, by the dataset's ids."""
        at = positions_of(ids, rows.ids)
        n_joined = len(np.unique(at[at >= 0]))
        self.counts[rows.file] = n_joined, len(rows.ids) - n_joined
        for benchmark, column in enumerate(columns):
            self._parts.setdefault(column, []).append((at, rows, benchmark))

    def chunks(self) -> Iterator[Float32]:
        """Yield the benchmarks, shape (rows, benchmarks), NaN where a row has no value."""
        n_rows, n_benchmarks = self.shape
        at_once = max(1, CHUNK_BYTES // 2 // (4 * n_benchmarks))
        for first in range(0, n_rows, at_once):
            chunk = slice(first, min(first + at_once, n_rows))
            found = np.full((chunk.stop - first, n_benchmarks), np.nan, np.float32)
            for columns, stored in self._layers:
                found[:, columns] = stored[chunk]
            for column, parts in self._parts.items():
                found[:, column] = fill(
                    found[:, column],
                    ((at[chunk], partial(rows.values, place)) for at, rows, place in parts),
                    keeps_stored=self._keeps_stored,
                )
            yield found


def fill(
    stored: Float32,
    parts: Iterable[tuple[Positions, Callable[[Positions], Float32]]],
    *,
    keeps_stored: bool,
) -> Float32:
    """Return a benchmark of rows of one era after the rows of files were joined.

    Parameters
    ----------
    stored : ndarray of float32, shape (rows,)
        Its values before; NaN where there was none.
    parts : iterable of (ndarray of int, callable)
        For each file that has rows of the era: the position of each row there, or -1, and what
        returns the values at positions.
    keeps_stored : bool
        Whether a row for which no file has a value keeps its own. Otherwise it has none.

    Returns
    -------
    ndarray of float32, shape (rows,)
    """
    joined = np.full(len(stored), np.nan, np.float32)
    for positions, values_at in parts:
        found = positions >= 0
        joined[found] = values_at(positions[found])
    return np.where(np.isnan(joined), stored, joined) if keeps_stored else joined
