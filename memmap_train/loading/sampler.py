"""What a reader asks a sampler: which windows make up a pool, and where a step's rows are in it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import BatchError

Int64 = npt.NDArray[np.int64]

Int32 = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Pool:
    """The windows that are shuffled together, sorted by where they lie, and where their rows go.

    Attributes
    ----------
    eras : ndarray of int32, shape (windows,)
        Position of each window's era, ascending.
    starts : ndarray of int64, shape (windows,)
        First row of each window in its era; ascending within an era.
    lengths : ndarray of int64, shape (windows,)
        Rows of each window.
    places : ndarray of int64, shape (rows,)
        For the windows' rows, one after another, their row in the pool's buffer: a permutation.
    """

    eras: Int32
    starts: Int64
    lengths: Int64
    places: Int64

    @property
    def n_rows(self) -> int:
        """Rows of the pool."""
        return len(self.places)

    def only(self, low: int, high: int) -> "Pool":
        """Return the part whose places are in `low … high`, as windows of one row, from place 0."""
        chosen = np.flatnonzero((self.places >= low) & (self.places < high))
        ends = np.cumsum(self.lengths)
        window = np.searchsorted(ends, chosen, side="right")
        offset = chosen - (ends - self.lengths)[window]
        return Pool(
            self.eras[window],
            self.starts[window] + offset,
            np.ones(len(chosen), np.int64),
            self.places[chosen] - low,
        )


@dataclass(frozen=True, slots=True)
class StepLocation:
    """Where a step lies: its epoch, its pool in the epoch, and its rows in the pool's buffer."""

    epoch: int
    pool: int
    low: int
    high: int


def whole(name: str, value: object, *, least: int = 1) -> int:
    """Return a value as an int; BatchError if it isn't a whole number from `least` on.

    >>> whole("batch_size", np.int64(7))
    7
    """
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= least:
        return int(value)
    raise BatchError(f"{name}: expected a whole number, {least} or more, found {value!r}")
