"""A deterministic, shuffling data loader: batches `(x, y)` of float32, at random or as a stream.

A sampler decides on the rows, a reader copies them; `Batches` joins the two.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from ..arguments import flag, instance
from ..dataset.dataset import Dataset
from ..dataset.selection import Selection
from ..errors import BatchError, listed
from ..system.memory_budget import PROCESS_MEMORY, MemoryBudget
from ..text import in_bytes
from .gather import Batch, PoolReader
from .placement import Placement, placement_of
from .sampler import CheckedSampler, Sampler, check_within, whole
from .shuffle_quality import Shuffling, choose_windows, pool_for_window, shuffling_of
from .stream import Stream
from .window_sampler import WindowSampler

_NUMBERS_BYTES = 64  # of each row of a pool while it is filled: where it is, and where it goes
MIN_AVAILABLE = 100_000_000  # bytes of memory, whatever the system says


class Batches:
    """Shuffled batches of a dataset.

    Parameters
    ----------
    dataset : Dataset
    batch_size : int
        Rows of a batch.
    seed : int
        0 or more; the same seed gives the same batches on any machine.
    features, targets : str or list of str, optional
        A feature set, or names; by default all, in the manifest's order.
    window_size : int, optional
        Rows that are drawn and read together; 1 is a global shuffle. By default it is chosen from
        the dataset's size and the memory available.
    pool_batches : int, optional
        Batches that are shuffled together; by default so many that windows inflate the gradient's
        variance by at most 5 % at an intra-era correlation of 0.01.
    memory : int, optional
        MB that two pools of buffers may take where window and pool are chosen (a pool has two
        batches at least). By default it is half of the available memory, or what features that fit
        into memory leave of it. Decoded batches of an int8 store take more.
    drop_remainder : bool
        Leave out the rows that don't fill a last batch. False makes every row come exactly once
        per epoch, in a last batch that may be short.
    sampler : Sampler, optional
        A sampler of your own, in place of `batch_size`, `seed`, `window_size`, `pool_batches`,
        `memory` and `drop_remainder`.
    memory_budget : MemoryBudget, optional
        Measures the available memory and reserves the buffers' part of it; by default
        that of the process.

    Attributes
    ----------
    feature_names, target_names : tuple of str
        The columns of x and of y.
    batch_size : int
        Rows of the first batch; all have as many, except perhaps the last one of an epoch.
    window_size, pool_batches : int
        Rows that are drawn together, and batches that are shuffled together. A sampler of your own
        has none.
    reasons : tuple of str
        Why window and pool were chosen so; empty if a window was given.
    shuffling : Shuffling
        How well they shuffle, compared with a global shuffle.
    sampler : Sampler
        Decides which rows make up which batch.
    reader : PoolReader
        Copies the rows of a pool.
    pool_bytes : int
        Size of the largest pool's buffer for features; two of them are in use.
    placement : Placement
        The available memory, and whether the dataset's features fit into it.
    direct_eras : tuple of int
        Positions of the eras that are read with direct I/O, if the dataset is larger than memory.

    Raises
    ------
    BatchError, DatasetError
        A size is out of range, a batch is larger than the data, pools are larger than memory, or a
        name is unknown.

    Notes
    -----
    `batches[step]` works for any step from 0 (steps count on over epochs), in any order, in any
    thread. Arrays are never overwritten while a caller holds them.

    `len(batches)` is the number of steps of an epoch. Whatever asks for no more than these, as
    ``for``, ``list``, ``zip``, ``reversed`` and PyTorch's ``DataLoader(batches, batch_size=None)``
    do, gets epoch 0 each time; `epoch` gives any other one, and `torch_batches` goes through all.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        batch_size: int | None = None,
        seed: int | None = None,
        features: Selection = None,
        targets: Selection = None,
        window_size: int | None = None,
        pool_batches: int | None = None,
        memory: int | None = None,
        drop_remainder: bool = True,
        sampler: Sampler | None = None,
        memory_budget: MemoryBudget = PROCESS_MEMORY,
    ) -> None:
        advice = "; open a path with memmap_train.open_dataset"
        instance("dataset", dataset, Dataset, BatchError, advice)
        instance("memory_budget", memory_budget, MemoryBudget, BatchError)
        drop_remainder = flag("drop_remainder", drop_remainder)
        self.dataset, self._budget = dataset, memory_budget
        self._columns = dataset.feature_columns(features), dataset.target_columns(targets)
        n_columns = len(dataset.feature_names if self._columns[0] is None else self._columns[0])
        row_bytes = n_columns * dataset.manifest.store_dtype.itemsize
        self.placement = placement_of(dataset, memory_budget)
        self._sampler: Sampler
        self.sampler: Sampler
        if sampler is None:
            sampler, self.reasons = _window_sampler(
                dataset,
                self.placement,
                row_bytes,
                batch_size=whole("batch_size", batch_size),
                seed=whole("seed", seed, least=0),
                window_size=window_size,
                pool_batches=pool_batches,
                memory=memory,
                drop_remainder=drop_remainder,
            )
            self.sampler = self._sampler = sampler
        else:
            given = (batch_size, seed, window_size, pool_batches, memory)
            if any(value is not None for value in given) or not drop_remainder:
                raise BatchError(
                    "sampler: a sampler of your own decides on the rows alone; leave out "
                    "batch_size, seed, window_size, pool_batches, memory and drop_remainder"
                )
            self.sampler, self.reasons = sampler, ()
            self._sampler = CheckedSampler(sampler, dataset.rows_per_era)
        first = self._sampler.locate(0)
        self.batch_size = first.high - first.low
        self.pool_bytes = row_bytes * self._sampler.max_pool_rows
        self._check_pools_fit()
        self.direct_eras = self.placement.direct_eras(dataset, 2 * self.pool_bytes)
        self.reader = self._new_reader()
        self.feature_names = self.reader.feature_names
        self.target_names = self.reader.target_names

    @property
    def window_size(self) -> int:
        """Rows that are drawn and read together."""
        return self._windows.window_size

    @property
    def pool_batches(self) -> int:
        """Batches that are shuffled together."""
        return self._windows.pool_batches

    @property
    def _windows(self) -> WindowSampler:
        if not isinstance(self.sampler, WindowSampler):
            raise BatchError(
                f"{type(self.sampler).__name__}, the sampler of these batches, is your own: only "
                "it knows its windows and pools"
            )
        return self.sampler

    def _check_pools_fit(self) -> None:
        """Raise a BatchError unless memory holds two pools."""
        available = self.placement.available
        if 2 * self.pool_bytes > max(available, MIN_AVAILABLE):
            n_batches = -(-self._sampler.max_pool_rows // self.batch_size)
            raise BatchError(
                f"pools of {n_batches:,} batches of {self.batch_size:,} rows take "
                f"{in_bytes(self.pool_bytes)} each, and two are in use; expected "
                f"{in_bytes(available)} at most, the memory available: take fewer pool_batches, "
                "smaller batches or fewer features"
            )

    def _new_reader(self) -> PoolReader:
        reservation = self._budget.reserve(2 * self.pool_bytes)
        return PoolReader(self.dataset, *self._columns, self.direct_eras, reservation)

    @cached_property
    def shuffling(self) -> Shuffling:
        """How well window and pool shuffle, compared with a global shuffle."""
        return shuffling_of(self._windows)

    def __len__(self) -> int:
        """Return the number of steps of an epoch."""
        return self._sampler.steps_per_epoch

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of any step: x (batch, features) and y (batch, targets), float32."""
        if isinstance(step, slice):
            raise BatchError(
                f"step: expected one whole number, 0 or more, found {step!r}; several steps come "
                "from batches.stream(start, end), an epoch from batches.epoch(0)"
            )
        place = self._sampler.locate(step)
        pool = self._sampler.pool(place.epoch, place.pool)
        check_within(pool.n_rows, place, step)
        part = pool.only(place.low, place.high)
        x, y = self.reader.buffers(part.n_rows)
        for fill in self.reader.fills(part, x, y, n_parts=1):
            fill()
        return self.reader.decode(x), y

    def __getitems__(self, steps: list[int]) -> list[Batch]:
        """Raise an error if PyTorch's DataLoader would make batches of these batches.

        Raises
        ------
        BatchError
            Always; it names the right ways.
        """
        raise BatchError(
            "a DataLoader would make batches of these batches: expected "
            "DataLoader(batches, batch_size=None), which gives epoch 0 each time, or "
            "DataLoader(memmap_train.torch_batches(batches), batch_size=None), which goes on to "
            "the next epoch"
        )

    def __getstate__(self) -> dict[str, Any]:
        """Pickle everything except open files and buffers: another process makes its own."""
        own = ("reader", "_budget")
        return {name: value for name, value in vars(self).items() if name not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore everything, with the window and the pool that were chosen."""
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
            Whole number from 0; each epoch has another order.

        Raises
        ------
        BatchError
            The number is negative.
        """
        start = whole("epoch", number, least=0) * len(self)
        return self.stream(start, start + len(self))

    def stream(self, start: int = 0, end: int | None = None, stride: int = 1) -> "Stream":
        """Return a prefetched iterator that begins at a step; to resume, pass the next step.

        Parameters
        ----------
        start : int
        end : int, optional
            The step before which it ends; nothing is read that comes later. Endless by default.
        stride : int
            Every so many steps; the pools are read whole.

        Notes
        -----
        All targets are mapped at once: an update of the dataset, which replaces only files of
        targets, doesn't end the stream.

        Raises
        ------
        BatchError
            A step is negative.
        ShardError
            A file of targets is missing, damaged, or another one than before.
        """
        self.reader.map_targets()
        return Stream(self._sampler, self.reader, start, end, stride)


def as_batches(data: Batches | Dataset, arguments: Mapping[str, Any]) -> Batches:
    """Return batches as they are, or the batches of a dataset with these arguments."""
    if isinstance(data, Dataset):
        return Batches(data, **arguments)
    if not isinstance(data, Batches):
        raise BatchError(
            f"expected Batches, or a dataset and the arguments of Batches, found {data!r:.80}"
        )
    if arguments:
        raise BatchError(
            f"{listed(arguments)}: expected no such arguments beside Batches, which have their own;"
            " give them to Batches(...)"
        )
    return data


def _window_sampler(
    dataset: Dataset,
    placement: Placement,
    row_bytes: int,
    *,
    batch_size: int,
    seed: int,
    window_size: int | None,
    pool_batches: int | None,
    memory: int | None,
    drop_remainder: bool,
) -> tuple[WindowSampler, tuple[str, ...]]:
    """Return the sampler of windows, and why window and pool are chosen so."""
    most_bytes = placement.buffer_bytes
    if memory is not None:
        most_bytes = whole("memory", memory) * 1_000_000
    if pool_batches is not None:
        pool_batches = whole("pool_batches", pool_batches)
    reasons: tuple[str, ...] = ()
    if window_size is None:
        choice = choose_windows(
            dataset.rows_per_era,
            batch_size=batch_size,
            row_bytes=dataset.feature_bytes // dataset.n_rows,
            buffered_row_bytes=row_bytes + _NUMBERS_BYTES,
            memory=most_bytes,
            window_bytes=placement.window_bytes(dataset),
            pool_batches=pool_batches,
        )
        window_size, pool_batches = choice.window_size, choice.pool_batches
        reasons = choice.reasons
    elif pool_batches is None:
        pool_batches = pool_for_window(whole("window_size", window_size))
    sampler = WindowSampler(
        dataset.rows_per_era,
        batch_size=batch_size,
        window_size=window_size,
        pool_batches=pool_batches,
        drop_remainder=drop_remainder,
        seed=seed,
    )
    return sampler, reasons
