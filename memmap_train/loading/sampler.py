"""The interface between samplers and the reader: which rows make up which batch. Integers only.

A sampler turns a step into rows; the reader copies those rows and knows nothing of random numbers.
Here are the Protocol, the two records that go through it, and the checks of what a user's own
sampler returns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..arguments import whole_number
from ..arrays import Int32, Int64, Mask
from ..errors import BatchError, shown

_MAX_SHOWN = 8  # numbers of an array in a message
_HINT = "; see `memmap_train.Sampler`"


@dataclass(frozen=True, slots=True)
class Pool:
    """Windows that are read together, and where each of their rows goes.

    Attributes
    ----------
    eras : ndarray of int32, shape (windows,)
        Position of each window's era in the dataset, ascending.
    starts : ndarray of int64, shape (windows,)
        First row of each window in its era; read fastest if they ascend within an era.
    lengths : ndarray of int64, shape (windows,)
        Rows of each window.
    places : ndarray of int64, shape (rows,)
        The row in the pool's buffer of each of the windows' rows, in order: a permutation.
    padding : ndarray of bool, shape (windows,), optional
        Windows whose rows only fill up a batch: all of their targets are NaN. By default none. If
        they begin where the window before them begins and aren't longer, they aren't read again.
    """

    eras: Int32
    starts: Int64
    lengths: Int64
    places: Int64
    padding: Mask | None = None

    @property
    def n_rows(self) -> int:
        """Rows of the pool."""
        return len(self.places)

    def only(self, low: int, high: int) -> "Pool":
        """Return the part whose places are in `low … high`, from place 0."""
        chosen = np.flatnonzero((self.places >= low) & (self.places < high))
        return self.rows(chosen, self.places[chosen] - low)

    def rows(self, chosen: Int64, places: Int64) -> "Pool":
        """Return some rows, those that follow each other in a window as one window.

        Parameters
        ----------
        chosen : ndarray of int64, shape (rows,)
            Their numbers among the windows' rows, ascending.
        places : ndarray of int64, shape (rows,)
            Their places in the new pool's buffer: a permutation.
        """
        ends = np.cumsum(self.lengths)
        window = np.searchsorted(ends, chosen, side="right")
        is_first = (np.diff(window, prepend=-1) != 0) | (np.diff(chosen, prepend=-1) != 1)
        firsts = np.flatnonzero(is_first)
        window = window[firsts]
        return Pool(
            self.eras[window],
            self.starts[window] + chosen[firsts] - (ends - self.lengths)[window],
            np.diff(firsts, append=len(chosen)),
            places,
            None if self.padding is None else self.padding[window],
        )


@dataclass(frozen=True, slots=True)
class StepLocation:
    """Where a step's batch is found.

    Attributes
    ----------
    epoch, pool : int
        The pool that holds its rows.
    low, high : int
        Its rows in that pool's buffer: `low` up to, not including, `high`.
    next_pool_step : int
        The first step, counted over all epochs, that belongs to a later pool.
    """

    epoch: int
    pool: int
    low: int
    high: int
    next_pool_step: int


class Sampler(Protocol):
    """Which rows make up which batch: a pure function of the step.

    `WindowSampler` and `EraSampler` are those that `Batches` uses by itself; another one is given
    as ``Batches(dataset, sampler=...)``. Steps count on over epochs, and each belongs to a pool:
    windows of rows that are read together, while the pool before is used. A batch is a range of
    rows of its pool's buffer. Rows may come in several batches, or in none.

    The methods must be deterministic and thread-safe. A sampler needs pickling where batches go to
    other processes.

    Notes
    -----
    For a sampler of eras, for example, a pool is some batches of 8 eras, each era 512 rows in some
    windows. `RankSampler`, of a rank in a distributed training, gives the part that the rank reads.
    """

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch, at least one."""

    @property
    def max_pool_rows(self) -> int:
        """Rows of the largest pool: all buffers are of this size."""

    def locate(self, step: int) -> StepLocation:
        """Return where the batch of a step, from 0, is found."""

    def pool(self, epoch: int, pool: int) -> Pool:
        """Return the pool that `locate` has named."""


class CheckedSampler:
    """A user's own sampler with checked results: a wrong row would otherwise pass unnoticed.

    Parameters
    ----------
    sampler : Sampler
    rows_per_era : sequence of int
        Rows of each era of the dataset.

    Raises
    ------
    BatchError
        Something of the Protocol is missing; or, here and later, an answer makes no sense.
    """

    def __init__(self, sampler: Sampler, rows_per_era: Sequence[int]) -> None:
        self._name = type(sampler).__name__
        missing = [
            name
            for name in ("steps_per_epoch", "max_pool_rows", "locate", "pool")
            if not hasattr(sampler, name)
        ]
        if missing:
            raise BatchError(
                f"sampler: expected an object with {', '.join(missing)}, found {self._name}{_HINT}"
            )
        self._sampler = sampler
        self._rows_per_era = np.asarray(rows_per_era, np.int64)
        self.steps_per_epoch = whole(f"{self._name}.steps_per_epoch", sampler.steps_per_epoch)
        self.max_pool_rows = whole(f"{self._name}.max_pool_rows", sampler.max_pool_rows)
        self.locate(0)

    def locate(self, step: int) -> StepLocation:
        """Return where the batch of a step is found, once that is checked."""
        step = whole("step", step, least=0)
        found = self._sampler.locate(step)
        where = f"{self._name}.locate({step})"
        if not isinstance(found, StepLocation):
            raise BatchError(f"{where}: expected a StepLocation, found {shown(found)}{_HINT}")
        for name in ("epoch", "pool", "next_pool_step"):
            whole(f"{where}.{name}", getattr(found, name), least=0)
        for name in ("low", "high"):  # whole numbers, whose range is checked together
            whole_number(f"{where}.{name}", getattr(found, name), BatchError)
        if not 0 <= found.low < found.high <= self.max_pool_rows:
            raise BatchError(
                f"{where}: expected rows within a pool of {self.max_pool_rows:,}, found "
                f"{found.low} to {found.high}{_HINT}"
            )
        if found.next_pool_step <= step:
            raise BatchError(
                f"{where}: expected a next_pool_step behind the step, found "
                f"{found.next_pool_step}{_HINT}"
            )
        return found

    def pool(self, epoch: int, pool: int) -> Pool:
        """Return a pool, once it is checked that the dataset has all of its rows."""
        found = self._sampler.pool(epoch, pool)
        where = f"{self._name}.pool({epoch}, {pool})"
        if not isinstance(found, Pool):
            raise BatchError(f"{where}: expected a Pool, found {shown(found)}{_HINT}")
        wrong = _fault(found, self._rows_per_era, self.max_pool_rows)
        if wrong is not None:
            raise BatchError(f"{where}: {wrong}{_HINT}")
        return found


def check_within(n_rows: int, place: StepLocation, step: int) -> None:
    """Raise a BatchError if a step's rows lie beyond those of its pool."""
    if place.high > n_rows:
        raise BatchError(
            f"sampler.locate({step}): expected rows within the {n_rows:,} of "
            f"sampler.pool({place.epoch}, {place.pool}), found {place.low:,} to {place.high:,}"
            f"{_HINT}"
        )


def whole(name: str, value: object, *, least: int = 1, most: int | None = None) -> int:
    """Return a value as an int; BatchError if it isn't a whole number in the range.

    >>> whole("batch_size", np.int64(7))
    7
    """
    return whole_number(name, value, BatchError, least=least, most=most)


def _array(value: object) -> str:
    """Return what an array is, and how it begins, in one line."""
    if not isinstance(value, np.ndarray):
        return shown(value)
    begin = ", ".join(str(number) for number in value.ravel()[:_MAX_SHOWN])
    more = ", …" if value.size > _MAX_SHOWN else ""
    return f"[{begin}{more}], {value.dtype} of shape {value.shape}"


def _fault(pool: Pool, rows_per_era: Int64, max_rows: int) -> str | None:
    """Return the fault of a pool: its expected and its found contents."""
    eras, starts, lengths, places = pool.eras, pool.starts, pool.lengths, pool.places
    for name in ("eras", "starts", "lengths", "places"):
        array = getattr(pool, name)
        if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind != "i":
            return f"{name}: expected a one-dimensional array of integers, found {_array(array)}"
    if not 0 < len(eras) == len(starts) == len(lengths):
        found = f"{len(eras)}, {len(starts)} and {len(lengths)}"
        return f"expected as many eras as starts and lengths, at least one, found {found}"
    if eras[0] < 0 or eras[-1] >= len(rows_per_era) or (np.diff(eras) < 0).any():
        return (
            f"eras: expected ascending positions below {len(rows_per_era):,}, found {_array(eras)}"
        )
    is_outside = (starts < 0) | (lengths < 1) | (starts + lengths > rows_per_era[eras])
    if is_outside.any():
        window = int(np.argmax(is_outside))
        return (
            f"expected windows within their eras, found {lengths[window]} rows from row "
            f"{starts[window]} on of an era of {rows_per_era[eras[window]]} rows"
        )
    if not _is_mask(pool.padding, len(eras)):
        return (
            f"padding: expected None or an array of bool, one for each of the {len(eras):,} "
            f"windows, found {_array(pool.padding)}"
        )
    if len(places) != lengths.sum() or len(places) > max_rows:
        return (
            f"places: expected one for each of the windows' {lengths.sum():,} rows, {max_rows:,} "
            f"at most, found {len(places):,}"
        )
    if places.min() < 0 or places.max() >= len(places) or (np.bincount(places) != 1).any():
        return f"places: expected a permutation of 0 to {len(places) - 1:,}"
    return None


def _is_mask(padding: object, n_windows: int) -> bool:
    """Return True if a pool's padding is None, or a bool for each window."""
    if not isinstance(padding, np.ndarray):
        return padding is None
    return bool(padding.dtype == np.bool_) and padding.shape == (n_windows,)
