"""What the rows of batches are asked to be: rows at random, eras, or what another sampler says.

`plan_of` makes one of three plans from the arguments of `Batches`, and checks that they belong
together. A plan makes the sampler for a dataset, with sizes of windows and pools that suit the
memory and the disk.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Float32, Float64
from ..dataset.dataset import Dataset
from ..errors import BatchError, shown
from .era_sampler import WHOLE_ERAS, EraSampler
from .era_weights import BY_ROWS, EQUAL, EraWeights, era_weights, row_weights
from .era_windows import choose_era_windows
from .placement import Placement
from .sampler import CheckedSampler, Sampler, whole
from .shuffle_quality import choose_windows, pool_for_window
from .window_sampler import WindowSampler

_DECODED_BATCHES = 3  # the caller's, the next one, and the one that is being decoded
_NUMBERS_BYTES = 64  # of each row of a pool while it is filled: where it is, and where it goes


@dataclass(frozen=True, slots=True)
class Storage:
    """Where rows come from and go to.

    Attributes
    ----------
    dataset : Dataset
    placement : Placement
    row_bytes : int
        Size of a row's chosen features as stored.
    """

    dataset: Dataset
    placement: Placement
    row_bytes: int

    @property
    def file_row_bytes(self) -> int:
        """Size of a row in its file, with all features."""
        return self.dataset.feature_bytes // self.dataset.n_rows

    @property
    def buffered_row_bytes(self) -> int:
        """Bytes of memory that a row of a pool takes while the pool is filled."""
        return self.row_bytes + _NUMBERS_BYTES

    def decoded_bytes(self, batch_size: int) -> int:
        """Return the bytes of the batches that are decoded at a time."""
        manifest = self.dataset.manifest
        if manifest.scale is None:
            return 0
        n_columns = self.row_bytes // manifest.store_dtype.itemsize
        return _DECODED_BATCHES * batch_size * n_columns * np.dtype(np.float32).itemsize

    def pool_bytes(self, memory: int | None, batch_size: int) -> int:
        """Return the bytes that two pools may take; `memory` is in MB."""
        if memory is not None:
            return whole("memory", memory) * 1_000_000
        free = self.placement.available - self.decoded_bytes(batch_size)
        return max(0, min(self.placement.buffer_bytes, free))


@dataclass(frozen=True, slots=True)
class Planned:
    """How batches are sampled.

    Attributes
    ----------
    sampler : Sampler
        As it is known to the user.
    trusted : Sampler
        The same one; its answers are checked if it is the user's own.
    reasons : tuple of str
        Why window and pool were chosen; empty if they weren't.
    row_weights : ndarray of float32, shape (eras,), optional
        What the loss of each row of an era is multiplied by; by default 1.
    """

    sampler: Sampler
    trusted: Sampler
    reasons: tuple[str, ...] = ()
    row_weights: Float32 | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPlan:
    """Batches of rows from all eras; see `Batches`."""

    batch_size: int | None
    era_weights: EraWeights | None
    seed: int | None
    window_size: int | None
    pool_batches: int | None
    memory: int | None
    drop_remainder: bool

    def planned(self, storage: Storage) -> Planned:
        """Return the sampler of windows, and why window and pool are chosen so."""
        batch_size, seed = whole("batch_size", self.batch_size), whole("seed", self.seed, least=0)
        most_bytes = storage.pool_bytes(self.memory, batch_size)
        window_size, pool_batches = self.window_size, _pool(self.pool_batches)
        reasons: tuple[str, ...] = ()
        if window_size is None:
            choice = choose_windows(
                storage.dataset.rows_per_era,
                batch_size=batch_size,
                row_bytes=storage.file_row_bytes,
                buffered_row_bytes=storage.buffered_row_bytes,
                memory=most_bytes,
                window_bytes=storage.placement.window_bytes(storage.dataset),
                pool_batches=pool_batches,
            )
            window_size, pool_batches = choice.window_size, choice.pool_batches
            reasons = choice.reasons
        elif pool_batches is None:
            pool_batches = pool_for_window(whole("window_size", window_size))
        sampler = WindowSampler(
            storage.dataset.rows_per_era,
            batch_size=batch_size,
            window_size=window_size,
            pool_batches=pool_batches,
            drop_remainder=self.drop_remainder,
            seed=seed,
        )
        weights = None
        if self.era_weights is not None and not _is_by_rows(self.era_weights):
            weights = row_weights(
                _weights(storage.dataset, self.era_weights), storage.dataset.rows_per_era
            )
        return Planned(sampler, sampler, reasons, weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class EraPlan:
    """Batches of several eras, a block of rows of each; see `Batches`."""

    eras_per_batch: int
    rows_per_era: int | None
    era_weights: EraWeights | None
    seed: int | None
    window_size: int | None
    pool_batches: int | None
    memory: int | None
    drop_remainder: bool

    def planned(self, storage: Storage) -> Planned:
        """Return the sampler of eras, and why window and pool are chosen so."""
        dataset = storage.dataset
        eras_per_batch = whole("eras_per_batch", self.eras_per_batch)
        rows_per_era = whole("rows_per_era", self.rows_per_era, least=0)
        block_rows = rows_per_era or max(dataset.rows_per_era)
        batch_size = eras_per_batch * block_rows
        given = BY_ROWS if self.era_weights is None else self.era_weights
        if rows_per_era == WHOLE_ERAS and _is_by_rows(given):
            given = EQUAL  # each row comes as often as its era
        choice = choose_era_windows(
            block_rows=block_rows,
            has_whole_eras=rows_per_era == WHOLE_ERAS,
            batch_size=batch_size,
            row_bytes=storage.file_row_bytes,
            buffered_row_bytes=storage.buffered_row_bytes,
            memory=storage.pool_bytes(self.memory, batch_size),
            window_bytes=storage.placement.window_bytes(dataset),
            from_disk=not storage.placement.fits,
        )
        sampler = EraSampler(
            dict(zip(dataset.eras, dataset.rows_per_era, strict=True)),
            eras_per_batch=eras_per_batch,
            rows_per_era=rows_per_era,
            weights=_weights(dataset, given),
            window_size=choice.window_size if self.window_size is None else self.window_size,
            pool_batches=_pool(self.pool_batches) or choice.pool_batches,
            drop_remainder=self.drop_remainder,
            seed=whole("seed", self.seed, least=0),
        )
        return Planned(sampler, sampler, choice.reasons if self.window_size is None else ())


@dataclass(frozen=True, slots=True)
class OwnPlan:
    """Batches as a sampler of the user's own says."""

    own: Sampler

    def planned(self, storage: Storage) -> Planned:
        """Return the sampler, whose answers are checked."""
        return Planned(self.own, CheckedSampler(self.own, storage.dataset.rows_per_era))


Plan = RowPlan | EraPlan | OwnPlan


def plan_of(
    *,
    sampler: Sampler | None,
    batch_size: int | None,
    eras_per_batch: int | None,
    rows_per_era: int | None,
    drop_remainder: bool,
    **others: Any,
) -> Plan:
    """Return the plan that arguments of `Batches` ask for.

    Raises
    ------
    BatchError
        Some of the arguments exclude each other.
    """
    sizes = {
        "batch_size": batch_size,
        "eras_per_batch": eras_per_batch,
        "rows_per_era": rows_per_era,
        **others,
    }
    if sampler is not None:
        if any(value is not None for value in sizes.values()) or not drop_remainder:
            raise BatchError(
                "sampler: a sampler of your own decides on the rows alone; leave out "
                f"{', '.join(sizes)} and drop_remainder"
            )
        return OwnPlan(sampler)
    if eras_per_batch is not None:
        if batch_size is not None:
            raise BatchError(
                "batch_size, eras_per_batch: expected one of them: a batch has batch_size rows of "
                "any eras, or eras_per_batch eras and rows_per_era rows of each"
            )
        return EraPlan(
            eras_per_batch=eras_per_batch,
            rows_per_era=rows_per_era,
            drop_remainder=drop_remainder,
            **others,
        )
    if rows_per_era is not None:
        raise BatchError(
            f"rows_per_era: expected only beside eras_per_batch, found {shown(rows_per_era)}; give "
            "eras_per_batch too, or batch_size alone"
        )
    return RowPlan(batch_size=batch_size, drop_remainder=drop_remainder, **others)


def _is_by_rows(given: EraWeights) -> bool:
    return isinstance(given, str) and given == BY_ROWS


def _weights(dataset: Dataset, given: EraWeights) -> Float64:
    eras = dict(zip(dataset.eras, dataset.rows_per_era, strict=True))
    return era_weights(given, eras, [shard.era for shard in dataset.manifest.shards])


def _pool(pool_batches: int | None) -> int | None:
    return None if pool_batches is None else whole("pool_batches", pool_batches)
