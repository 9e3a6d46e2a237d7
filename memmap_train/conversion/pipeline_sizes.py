"""The sizes of a pipeline's buffers and blocks, chosen so that they stay within a memory budget.

Takes a plan, the files and a number of bytes; returns the number of threads, the rows of a
chunk, the columns of a block and where row groups are transposed. Reads and writes nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from ..dataset.format import N_COUNTS
from ..system.direct_io import BLOCK_BYTES
from .parquet.columns import DECODING_BYTES, columns_at_once
from .parquet.file import ParquetFileInfo
from .plan import ConversionPlan, RowGroup
from .transpose import Field

_CHUNK_BYTES = 8_000_000  # encoded rows written at once: within the last-level cache
_BUFFERS_SHARE = 0.125  # of the budget, for rows on their way to the disk
_MIN_BLOCK_BYTES = 32  # bytes of a row that are collected before they are transposed
_ID_COPIES = 4  # Arrow's, with wide offsets, of one width, in the order of eras


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineLimits:
    """Limits of the parts in which a row group is processed.

    Attributes
    ----------
    chunk_rows : int
        The most rows of a chunk. An era seldom has more: threads wait for each other at every call.
    block_columns : int
        The most columns that a thread decodes before it transposes them.
    ids_bytes : int
        Bytes of ids that are read at once.
    row_bytes : int
        Bytes that are held for each row of a row group: the number of its era and its position,
        for two row groups at once.
    """

    chunk_rows: int = 8192
    block_columns: int = 256
    ids_bytes: int = 8_000_000
    row_bytes: int = 24

    def ids_at_once(self, id_width: int) -> int:
        """Return how many ids of this width are read at once."""
        return max(1, self.ids_bytes // id_width)


DEFAULT_LIMITS = PipelineLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSizes:
    """The sizes of a pipeline.

    Attributes
    ----------
    n_workers : int
        Threads that decode and encode.
    chunk_rows : int
        The most rows of a chunk.
    n_buffers, buffer_bytes : int
        Number and size of the buffers of rows on their way to the disk.
    n_stores : int
        How many row groups are held in memory while they are transposed: 2, 1, or 0 if they are
        held in a file.
    store_bytes : int
        Bytes of each of these.
    fields : dict of str to Field
        The kinds of columns, and how many are decoded at once.
    """

    n_workers: int
    chunk_rows: int
    n_buffers: int
    buffer_bytes: int
    n_stores: int
    store_bytes: int
    fields: dict[str, Field]


def choose_sizes(
    plan: ConversionPlan,
    files: Sequence[ParquetFileInfo],
    todo: Collection[str],
    budget: int,
    n_workers: int,
    limits: PipelineLimits = DEFAULT_LIMITS,
) -> PipelineSizes:
    """Return the sizes with which a pipeline stays within a budget.

    Parameters
    ----------
    plan : ConversionPlan
    files : sequence of ParquetFileInfo
    todo : collection of str
        The eras that are to be written.
    budget : int
        Bytes of buffers.
    n_workers : int
        The most threads.
    limits : PipelineLimits, optional
    """
    groups = [group for group in plan.groups if any(era in todo for era in group.eras)]
    feature_bytes = len(plan.columns.schema.features) * np.dtype(plan.options.dtype).itemsize
    widest = max(1, feature_bytes, plan.id_width)
    chunk_rows = max(1, min(limits.chunk_rows, _CHUNK_BYTES // widest))
    # One buffer for each thread to fill, and as many on their way to the disk.
    buffer_bytes = chunk_rows * feature_bytes + BLOCK_BYTES
    affordable = int(budget * _BUFFERS_SHARE) // (2 * buffer_bytes)
    n_buffers = 2 * max(1, min(n_workers, affordable))
    budget -= n_buffers * buffer_bytes
    n_stores, store_bytes = _stores(plan, groups, todo, budget)
    budget -= n_stores * store_bytes + _held_bytes(plan, limits)
    rows = max((group.rows for group in groups), default=1)
    fixed = _fixed_bytes(plan, files, rows, limits)
    n_workers = max(1, min(n_workers, budget // (fixed + _MIN_BLOCK_BYTES * rows)))
    block_bytes = budget // n_workers - fixed
    return PipelineSizes(
        n_workers=n_workers,
        chunk_rows=chunk_rows,
        n_buffers=n_buffers,
        buffer_bytes=buffer_bytes,
        n_stores=n_stores,
        store_bytes=store_bytes,
        fields=_fields(plan, block_bytes // rows, n_workers, limits),
    )


def least_budget(
    plan: ConversionPlan,
    files: Sequence[ParquetFileInfo],
    limits: PipelineLimits = DEFAULT_LIMITS,
) -> int:
    """Return the bytes of buffers with which one thread can decode the largest row group."""
    rows = max((group.rows for group in plan.groups), default=1)
    for_disk = 2 * (_CHUNK_BYTES + BLOCK_BYTES)
    a_thread = _fixed_bytes(plan, files, rows, limits) + _MIN_BLOCK_BYTES * rows
    return for_disk + _held_bytes(plan, limits) + a_thread


def _stores(
    plan: ConversionPlan, groups: Sequence[RowGroup], todo: Collection[str], budget: int
) -> tuple[int, int]:
    """Return how many row groups are transposed in memory at once, and the bytes of the largest."""
    rows = (sum(n for era, n in group.eras.items() if era in todo) for group in groups)
    store_bytes = max(rows, default=0) * plan.staged_row_bytes
    for n_stores in (2, 1):
        if n_stores * store_bytes <= budget // 2:
            return min(n_stores, max(1, len(groups))), store_bytes
    return 0, 0


def _fields(
    plan: ConversionPlan, row_bytes: int, n_workers: int, limits: PipelineLimits
) -> dict[str, Field]:
    """Return the kinds of columns, in blocks of this many bytes of a row, or of the least size."""
    schema = plan.columns.schema

    def block(n_columns: int, item: int) -> int:
        share = -(-n_columns // (2 * n_workers))  # two blocks per worker at least
        fitting = min(row_bytes // item, share)
        most = min(max(-(-_MIN_BLOCK_BYTES // item), fitting), limits.block_columns)
        return -(-n_columns // -(-n_columns // most))  # as many, of much the same size

    dtype = np.dtype(np.int8 if schema.integer_features else np.float32)
    n_features, n_targets = len(schema.features), len(schema.targets)
    fields = {"features": Field(dtype, n_features, block(n_features, dtype.itemsize))}
    if schema.targets:
        fields["targets"] = Field(np.dtype(np.float32), n_targets, block(n_targets, 4))
    if schema.id is not None:
        fields["ids"] = Field(np.dtype(f"S{plan.id_width}"), 1, 1)
    return fields


def _held_bytes(plan: ConversionPlan, limits: PipelineLimits) -> int:
    """Return the bytes held throughout: for rows of row groups, and counts of unfinished eras."""
    rows = max((group.rows for group in plan.groups), default=1)
    last = {era: number for number, group in enumerate(plan.groups) for era in group.eras}
    begun: set[str] = set()
    ended, most = 0, 0
    for number, group in enumerate(plan.groups):
        begun.update(group.eras)
        most = max(most, len(begun) - ended)
        ended += sum(last[era] == number for era in group.eras)
    per_era = 4 * N_COUNTS * len(plan.columns.schema.features)
    return limits.row_bytes * rows + most * per_era


def _fixed_bytes(
    plan: ConversionPlan, files: Sequence[ParquetFileInfo], rows: int, limits: PipelineLimits
) -> int:
    """Return the bytes that a thread needs to decode this many rows, without its block."""
    features, id_bytes = plan.columns.schema.features, 0
    # Arrow's memory for the columns of one call (and again as they are gathered into one array).
    item = max(file.item_bytes(features) for file in files)
    decoded = columns_at_once(rows, item) * rows * (DECODING_BYTES + 4 * item)
    if plan.id_width:
        id_bytes = _ID_COPIES * limits.ids_at_once(plan.id_width) * plan.id_width
    # Encoding takes two chunks as well.
    return 2 * _CHUNK_BYTES + max(decoded, id_bytes)
