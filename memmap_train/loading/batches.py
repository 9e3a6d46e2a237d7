"""A deterministic, shuffling data loader: batches `(x, y)` of float32, at random or as a stream.

A sampler decides on the rows, a reader copies them; `Batches` joins the two.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from ..arguments import flag, instance
from ..arrays import Float32
from ..dataset.dataset import Dataset
from ..dataset.selection import Selection
from ..errors import BatchError, listed
from ..system.memory_budget import PROCESS_MEMORY, MemoryBudget
from ..text import in_bytes
from .era_sampler import EraSampler
from .era_weights import EraWeights, RowWeights
from .era_windows import shuffling_of_eras
from .gather import Batch, PoolReader
from .placement import placement_of
from .plans import Storage, plan_of
from .ranks import checked_rank, sampler_of_rank, share
from .sampler import Sampler, check_within, whole
from .shuffle_quality import Shuffling, shuffling_of
from .stream import Stream
from .window_sampler import WindowSampler

MIN_AVAILABLE = 100_000_000  # bytes of memory, whatever the system says


class Batches:
    """Shuffled batches of a dataset.

    Parameters
    ----------
    dataset : Dataset
    batch_size : int
        Rows of a batch, of any eras. Or else:
    eras_per_batch, rows_per_era : int
        Different eras of a batch, and rows of each: a contiguous block of x and of y. With 0 rows
        it is the whole era, filled up to the largest era's rows by rows of its own whose targets
        are NaN.
    era_weights : str, sequence of float, or mapping of str to float, optional
        How large a part of the training each era is: "rows" (the default), "equal",
        "half_life:52", "file:weights.csv", a number for each era, or a mapping of eras to numbers;
        see `loading.era_weights`. In batches of eras it decides how often an era comes, in batches
        of rows it gives `row_weights`.
    seed : int
        0 or more; the same seed gives the same batches on any machine.
    features, targets : str or list of str, optional
        A feature set, or names; by default all, in the manifest's order.
    window_size : int, optional
        Rows that are drawn and read together; 1 is a global shuffle, or random rows of each era.
        By default it is chosen from the dataset's size and the memory available.
    pool_batches : int, optional
        Batches that are shuffled together; by default so many that windows inflate the gradient's
        variance by at most 5 % at an intra-era correlation of 0.01. For batches of eras, those
        that are read together.
    memory : int, optional
        MB that two pools of buffers may take where window and pool are chosen (a pool has two
        batches at least). By default it is half of the available memory, or what features that fit
        into memory leave of it. Decoded batches of an int8 store take more.
    drop_remainder : bool
        Leave out the rows that don't fill a last batch. False makes every row come exactly once
        per epoch, in a last batch that may be short; with batches of eras that is possible where
        they are whole.
    sampler : Sampler, optional
        A sampler of your own, in place of all sizes, weights, seed and `drop_remainder`.
    rank, world_size : int
        Rank and number of ranks of a distributed training. Of each batch a rank reads its part of
        the rows, or of the eras, and nothing else; see `loading.ranks`. All ranks need the same
        arguments otherwise, a `window_size` among them.
    memory_budget : MemoryBudget, optional
        Measures the available memory and reserves the buffers' part of it; by default
        that of the process.

    Attributes
    ----------
    feature_names, target_names : tuple of str
        The columns of x and of y.
    batch_size : int
        Rows of the first batch, or of a rank's part of it; all have as many, except perhaps the
        last one of an epoch.
    rank, world_size : int
    window_size, pool_batches : int
        Rows that are drawn together, and batches that are shuffled together. A sampler of your own
        has none.
    reasons : tuple of str
        Why window and pool were chosen so; empty if a window was given.
    shuffling : Shuffling
        How well they shuffle, compared with a global shuffle.
    sampler : Sampler
        Decides which rows make up which batch, of all ranks.
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
        A size is out of range, a batch is larger than the data, an era has too few rows, weights
        make no sense, pools are larger than memory, or a name is unknown.

    Notes
    -----
    `batches[step]` works for any step from 0 (steps count on over epochs), in any order, in any
    thread. Arrays are never overwritten while a caller holds them.

    `len(batches)` is the number of steps of an epoch. Whatever asks for no more than these, as
    ``for``, ``list``, ``zip``, ``reversed`` and PyTorch's ``DataLoader(batches, batch_size=None)``
    do, gets epoch 0 each time; `epoch` gives any other one, and `torch_batches` goes through all.

    An epoch of batches of eras has as many rows as the dataset, less a part of a batch; where they
    are whole, as many blocks as there are eras. `eras_of` names the eras of a batch.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        batch_size: int | None = None,
        eras_per_batch: int | None = None,
        rows_per_era: int | None = None,
        era_weights: EraWeights | None = None,
        seed: int | None = None,
        features: Selection = None,
        targets: Selection = None,
        window_size: int | None = None,
        pool_batches: int | None = None,
        memory: int | None = None,
        drop_remainder: bool = True,
        sampler: Sampler | None = None,
        rank: int = 0,
        world_size: int = 1,
        memory_budget: MemoryBudget = PROCESS_MEMORY,
    ) -> None:
        advice = "; open a path with memmap_train.open_dataset"
        instance("dataset", dataset, Dataset, BatchError, advice)
        instance("memory_budget", memory_budget, MemoryBudget, BatchError)
        plan = plan_of(
            sampler=sampler,
            batch_size=batch_size,
            eras_per_batch=eras_per_batch,
            rows_per_era=rows_per_era,
            era_weights=era_weights,
            seed=seed,
            window_size=window_size,
            pool_batches=pool_batches,
            memory=memory,
            drop_remainder=flag("drop_remainder", drop_remainder),
        )
        self.dataset, self._budget = dataset, memory_budget
        self.rank, self.world_size = checked_rank(rank, world_size)
        self._columns = dataset.feature_columns(features), dataset.target_columns(targets)
        n_columns = len(dataset.feature_names if self._columns[0] is None else self._columns[0])
        row_bytes = n_columns * dataset.manifest.store_dtype.itemsize
        self.placement = placement_of(dataset, memory_budget)
        storage = Storage(dataset, self.placement, row_bytes)
        planned = plan.planned(storage)
        self.sampler, self.reasons = planned.sampler, planned.reasons
        self._sampler = sampler_of_rank(planned, self.rank, self.world_size)
        self._row_weights = RowWeights(self._sampler, planned.row_weights)
        first = self._sampler.locate(0)
        self.batch_size = first.high - first.low
        self.pool_bytes = row_bytes * self._sampler.max_pool_rows
        self._check_buffers_fit(storage.decoded_bytes(self.batch_size))
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
    def _windows(self) -> WindowSampler | EraSampler:
        if not isinstance(self.sampler, WindowSampler | EraSampler):
            raise BatchError(
                f"{type(self.sampler).__name__}, the sampler of these batches, is your own: only "
                "it knows its windows and pools"
            )
        return self.sampler

    @property
    def are_even(self) -> bool:
        """Whether all batches are known to have `batch_size` rows."""
        sampler = self.sampler
        return isinstance(sampler, WindowSampler | EraSampler) and sampler.drop_remainder

    def _check_buffers_fit(self, decoded_bytes: int) -> None:
        """Raise a BatchError unless memory holds two pools, and the batches decoded from them."""
        available = self.placement.available
        if 2 * self.pool_bytes + decoded_bytes > max(available, MIN_AVAILABLE):
            n_batches = -(-self._sampler.max_pool_rows // self.batch_size)
            decoded = f", and decoded batches {in_bytes(decoded_bytes)}" if decoded_bytes else ""
            raise BatchError(
                f"pools of {n_batches:,} batches of {self.batch_size:,} rows take "
                f"{in_bytes(self.pool_bytes)} each, and two are in use{decoded}; expected "
                f"{in_bytes(available)} at most, the memory available: take fewer pool_batches, "
                "smaller batches or fewer features"
            )

    def _new_reader(self) -> PoolReader:
        reservation = self._budget.reserve(2 * self.pool_bytes)
        return PoolReader(self.dataset, *self._columns, self.direct_eras, reservation)

    @cached_property
    def shuffling(self) -> Shuffling:
        """How well window and pool shuffle, compared with a global shuffle."""
        sampler = self._windows
        if isinstance(sampler, EraSampler):
            return shuffling_of_eras(sampler)
        return shuffling_of(sampler)

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

    def eras_of(self, step: int) -> tuple[str, ...]:
        """Return the eras of a batch of eras, in the order of its blocks of rows.

        Raises
        ------
        BatchError
            These are no batches of eras, or the step is negative.
        """
        if not isinstance(self.sampler, EraSampler):
            raise BatchError(
                "eras_of: expected batches of eras, found rows of any eras in each batch; make "
                "them with Batches(dataset, eras_per_batch=..., rows_per_era=...)"
            )
        eras = self.sampler.eras_of(step)
        own = share(len(eras), self.rank, self.world_size)
        return eras[own.start : own.stop]

    def row_weights(self, step: int) -> Float32:
        """Return what the loss of each row of a batch is to be multiplied by.

        Returns
        -------
        ndarray of float32, shape (rows,)
            By `era_weights` where these are batches of rows: 1 in the mean over all rows of the
            dataset. In batches of eras, which have their weights by how often an era comes, all 1.

        Raises
        ------
        BatchError
            The step is negative.
        """
        return self._row_weights.of_step(step)

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
