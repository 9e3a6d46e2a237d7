"""The sampler of eras: batches of several eras, a block of rows of each. Integers only, no files.

A pure function of seed and step, like `window_sampler`. Which eras make up a batch, and how often
each of them comes, is the plan of `era_schedule`. The rows of a block are drawn in *windows*:

1. in each epoch the rows of each era are cut into windows, from a random row on: after the last
   row the first one follows;
2. the windows are permuted, except for the last one if it is short, and laid end to end;
3. the era's blocks are successive sections of that line, which begins again where it ends.

So the rows of a block are different ones, and a window whose rows divide those of a block is read
whole. In an epoch the rows of an era come equally often, up to one time; and as the windows begin
anywhere, all rows of an era come equally often in expectation, exactly. With weights by rows that
is so for all rows of all eras.

A block of a *whole era* has the era's rows in their order. Eras that are smaller than the largest
one are filled up with *padding*: their own rows once more, which the reader gives no targets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from math import ceil
from typing import Any

import numpy as np

from ..arrays import Float64, Int32, Int64
from ..errors import BatchError, listed
from ..system.thread_lock import ThreadLock
from ..text import counted
from .era_schedule import EraSchedule
from .pool_steps import PoolSteps
from .sampler import Pool, StepLocation, whole
from .window_grid import Line, WindowGrid, ranges

ERA_ORDER_VERSION = 1
_WINDOWS = 5  # a purpose of random streams, beyond those of `era_schedule`
WHOLE_ERAS = 0
"""The number of `rows_per_era` that stands for all rows of each era."""
_OPTIONS = (
    "eras_per_batch",
    "rows_per_era",
    "weights",
    "window_size",
    "pool_batches",
    "drop_remainder",
    "seed",
)
_ROUNDING = 1e-14  # of shares that are sums of floats


@dataclass(frozen=True, slots=True)
class _Epoch:
    """The plan of an epoch.

    Attributes
    ----------
    eras, numbers : ndarray, shape (blocks,)
        Each block's era, batch by batch, and how many blocks of that era come before it.
    line : Line
        The windows of each era, in the order in which they are used.
    first_rows : ndarray of int64, shape (eras,), optional
        The row of each era with which its first window begins; by default the first.
    """

    eras: Int32
    numbers: Int64
    line: Line
    first_rows: Int64 | None = None


class EraSampler:
    """Samples batches of eras; thread-safe and deterministic.

    Parameters
    ----------
    eras : mapping of str to int
        Labels of the eras, in the dataset's order, and their rows.
    eras_per_batch : int
        Different eras of a batch.
    rows_per_era : int
        Rows of each of them, or `WHOLE_ERAS`.
    weights : ndarray of float64, shape (eras,)
        0 or more, with a sum above 0: each era's share of all blocks.
    window_size : int
        Rows that are drawn and read together; 1 gives random rows.
    pool_batches : int
        Largest number of batches that are read together. It has no influence on the order.
    drop_remainder : bool
        False lets a last batch of whole eras have fewer eras, so that each comes once in an epoch.
    seed : int
        Whole number from 0.

    Attributes
    ----------
    block_rows : int
        Rows of each era in a batch, padding included.

    Raises
    ------
    BatchError
        A number is out of range, an era has too few rows, or an era would come more than once in a
        batch.
    """

    def __init__(
        self,
        eras: Mapping[str, int],
        *,
        eras_per_batch: int,
        rows_per_era: int,
        weights: Float64,
        window_size: int,
        pool_batches: int,
        drop_remainder: bool,
        seed: int,
    ) -> None:
        self.eras, self._labels = dict(eras), tuple(eras)
        self.eras_per_batch = whole("eras_per_batch", eras_per_batch)
        self.rows_per_era = whole("rows_per_era", rows_per_era, least=0)
        self.window_size = whole("window_size", window_size)
        self.pool_batches = whole("pool_batches", pool_batches)
        self.drop_remainder, self.weights = drop_remainder, weights
        self.seed = whole("seed", seed, least=0)
        self._grid = WindowGrid(list(self.eras.values()), window_size)
        self._check_sizes()
        self.block_rows = self.rows_per_era or int(self._grid.rows.max())
        self.batch_size = self.eras_per_batch * self.block_rows
        n_blocks = len(self.eras)
        total, of_batch = self._grid.n_rows, self.batch_size
        if self.has_whole_eras:
            total, of_batch = n_blocks, self.eras_per_batch
        self.steps_per_epoch = total // of_batch if drop_remainder else ceil(total / of_batch)
        if drop_remainder:
            n_blocks = self.steps_per_epoch * self.eras_per_batch
        self._n_blocks = n_blocks
        self._check_weights()
        self._steps = PoolSteps(self.steps_per_epoch, self.pool_batches)
        self._schedule = EraSchedule(
            weights,
            steps_per_epoch=self.steps_per_epoch,
            eras_per_batch=self.eras_per_batch,
            n_blocks=n_blocks,
            seed=self.seed,
        )
        self._lock = ThreadLock()
        self._eras: dict[int, Int32] = {}
        self._epochs: dict[int, _Epoch] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments: an epoch's plan is computed faster than it is sent."""
        options = {name: getattr(self, name) for name in _OPTIONS}
        return partial(EraSampler, **options), (self.eras,)

    @property
    def has_whole_eras(self) -> bool:
        """Whether a block is a whole era."""
        return self.rows_per_era == WHOLE_ERAS

    @property
    def blocks_per_epoch(self) -> Float64:
        """The mean number of blocks of each era in an epoch."""
        return self._schedule.quotas

    @cached_property
    def max_pool_rows(self) -> int:
        """Rows of the largest pool."""
        ranges_of_blocks = map(self._blocks_of_pool, range(self._steps.pools_per_epoch))
        return max(high - low for low, high in ranges_of_blocks) * self.block_rows

    def locate(self, step: int) -> StepLocation:
        """Return the location of a step, counted over all epochs.

        Raises
        ------
        BatchError
            The step is negative.
        """
        epoch, step_in_epoch, pool = self._steps.find(step)
        first, _ = self._blocks_of_pool(pool)
        low, high = ((block - first) * self.block_rows for block in self._blocks_of(step_in_epoch))
        return StepLocation(epoch, pool, low, high, self._steps.next_pool_step(epoch, pool))

    def eras_of(self, step: int) -> tuple[str, ...]:
        """Return the labels of the eras of a step's batch, in the order of its blocks."""
        epoch, step_in_epoch, _ = self._steps.find(step)
        low, high = self._blocks_of(step_in_epoch)
        return tuple(self._labels[era] for era in self._eras_of_epoch(epoch)[low:high].tolist())

    def pool(self, epoch: int, pool: int) -> Pool:
        """Return one pool of an epoch."""
        plan = self._epoch(epoch)
        low, high = self._blocks_of_pool(pool)
        eras, numbers = plan.eras[low:high], plan.numbers[low:high]
        n_rows = self._grid.rows[eras]
        begins = numbers * self.rows_per_era % n_rows
        # A block is a section of its era's line, which it may go through more than once.
        laps = (begins + self.block_rows - 1) // n_rows + 1
        block = np.repeat(np.arange(len(eras)), laps)
        lap = ranges(np.zeros_like(laps), laps)
        eras, n_rows, begins = eras[block], n_rows[block], begins[block]
        starts = np.maximum(begins, lap * n_rows)
        stops = np.minimum(begins + self.block_rows, (lap + 1) * n_rows)
        firsts = self._grid.first_row[eras] + starts - lap * n_rows
        cut = self._grid.cut(plan.line, firsts, stops - starts)
        if plan.first_rows is not None:
            cut = self._grid.turned(cut, plan.first_rows)
        places = block * self.block_rows + starts - begins
        places = ranges(places[cut.sections] + cut.offsets, cut.lengths)
        is_padding = (starts - begins >= n_rows)[cut.sections] if self.has_whole_eras else None
        return Pool(cut.eras, cut.starts, cut.lengths, places, is_padding)

    def _blocks_of(self, step_in_epoch: int) -> tuple[int, int]:
        """Return the first block of a step's batch, and the one after its last."""
        first = step_in_epoch * self.eras_per_batch
        return first, min(first + self.eras_per_batch, self._n_blocks)

    def _blocks_of_pool(self, pool: int) -> tuple[int, int]:
        """Return the first block of a pool within its epoch, and the one after its last."""
        first_step, next_step = (self._steps.first_step(number) for number in (pool, pool + 1))
        return self._blocks_of(first_step)[0], self._blocks_of(next_step - 1)[1]

    def _eras_of_epoch(self, epoch: int) -> Int32:
        with self._lock:  # two threads that need the same epoch compute it once
            if epoch not in self._eras:
                _forget(self._eras, range(epoch - 1, epoch + 2))
                self._eras[epoch] = self._schedule.eras(epoch)
            return self._eras[epoch]

    def _epoch(self, epoch: int) -> _Epoch:
        with self._lock:
            if epoch not in self._epochs:
                _forget(self._epochs, range(epoch, epoch + 2))
                self._epochs[epoch] = self._plan(epoch)
            return self._epochs[epoch]

    def _plan(self, epoch: int) -> _Epoch:
        grid, windows, first_rows = self._grid, self._grid.windows(), None
        eras = self._eras_of_epoch(epoch)
        if not self.has_whole_eras:
            random = np.random.default_rng([_WINDOWS, epoch, 0, self.seed])
            first_rows = random.integers(grid.rows)
            ends = grid.last_window - (grid.rows % grid.window_rows > 0)
            for first, end in zip(grid.first_window, ends, strict=True):
                random.shuffle(windows[first:end])
        return _Epoch(eras, _numbers(eras), grid.line(windows), first_rows)

    def _check_sizes(self) -> None:
        """Raise a BatchError unless there are enough eras, and rows in each of them."""
        n_eras = len(self.eras)
        if self.eras_per_batch > n_eras:
            raise BatchError(
                f"eras_per_batch {self.eras_per_batch:,} is larger than the data "
                f"({counted(n_eras, 'era')}); choose fewer"
            )
        small = [era for era, n_rows in self.eras.items() if n_rows < self.rows_per_era]
        if small:
            least = min(self.eras.values())
            raise BatchError(
                f"rows_per_era {self.rows_per_era:,} is larger than {counted(len(small), 'era')} "
                f"({listed(small, 3)}), of which the smallest has {counted(least, 'row')}; choose "
                "fewer, or leave such eras out by dataset.select(...)"
            )

    def _check_weights(self) -> None:
        """Raise a BatchError if an era would come more than once in a batch."""
        if not self.drop_remainder and not (self.has_whole_eras and np.ptp(self.weights) == 0):
            raise BatchError(
                "drop_remainder: expected True, since batches of eras are always full; only whole "
                "eras (rows_per_era=0) of equal weights can come exactly once in an epoch"
            )
        heaviest = int(self.weights.argmax())
        share = self.weights[heaviest] / self.weights.sum()
        if share * self.eras_per_batch > 1 + _ROUNDING:
            raise BatchError(
                f"era_weights: era {self._labels[heaviest]!r} has {share:.1%} of the weights; "
                f"expected {1 / self.eras_per_batch:.1%} at most, since a batch has "
                f"{self.eras_per_batch:,} different eras; choose fewer eras_per_batch, or other "
                "weights ('equal' always fits)"
            )


def _numbers(eras: Int32) -> Int64:
    """Return for each block how many blocks of its era come before it.

    >>> _numbers(np.array([2, 0, 2, 2, 0])).tolist()
    [0, 0, 1, 2, 1]
    """
    order = np.argsort(eras, kind="stable")
    firsts = np.flatnonzero(np.diff(eras[order], prepend=-1))
    numbers = np.empty(len(eras), np.int64)
    numbers[order] = ranges(np.zeros(len(firsts), np.int64), np.diff(firsts, append=len(eras)))
    return numbers


def _forget(plans: dict[int, Any], but: range) -> None:
    """Drop the plans of other epochs than these."""
    for epoch in [key for key in plans if key not in but]:
        del plans[epoch]
