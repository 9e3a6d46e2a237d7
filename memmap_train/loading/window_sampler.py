"""The sampler of windows: a pure function of seed and step. Integers only, no files.

Takes the rows of each era and a few numbers; returns `Pool`s: the windows to read, and for each
of their rows its place among the pool's batches. An epoch is made in four steps:

1. each era's rows are cut into *windows* of `window_size` rows (the last of an era may be short);
2. all windows are permuted and laid end to end: one long line of rows;
3. the line is cut into *pools* of nearly equal numbers of batches;
4. the rows of each pool are permuted; a batch is a slice of its pool.

So a batch holds rows of many eras, each row comes at most once in an epoch, any step can be
computed without the ones before it, and there is no state to save. With `window_size=1` this is a
global shuffle. The order depends only on the arguments and on `ORDER_VERSION`.

Seeds are lists of fixed length, `[purpose, epoch, pool, seed]`, the user's seed last: numpy pads a
shorter list with zeros, so that lists of different lengths could name the same stream.
"""

from functools import cached_property, partial
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Int64
from ..errors import BatchError
from ..system.thread_lock import ThreadLock
from .sampler import Pool, StepLocation, whole

ORDER_VERSION = 1
_WINDOWS, _PLACES = 1, 2  # purposes of random streams

Index = npt.NDArray[np.signedinteger[Any]]


class WindowSampler:
    """Samples windows of rows that are shuffled in pools; thread-safe and deterministic.

    Parameters
    ----------
    rows_per_era : sequence of int
        Rows of each era, in the dataset's order.
    batch_size : int
        Rows of a batch.
    window_size : int
        Rows of a window; 1 is a global shuffle.
    pool_batches : int
        Largest number of batches that are shuffled together.
    drop_remainder : bool
        Leave out the rows that don't fill a last batch; they differ from epoch to epoch.
    seed : int
        Whole number from 0.

    Raises
    ------
    BatchError
        A number is out of range, or a batch has more rows than the data.
    """

    def __init__(
        self,
        rows_per_era: "npt.ArrayLike",
        *,
        batch_size: int,
        window_size: int,
        pool_batches: int,
        drop_remainder: bool,
        seed: int,
    ) -> None:
        rows = np.asarray(rows_per_era, dtype=np.int64)
        self.n_rows = int(rows.sum())
        if rows.min(initial=1) < 1 or not len(rows):
            raise BatchError("rows_per_era: expected at least one era, and rows in every era")
        batch_size = whole("batch_size", batch_size)
        window_size = whole("window_size", window_size)
        pool_batches = whole("pool_batches", pool_batches)
        seed = whole("seed", seed, least=0)
        if batch_size > self.n_rows:
            raise BatchError(
                f"batch_size {batch_size:,} is larger than the data ({self.n_rows:,} rows); "
                "choose a smaller batch_size"
            )
        self.batch_size, self.window_size, self.pool_batches = batch_size, window_size, pool_batches
        self.drop_remainder, self.seed = drop_remainder, seed
        self.steps_per_epoch = (
            self.n_rows // batch_size if drop_remainder else ceil(self.n_rows / batch_size)
        )
        self.pools_per_epoch = ceil(self.steps_per_epoch / pool_batches)
        # A window larger than every era is the same as one of the largest era's rows.
        self._window_rows = min(window_size, int(rows.max()))
        windows_per_era = -(-rows // self._window_rows)
        self.rows_per_era = tuple(rows.tolist())
        self._rows = rows
        self._last_window = np.cumsum(windows_per_era)  # exclusive
        self._first_window = self._last_window - windows_per_era
        self._n_windows = int(windows_per_era.sum())
        self._lock = ThreadLock()
        self._lines: dict[int, tuple[Index, Index]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments: an epoch's windows are computed faster than they are sent."""
        options = ("batch_size", "window_size", "pool_batches", "drop_remainder", "seed")
        again = partial(WindowSampler, **{name: getattr(self, name) for name in options})
        return again, (self.rows_per_era,)

    def locate(self, step: int) -> StepLocation:
        """Return the location of a step, counted over all epochs.

        Raises
        ------
        BatchError
            The step is negative.
        """
        step = whole("step", step, least=0)
        epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
        # The last pool that doesn't begin after this step; see `first_step`.
        pool = ((step_in_epoch + 1) * self.pools_per_epoch - 1) // self.steps_per_epoch
        first, _ = self._row_range(pool)
        low = step_in_epoch * self.batch_size - first
        high = min((step_in_epoch + 1) * self.batch_size, self.n_rows) - first
        next_pool_step = epoch * self.steps_per_epoch + self.first_step(pool + 1)
        return StepLocation(epoch, pool, low, high, next_pool_step)

    def pool(self, epoch: int, pool: int) -> Pool:
        """Return one pool of an epoch."""
        windows, ends = self._line(epoch)
        low, high = self._row_range(pool)
        # In the array's own dtype: searchsorted would otherwise convert millions of windows.
        first = int(np.searchsorted(ends, ends.dtype.type(low), side="right"))
        last = int(np.searchsorted(ends, ends.dtype.type(high), side="left"))
        chosen, positions = _sorted_with_positions(windows[first : last + 1])
        # Windows are numbered in file order: those of an era follow each other.
        n_windows = np.diff(np.searchsorted(chosen, self._last_window), prepend=0)
        eras = np.repeat(np.arange(len(n_windows), dtype=np.int32), n_windows)
        starts = (chosen - self._first_window[eras]) * self._window_rows
        lengths = np.minimum(self._window_rows, self._rows[eras] - starts)
        # The windows at either edge belong partly to the neighbouring pools.
        by_line = np.empty_like(positions)  # in the order of the epoch's line
        by_line[positions] = np.arange(len(chosen))
        begin, end = by_line[0], by_line[-1]
        skipped = low - (int(ends[first]) - int(lengths[begin]))
        lengths[end] -= int(ends[last]) - high
        starts[begin] += skipped
        lengths[begin] -= skipped

        places = np.arange(high - low, dtype=np.int64)
        np.random.default_rng([_PLACES, epoch, pool, self.seed]).shuffle(places)
        lengths_in_line = lengths[by_line]
        offsets = np.cumsum(lengths_in_line) - lengths_in_line
        return Pool(eras, starts, lengths, places[_ranges(offsets[positions], lengths)])

    def pool_rows(self, pool: int) -> int:
        """Return the number of rows of a pool, which is the same in every epoch."""
        low, high = self._row_range(pool)
        return high - low

    @cached_property
    def max_pool_rows(self) -> int:
        """Rows of the largest pool."""
        return max(map(self.pool_rows, range(self.pools_per_epoch)))

    def first_step(self, pool: int) -> int:
        """Return the first step of a pool within its epoch."""
        return pool * self.steps_per_epoch // self.pools_per_epoch

    def _row_range(self, pool: int) -> tuple[int, int]:
        low, high = (self.first_step(p) * self.batch_size for p in (pool, pool + 1))
        return low, min(high, self.n_rows)

    def _line(self, epoch: int) -> tuple[Index, Index]:
        """Return an epoch's permuted windows, and the number of rows up to the end of each."""
        with self._lock:  # two threads that need the same epoch compute it once
            if epoch not in self._lines:
                windows: Index = np.arange(self._n_windows, dtype=_index_dtype(self._n_windows))
                np.random.default_rng([_WINDOWS, epoch, 0, self.seed]).shuffle(windows)
                lengths = np.full(self._n_windows, self._window_rows, _index_dtype(self.n_rows))
                lengths[self._last_window - 1] -= (
                    (self._last_window - self._first_window) * self._window_rows - self._rows
                ).astype(lengths.dtype)
                ends: Index = np.cumsum(lengths[windows], dtype=lengths.dtype)
                for old in [key for key in self._lines if not epoch <= key <= epoch + 1]:
                    del self._lines[old]
                self._lines[epoch] = windows, ends
            return self._lines[epoch]


def _index_dtype(n: int) -> type[np.signedinteger[Any]]:
    """Return int32, which halves the memory of 7 million windows, or int64 if n is too large."""
    return np.int32 if n < 2**31 - 1 else np.int64


def _sorted_with_positions(windows: Index) -> tuple[Int64, Int64]:
    """Return distinct windows sorted, and the former position of each; faster than `argsort`.

    >>> [found.tolist() for found in _sorted_with_positions(np.array([7, 2, 5]))]
    [[2, 5, 7], [1, 2, 0]]
    """
    bits = len(windows).bit_length()
    both = np.sort((windows.astype(np.int64) << bits) | np.arange(len(windows)))
    return both >> bits, both & ((1 << bits) - 1)


def _ranges(starts: Int64, lengths: Int64) -> Int64:
    """Return the ranges `starts[i] … starts[i] + lengths[i]`, one after another.

    >>> _ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    ends = np.cumsum(lengths)
    steps = np.repeat(starts - (ends - lengths), lengths)
    return steps + np.arange(len(steps))
