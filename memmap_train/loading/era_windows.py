"""How batches of eras are read and how well they shuffle: their windows and pools.

Takes integers; returns a choice with its reasons, and rates; no files and no random numbers. Unlike
those of `shuffle_quality`, windows are cut within the rows of a block, and pools only say how much
is read together: neither has an influence on which eras meet.
"""

from math import ceil

import numpy as np

from ..text import counted, in_bytes
from .era_sampler import EraSampler
from .shuffle_quality import Shuffling, WindowChoice

_MIN_BLOCK_WINDOWS = 8
"""A block is drawn from so many places of its era: the order of its rows may have a meaning."""
_POOL_BATCHES, _MIN_POOL_BATCHES = 16, 2
"""Reading a pool at once disturbs a training less than reading batch by batch."""


def choose_era_windows(
    *,
    block_rows: int,
    has_whole_eras: bool,
    batch_size: int,
    row_bytes: int,
    buffered_row_bytes: int,
    memory: int,
    window_bytes: int,
) -> WindowChoice:
    """Choose windows that are read at full speed, and pools that fit into memory.

    Parameters
    ----------
    block_rows : int
        Rows of an era in a batch.
    has_whole_eras : bool
    batch_size : int
        Rows of a batch.
    row_bytes, buffered_row_bytes : int
        Size of a row in its file; in a pool's buffer, where it has the chosen features only.
    memory : int
        Bytes that two pools may take.
    window_bytes : int
        Size of a window that is read at nearly full speed.
    """
    window = ceil(window_bytes / row_bytes)
    reason = f"window: {in_bytes(window_bytes)}, which are read at nearly full speed"
    most = block_rows if has_whole_eras else max(1, block_rows // _MIN_BLOCK_WINDOWS)
    if window > most:
        window = most
        reason = "window: a whole era"
        if not has_whole_eras:
            reason = f"window: the rows of a block come from {_MIN_BLOCK_WINDOWS} places of its era"
    affordable = memory // (2 * batch_size * buffered_row_bytes)
    pool = min(_POOL_BATCHES, max(_MIN_POOL_BATCHES, affordable))
    pool_reason = f"pool: {counted(pool, 'batch', 'batches')}, which are read together"
    if affordable < _POOL_BATCHES:
        pool_reason = f"pool: as large as {in_bytes(memory)} of memory for two of them allow"
    return WindowChoice(window, pool, (reason, pool_reason))


def shuffling_of_eras(sampler: EraSampler) -> Shuffling:
    """Return how well a sampler of eras shuffles, compared with a global shuffle of all rows.

    Notes
    -----
    The rows of a batch resemble each other as those of few eras do: for a loss that is a mean over
    rows this makes noisier gradients. A loss that compares the rows of an era needs them together.
    """
    rows = np.array(list(sampler.eras.values()), np.float64)
    total = rows.sum()
    share = sampler.blocks_per_epoch / sampler.blocks_per_epoch.sum()
    in_block = rows if sampler.has_whole_eras else np.full_like(rows, sampler.block_rows)
    n_rows = sampler.eras_per_batch * float((share * in_block).sum())
    pairs = sampler.eras_per_batch * float((share * in_block * (in_block - 1)).sum())
    ideal = float((rows * (rows - 1)).sum() / (total * (total - 1))) if total > 1 else 0.0
    absent = (1 - n_rows / total) ** rows if n_rows < total else np.zeros_like(rows)
    return Shuffling(
        same_era_rate=min(1.0, pairs / (n_rows * (n_rows - 1))) if n_rows > 1 else 0.0,
        ideal_same_era_rate=ideal,
        eras_per_batch=float(sampler.eras_per_batch),
        ideal_eras_per_batch=float((1 - absent).sum()),
        batch_size=round(n_rows),
    )
