"""A dataset in an order: shuffled batches `(x, y)` of float32, at random or as a prefetched stream.

The order says which rows, the reader fetches them; here they meet. A stream has the next pool read
by threads while the present one is used; a batch is a slice of a pool's buffer, which is reused
only once nothing refers to any batch made from it.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from ..dataset.dataset import Dataset
from ..dataset.selection import Selection
from ..errors import BatchError
from ..system.memory_budget import PROCESS_MEMORY, MemoryBudget
from ..text import in_bytes
from .gather import Batch, PoolReader
from .placement import placement_of
from .sampler import whole
from .shuffle_quality import Shuffling, choose_windows, pool_for_window, shuffling_of
from .stream import Stream
from .window_sampler import WindowSampler

_NUMBERS_BYTES = 64  # of a row of a pool: where it is, and where it goes, while it is filled

_MIN_AVAILABLE = 100_000_000  # bytes of memory, whatever the system says


class Batches:
    """Shuffled batches of a dataset.

    Parameters
    ----------
    dataset : Dataset
    batch_size : int
        Rows of a batch.
    seed : int
        From 0; the same seed gives the same batches on any machine.
    features, targets : str or list of str, optional
        A feature set, or names; by default all, in the manifest's order.
    window_size : int, optional
        Rows that are drawn and read together; 1 is a global shuffle. By default it is chosen from
        the dataset's size and the memory available.
    pool_batches : int, optional
        Batches that are shuffled together; by default so many that windows inflate the gradient's
        variance by at most 5 % at an intra-era correlation of 0.01.
    memory : int, optional
        MB that two pools of buffers may take, where window and pool are to be chosen (two batches a
        pool are the least); by default half of what is available, or what features leave of it that
        fit into memory. Decoded batches of an int8 store come on top.
    drop_remainder : bool
        Leave out the rows that don't fill a last batch. False makes every row come exactly once
        per epoch, in a last batch that may be short.
    memory_budget : MemoryBudget, optional
        Where the available memory is measured and the buffers' part of it is reserved; by default
        that of the process.

    Attributes
    ----------
    window_size, pool_batches : int
        As chosen.
    shuffling : Shuffling
        How well that shuffles, beside a global shuffle.
    pool_bytes : int
        Of the largest pool's buffer for features; two are in use.
    placement : Placement
        The memory available, and whether the dataset's features fit into it.
    direct_eras : tuple of int
        Positions of the eras that are read past the page cache: the dataset is larger than memory.

    Raises
    ------
    BatchError, DatasetError
        A size out of range, a batch larger than the data, pools larger than memory, an unknown
        name.

    Notes
    -----
    `batches[step]` works for any step from 0 (steps count on over epochs), in any order, in any
    thread. Arrays belong to the caller for as long as he keeps them.

    `len(batches)` is the number of steps of an epoch. What asks for no more than these, as
    ``for``, ``list``, ``zip``, ``reversed`` and PyTorch's ``DataLoader(batches, batch_size=None)``
    do, gets epoch 0 each time; `epoch` gives any other one.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        batch_size: int,
        seed: int,
        features: Selection = None,
        targets: Selection = None,
        window_size: int | None = None,
        pool_batches: int | None = None,
        memory: int | None = None,
        drop_remainder: bool = True,
        memory_budget: MemoryBudget = PROCESS_MEMORY,
    ) -> None:
        self.dataset = dataset
        self.batch_size = whole("batch_size", batch_size)
        columns = dataset.feature_columns(features), dataset.target_columns(targets)
        row_bytes = dataset.manifest.store_dtype.itemsize * (
            len(dataset.feature_names) if columns[0] is None else len(columns[0])
        )
        self._budget = memory_budget
        self.placement = placement = placement_of(dataset, memory_budget)
        most_bytes = placement.buffer_bytes
        if memory is not None:
            most_bytes = whole("memory", memory) * 1_000_000
        if pool_batches is not None:
            pool_batches = whole("pool_batches", pool_batches)
        self._reason = "as asked for"
        if window_size is None:
            choice = choose_windows(
                dataset.rows_per_era,
                batch_size=self.batch_size,
                row_bytes=dataset.feature_bytes // dataset.n_rows,
                buffered_row_bytes=row_bytes + _NUMBERS_BYTES,
                memory=most_bytes,
                window_bytes=placement.window_bytes(dataset),
                pool_batches=pool_batches,
            )
            window_size, pool_batches = choice.window_size, choice.pool_batches
            self._reason = choice.reason
        elif pool_batches is None:
            pool_batches = pool_for_window(whole("window_size", window_size))
        self.sampler = WindowSampler(
            dataset.rows_per_era,
            batch_size=batch_size,
            window_size=window_size,
            pool_batches=pool_batches,
            drop_remainder=drop_remainder,
            seed=seed,
        )
        self.window_size, self.pool_batches = window_size, pool_batches
        self.pool_bytes = row_bytes * self.sampler.max_pool_rows
        if 2 * self.pool_bytes > max(placement.available, _MIN_AVAILABLE):
            raise BatchError(
                f"pools of {pool_batches:,} batches of {batch_size:,} rows take "
                f"{in_bytes(self.pool_bytes)} each, and two are in use; expected "
                f"{in_bytes(placement.available)} at most, the memory available: take fewer "
                "pool_batches, smaller batches or fewer features"
            )
        self.direct_eras = placement.direct_eras(dataset, 2 * self.pool_bytes)
        self._columns = columns
        self.reader = self._new_reader()
        self.feature_names = self.reader.feature_names
        self.target_names = self.reader.target_names

    def explain(self) -> tuple[str, str]:
        """Say how it is shuffled and why so, and where the rows come from: a sentence each."""
        row_bytes = self.dataset.feature_bytes // self.dataset.n_rows
        quality = self.shuffling
        rows = "row" if self.window_size == 1 else "rows"
        shuffled = (
            f"windows of {self.window_size:,} {rows} ({in_bytes(self.window_size * row_bytes)}) in "
            f"pools of {self.pool_batches:,} batches ({in_bytes(self.pool_bytes)}): "
            f"{quality.eras_per_batch:,.0f} eras in a batch "
            f"({quality.ideal_eras_per_batch:,.0f} in a global shuffle), "
            f"{quality.same_era_rate:.3%} of its pairs of one era "
            f"({quality.ideal_same_era_rate:.3%}), "
            f"gradient variance x {quality.inflation():.3f}; {self._reason}"
        )
        placement = self.placement
        features = f"{in_bytes(placement.feature_bytes)} of features"
        if placement.fits:
            read = f"{features} fit into the {in_bytes(placement.available)} of memory available"
        elif self.direct_eras:
            n_kept = len(self.dataset.eras) - len(self.direct_eras)
            read = (
                f"{features} for {in_bytes(placement.available)} of memory available: "
                f"{n_kept:,} eras stay in memory, {len(self.direct_eras):,} are read from the disk "
                "in each epoch"
            )
        else:
            read = (
                f"{features} for {in_bytes(placement.available)} of memory available; this disk "
                "can't be read past the page cache, which is left to do what it can"
            )
        return shuffled, read

    def _new_reader(self) -> PoolReader:
        reservation = self._budget.reserve(2 * self.pool_bytes)
        return PoolReader(self.dataset, *self._columns, self.direct_eras, reservation)

    @cached_property
    def shuffling(self) -> Shuffling:
        """How well window and pool shuffle, beside a global shuffle."""
        return shuffling_of(self.sampler)

    def __len__(self) -> int:
        """Return the steps of an epoch."""
        return self.sampler.steps_per_epoch

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of any step: x (batch, features) and y (batch, targets), float32."""
        if isinstance(step, slice):
            raise BatchError(
                f"step: expected one whole number, 0 or more, found {step!r}; several steps come "
                "from batches.stream(start, end), an epoch from batches.epoch(0)"
            )
        place = self.sampler.locate(step)
        part = self.sampler.pool(place.epoch, place.pool).only(place.low, place.high)
        x, y = self.reader.buffers(part.n_rows)
        for fill in self.reader.fills(part, x, y, n_parts=1):
            fill()
        return self.reader.decode(x), y

    def __getstate__(self) -> dict[str, Any]:
        """Pickle everything but open files and buffers: another process has its own."""
        own = ("reader", "_budget")
        return {name: value for name, value in vars(self).items() if name not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take everything over, window and pool as they were chosen."""
        vars(self).update(state)
        self._budget = PROCESS_MEMORY
        self.reader = self._new_reader()

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over epoch 0."""
        with self.epoch(0) as stream:
            yield from stream

    def epoch(self, number: int) -> "Stream":
        """Return a prefetched iterator over the batches of an epoch.

        Parameters
        ----------
        number : int
            From 0; each epoch has an order of its own.

        Raises
        ------
        BatchError
            The number is negative.
        """
        start = whole("epoch", number, least=0) * len(self)
        return self.stream(start, start + len(self))

    def stream(self, start: int = 0, end: int | None = None) -> "Stream":
        """Return a prefetched iterator from a step on; resuming is an offset.

        Parameters
        ----------
        start : int
        end : int, optional
            The step before which it ends; nothing is read that comes later. Endless by default.

        All targets are mapped now: an update of the dataset, which replaces files of targets only,
        doesn't end the stream.

        Raises
        ------
        BatchError
            A step is negative.
        ShardError
            A file of targets is missing, damaged, or another one than before.
        """
        self.reader.map_targets()
        return Stream(self.sampler, self.reader, start, end)
