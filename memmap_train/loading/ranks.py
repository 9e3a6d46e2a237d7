"""The part of each batch that one rank of a distributed training reads. Integers only.

Of a batch of B rows, rank r of n reads those from ``r B // n`` up to, not including,
``(r + 1) B // n``: the parts of all ranks, one after another, are the batch. So the order of rows
doesn't depend on the number of ranks. A part is a row larger than another one where n doesn't
divide B. Of a batch of eras a rank reads whole eras: their number must be divisible by n. A last
batch that is short is shared out by the same rule, and leaves some ranks without rows where it has
fewer rows, or eras, than there are ranks.
"""

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from ..arrays import Int64, Mask
from ..errors import BatchError
from ..system.thread_lock import ThreadLock
from .era_sampler import EraSampler
from .plans import Planned
from .sampler import Pool, Sampler, StepLocation, whole
from .window_sampler import WindowSampler

_MAX_KEPT = 4  # parts of pools: those that two streams read


def share(n_items: int, rank: int, world_size: int) -> range:
    """Return which of a batch's rows or eras a rank reads.

    >>> [share(10, rank, 4) for rank in range(4)]
    [range(0, 2), range(2, 5), range(5, 7), range(7, 10)]
    """
    return range(rank * n_items // world_size, (rank + 1) * n_items // world_size)


def checked_rank(rank: object, world_size: object) -> tuple[int, int]:
    """Return the rank and the number of ranks; BatchError unless the rank is one of them."""
    n_ranks, number = whole("world_size", world_size), whole("rank", rank, least=0)
    if number >= n_ranks:
        raise BatchError(
            f"rank: expected 0 to {n_ranks - 1} of {n_ranks}, found {number}; ranks count from 0, "
            "and world_size is their number"
        )
    return number, n_ranks


def check_same_order(sampler: Sampler, reasons: tuple[str, ...]) -> None:
    """Raise a BatchError if each rank would choose windows, and with them an order, of its own.

    Parameters
    ----------
    sampler : Sampler
    reasons : tuple of str
        Why its windows were chosen; empty if they were given.
    """
    if not reasons or not isinstance(sampler, WindowSampler | EraSampler):
        return
    if isinstance(sampler, EraSampler) and sampler.has_whole_eras:
        return  # their rows come in the order of the files
    raise BatchError(
        "window_size: expected a number where there are several ranks: each would choose "
        "windows by its own memory, and read other rows; all ranks may take "
        f"window_size={sampler.window_size}, pool_batches={sampler.pool_batches}"
    )


def sampler_of_rank(planned: Planned, rank: int, world_size: int) -> Sampler:
    """Return the sampler of a rank's part of each batch.

    Raises
    ------
    BatchError
        Each rank would choose its own windows; the eras of a batch can't be shared out evenly, or
        a batch has fewer rows than there are ranks.
    """
    if world_size == 1:
        return planned.trusted
    sampler, unit_rows = planned.sampler, 1
    check_same_order(sampler, planned.reasons)
    if isinstance(sampler, EraSampler):
        if sampler.eras_per_batch % world_size:
            raise BatchError(
                f"world_size: expected a divisor of eras_per_batch, {sampler.eras_per_batch:,}, "
                f"because each rank reads whole eras, found {world_size:,}; choose a multiple of "
                f"{world_size:,} for eras_per_batch"
            )
        unit_rows = sampler.block_rows
    first = planned.trusted.locate(0)
    if first.high - first.low < world_size:
        raise BatchError(
            f"world_size: a batch has {first.high - first.low:,} rows, too few for {world_size:,} "
            "ranks; choose a larger batch_size, or fewer ranks"
        )
    return RankSampler(planned.trusted, rank, world_size, unit_rows)


@dataclass(frozen=True, slots=True)
class _Part:
    """The part of a pool that a rank reads.

    Attributes
    ----------
    steps : range
        The steps of the pool, counted over all epochs.
    is_read : ndarray of bool, shape (places,)
        Whether the rank reads the row at a place of the pool.
    n_before : ndarray of int64, shape (places + 1,)
        How many rows it reads at the places before each one.
    """

    steps: range
    is_read: Mask
    n_before: Int64


class RankSampler:
    """Samples a rank's part of the batches of another sampler; thread-safe and deterministic.

    The pools are those of the other sampler, and are named by their first steps.

    Parameters
    ----------
    sampler : Sampler
        The sampler of all ranks.
    rank, world_size : int
    unit_rows : int
        Rows that one rank reads together: 1, or the rows of an era in a batch.
    """

    def __init__(self, sampler: Sampler, rank: int, world_size: int, unit_rows: int) -> None:
        self._sampler = sampler
        self._rank, self._world_size, self._unit_rows = rank, world_size, unit_rows
        self.steps_per_epoch = sampler.steps_per_epoch
        self.max_pool_rows = sampler.max_pool_rows
        if isinstance(sampler, WindowSampler | EraSampler):  # of another one it isn't known
            n_units = ceil(sampler.batch_size // unit_rows / world_size)
            n_batches = ceil(sampler.max_pool_rows / sampler.batch_size)
            self.max_pool_rows = min(self.max_pool_rows, n_batches * n_units * unit_rows)
        self._lock = ThreadLock()
        self._parts: list[_Part] = []

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments: parts of pools are computed again."""
        return RankSampler, (self._sampler, self._rank, self._world_size, self._unit_rows)

    def locate(self, step: int) -> StepLocation:
        """Return the location of a rank's part of a step; it may have no rows.

        Raises
        ------
        BatchError
            The step is negative.
        """
        place = self._sampler.locate(step)
        part, rows = self._part(step, place), self._own(place)
        low, high = (int(part.n_before[end]) for end in (rows.start, rows.stop))
        return StepLocation(place.epoch, part.steps.start, low, high, place.next_pool_step)

    def pool(self, epoch: int, pool: int) -> Pool:
        """Return the rank's part of a pool, which is named by its first step."""
        place = self._sampler.locate(pool)
        part, whole_pool = self._part(pool, place), self._sampler.pool(epoch, place.pool)
        chosen = np.flatnonzero(part.is_read[whole_pool.places])
        return whole_pool.rows(chosen, part.n_before[whole_pool.places[chosen]])

    def _own(self, place: StepLocation) -> range:
        """Return the places of the rank's rows of a batch."""
        n_units = (place.high - place.low) // self._unit_rows
        units = share(n_units, self._rank, self._world_size)
        low, high = (place.low + unit * self._unit_rows for unit in (units.start, units.stop))
        return range(low, high)

    def _part(self, step: int, place: StepLocation) -> _Part:
        with self._lock:  # two threads that need the same part compute it once
            for part in self._parts:
                if step in part.steps:
                    return part
            part = self._new_part(step, place)
            self._parts = [part, *self._parts[: _MAX_KEPT - 1]]
            return part

    def _new_part(self, step: int, place: StepLocation) -> _Part:
        first = int(step)
        while first > 0 and _pool_of(self._sampler.locate(first - 1)) == _pool_of(place):
            first -= 1
        steps = range(first, place.next_pool_step)
        is_read = np.zeros(self._sampler.max_pool_rows, np.bool_)
        for rows in map(self._own, map(self._sampler.locate, steps)):
            is_read[rows.start : rows.stop] = True
        n_before = np.zeros(len(is_read) + 1, np.int64)
        np.cumsum(is_read, out=n_before[1:])
        return _Part(steps, is_read, n_before)


def _pool_of(place: StepLocation) -> tuple[int, int]:
    return place.epoch, place.pool
