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

_BLOCK_WINDOWS = 4
"""A block comes from so many places of its era, where the disk allows it: the order of its rows may
have a meaning."""
_POOL_BATCHES, _MIN_POOL_BATCHES = 16, 2
"""Reading a pool at once disturbs a training less than reading batch by batch."""
_MAX_POOL_ROWS = 2**18  # limits pools of whole eras: the first batch waits for its pool


def choose_era_windows(
    *,
    block_rows: int,
    has_whole_eras: bool,
    batch_size: int,
    row_bytes: int,
    buffered_row_bytes: int,
    memory: int,
    window_bytes: int,
    from_disk: bool,
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
    from_disk : bool
        Whether rows come from the disk in each epoch: smaller windows would take longer.
    """
    fastest, most = ceil(window_bytes / row_bytes), block_rows
    if not has_whole_eras and not from_disk:
        most = max(1, block_rows // _BLOCK_WINDOWS)
    window = min(fastest, most)
    reason = f"window: {in_bytes(window_bytes)}, which are read at nearly full speed"
    if window == block_rows:
        reason = f"window: all {block_rows:,} rows of a block"
    elif window < fastest:
        reason = f"window: the rows of a block come from {_BLOCK_WINDOWS} places of its era"
    if not has_whole_eras:
        window = _divisor(block_rows, window, most)
    wanted = min(_POOL_BATCHES, max(_MIN_POOL_BATCHES, _MAX_POOL_ROWS // batch_size))
    affordable = memory // (2 * batch_size * buffered_row_bytes)
    pool = min(wanted, max(_MIN_POOL_BATCHES, affordable))
    pool_reason = f"pool: {counted(pool, 'batch', 'batches')}, which are read together"
    if affordable < wanted:
        pool_reason = f"pool: as large as {in_bytes(memory)} of memory for two of them allow"
    return WindowChoice(window, pool, (reason, pool_reason))


def _divisor(block_rows: int, window: int, most: int) -> int:
    """Return a window near a wanted one that divides a block, so that blocks cut no window.

    It is larger if it isn't above `most`, or else at least half of the wanted one, if possible.

    >>> [_divisor(512, window, 128) for window in (74, 64, 128, 1)], _divisor(510, 74, 80)
    ([128, 64, 128, 1], 51)
    >>> _divisor(509, 74, 127)
    74
    """
    divisors = [rows for rows in range(1, block_rows + 1) if block_rows % rows == 0]
    larger = [rows for rows in divisors if window <= rows <= min(most, 2 * window)]
    smaller = [rows for rows in divisors if window / 2 <= rows < window]
    return min(larger, default=max(smaller, default=window))


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
    n_eras, mean = sampler.eras_per_batch, float((share * in_block).sum())
    n_rows = n_eras * mean
    pairs = n_eras * float((share * in_block * (in_block - 1)).sum())
    all_pairs = pairs + n_eras * (n_eras - 1) * mean**2
    ideal = float((rows * (rows - 1)).sum() / (total * (total - 1))) if total > 1 else 0.0
    absent = (1 - n_rows / total) ** rows if n_rows < total else np.zeros_like(rows)
    return Shuffling(
        same_era_rate=pairs / all_pairs if all_pairs else 0.0,
        ideal_same_era_rate=ideal,
        eras_per_batch=float(n_eras),
        ideal_eras_per_batch=float((1 - absent).sum()),
        batch_size=round(n_rows),
    )
