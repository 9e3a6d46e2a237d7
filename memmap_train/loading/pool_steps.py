"""Which steps of an epoch make up which pool. Integers only.

An epoch is cut into pools of nearly equal numbers of steps, none of which has more than a limit.
"""

from dataclasses import dataclass
from math import ceil

from .sampler import whole


@dataclass(frozen=True, slots=True)
class PoolSteps:
    """An epoch's steps, cut into pools.

    Parameters
    ----------
    steps_per_epoch : int
    pool_batches : int
        Largest number of steps of a pool.
    """

    steps_per_epoch: int
    pool_batches: int

    @property
    def pools_per_epoch(self) -> int:
        """The number of pools of an epoch."""
        return ceil(self.steps_per_epoch / self.pool_batches)

    def first_step(self, pool: int) -> int:
        """Return the first step of a pool within its epoch.

        >>> [PoolSteps(7, 3).first_step(pool) for pool in range(4)]
        [0, 2, 4, 7]
        """
        return pool * self.steps_per_epoch // self.pools_per_epoch

    def find(self, step: int) -> tuple[int, int, int]:
        """Return a step's epoch, its number within the epoch, and its pool within the epoch.

        Parameters
        ----------
        step : int
            Counted over all epochs.

        Raises
        ------
        BatchError
            The step is negative.

        Examples
        --------
        >>> PoolSteps(7, 3).find(13)
        (1, 6, 2)
        """
        step = whole("step", step, least=0)
        epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
        # The last pool that doesn't begin after this step; see `first_step`.
        pool = ((step_in_epoch + 1) * self.pools_per_epoch - 1) // self.steps_per_epoch
        return epoch, step_in_epoch, pool

    def next_pool_step(self, epoch: int, pool: int) -> int:
        """Return the first step after a pool, counted over all epochs."""
        return epoch * self.steps_per_epoch + self.first_step(pool + 1)
