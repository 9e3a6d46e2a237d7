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

from ..errors import BatchError
from ..system.thread_lock import ThreadLock
from .pool_steps import PoolSteps
from .sampler import Pool, StepLocation, whole
from .window_grid import Line, WindowGrid, ranges

ORDER_VERSION = 1
_WINDOWS, _PLACES = 1, 2  # purposes of random streams


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
        batch_size = whole("batch_size", batch_size)
        window_size = whole("window_size", window_size)
        pool_batches = whole("pool_batches", pool_batches)
        seed = whole("seed", seed, least=0)
        self._grid = WindowGrid(rows_per_era, window_size)
        self.n_rows = self._grid.n_rows
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
        self._steps = PoolSteps(self.steps_per_epoch, pool_batches)
        self.pools_per_epoch = self._steps.pools_per_epoch
        self.rows_per_era = tuple(self._grid.rows.tolist())
        self._lock = ThreadLock()
        self._lines: dict[int, Line] = {}

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
        epoch, step_in_epoch, pool = self._steps.find(step)
        first, _ = self._row_range(pool)
        low = step_in_epoch * self.batch_size - first
        high = min((step_in_epoch + 1) * self.batch_size, self.n_rows) - first
        return StepLocation(epoch, pool, low, high, self._steps.next_pool_step(epoch, pool))

    def pool(self, epoch: int, pool: int) -> Pool:
        """Return one pool of an epoch."""
        low, high = self._row_range(pool)
        cut = self._grid.cut(self._line(epoch), np.array([low]), np.array([high - low]))
        places = np.arange(high - low, dtype=np.int64)
        np.random.default_rng([_PLACES, epoch, pool, self.seed]).shuffle(places)
        return Pool(cut.eras, cut.starts, cut.lengths, places[ranges(cut.offsets, cut.lengths)])

    def pool_rows(self, pool: int) -> int:
        """Return the number of rows of a pool, which is the same in every epoch."""
        low, high = self._row_range(pool)
        return high - low

    @cached_property
    def max_pool_rows(self) -> int:
        """Rows of the largest pool."""
        return max(map(self.pool_rows, range(self.pools_per_epoch)))

    def _row_range(self, pool: int) -> tuple[int, int]:
        low, high = (self._steps.first_step(p) * self.batch_size for p in (pool, pool + 1))
        return low, min(high, self.n_rows)

    def _line(self, epoch: int) -> Line:
        """Return an epoch's permuted windows."""
        with self._lock:  # two threads that need the same epoch compute it once
            if epoch not in self._lines:
                windows = self._grid.windows()
                np.random.default_rng([_WINDOWS, epoch, 0, self.seed]).shuffle(windows)
                line = self._grid.line(windows)
                for old in [key for key in self._lines if not epoch <= key <= epoch + 1]:
                    del self._lines[old]
                self._lines[epoch] = line
            return self._lines[epoch]
