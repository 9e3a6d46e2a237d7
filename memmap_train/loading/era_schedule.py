"""Which eras make up the batches of an epoch: an exact plan, by the eras' weights. Integers only.

Each era has a *quota*: the number of its blocks that an epoch would have if numbers of blocks
weren't whole. In each epoch it gets its quota, rounded down or up, and an epoch always has the same
number of blocks. Which quotas are rounded up follows from one number in 0 … 1, which a fixed step
moves on from epoch to epoch (by the golden ratio, modulo 1: a low-discrepancy sequence). So an era
that is due every third epoch gets a block every second to fourth epoch, and is never left out by
chance for long; over all seeds the mean is exactly the quota.

The blocks of an epoch are then dealt to the batches: the eras are permuted, their blocks laid end
to end, and cut into as many rows as a batch has eras; each row is permuted, and a batch is a
column. No era has more blocks than there are batches, so it can only come twice in a batch if its
blocks are in two rows: there the permutation avoids the columns that have it already.
"""

from itertools import accumulate

import numpy as np

from ..arrays import Float64, Int32, Int64

_FIRST, _ERAS = 3, 4  # purposes of random streams, beyond those of `window_sampler`
_UNIT = 2**64  # 1, as numbers in 0 … 1 are counted
_GOLDEN = 0x9E3779B97F4A7C15  # of that unit: the golden ratio's fractional part


class EraSchedule:
    """The eras of each batch; a pure function of the seed and the epoch.

    Parameters
    ----------
    weights : ndarray of float64, shape (eras,)
        0 or more, with a sum above 0: each era's share of the blocks. No era may have more blocks
        than there are steps.
    steps_per_epoch, eras_per_batch : int
    n_blocks : int
        Blocks of an epoch. Fewer than steps times eras leave the last batch short; that is for
        weights which give each era one block.
    seed : int
    """

    def __init__(
        self,
        weights: Float64,
        *,
        steps_per_epoch: int,
        eras_per_batch: int,
        n_blocks: int,
        seed: int,
    ) -> None:
        self._n_steps, self._n_eras = steps_per_epoch, eras_per_batch
        self._n_blocks, self._seed = n_blocks, seed
        # Exact, as Python's integers: denominators of floats are powers of 2.
        ratios = [weight.as_integer_ratio() for weight in weights.tolist()]
        scale = max(denominator for _, denominator in ratios)
        self._sums = list(accumulate(n * (scale // denominator) for n, denominator in ratios))
        self._first = int(
            np.random.default_rng([_FIRST, 0, 0, seed]).integers(_UNIT, dtype=np.uint64)
        )

    @property
    def quotas(self) -> Float64:
        """The mean number of blocks of each era in an epoch, over all epochs or all seeds."""
        total = self._sums[-1]
        upto = [self._n_blocks * weight / total for weight in self._sums]
        return np.diff(upto, prepend=0)

    def blocks(self, epoch: int) -> Int64:
        """Return the number of blocks of each era in an epoch.

        Returns
        -------
        ndarray of int64, shape (eras,)
            Each era's quota, rounded down or up; the sum is the same in each epoch.
        """
        shift = (self._first + epoch * _GOLDEN) % _UNIT
        total = self._sums[-1]
        edges = [
            (self._n_blocks * upto * _UNIT + shift * total) // (total * _UNIT)
            for upto in self._sums
        ]
        return np.diff(edges, prepend=0)

    def eras(self, epoch: int) -> Int32:
        """Return the eras of an epoch's blocks, batch by batch; different ones within a batch."""
        random = np.random.default_rng([_ERAS, epoch, 0, self._seed])
        order = random.permutation(len(self._sums)).astype(np.int32)
        blocks = np.repeat(order, self.blocks(epoch)[order])
        if len(blocks) < self._n_steps * self._n_eras:
            return blocks
        rows = blocks.reshape(self._n_eras, self._n_steps)
        for number, row in enumerate(rows):
            before = rows[number - 1] if number else row[:0]
            rows[number] = _permuted(row, before, random)
        return np.ascontiguousarray(rows.T).ravel()


def _permuted(row: Int32, before: Int32, random: np.random.Generator) -> Int32:
    """Return a permuted row, none of whose eras is where the row before it has the same one.

    Only the first era of a row can be in the row before it, too.
    """
    n_first = int((row == row[0]).sum())
    free = np.flatnonzero(before != row[0]) if len(before) else np.arange(len(row))
    chosen = random.permutation(free)[:n_first]
    others = np.ones(len(row), np.bool_)
    others[chosen] = False
    permuted = np.full_like(row, row[0])
    permuted[others] = random.permutation(row[n_first:])
    return permuted
