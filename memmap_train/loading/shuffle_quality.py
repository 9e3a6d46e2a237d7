"""How well windows and pools shuffle, and the choice of both for a dataset and a machine.

Rows of one era resemble each other: a batch with more pairs of them than a global shuffle would
have gives noisier gradients. The cost follows from rows per era, window and pool alone. Takes
integers; returns rates and a choice with its reasons; there are no files and no random numbers.
"""

from collections import Counter
from dataclasses import dataclass
from math import ceil, floor

import numpy as np
import numpy.typing as npt

from ..text import in_bytes
from .window_sampler import WindowSampler

MAX_INFLATION = 0.05
"""The most by which windows may inflate the variance of a batch's gradient, by default."""
ERA_CORRELATION = 0.01
"""The part of the gradient's variance that rows of one era are assumed to share."""
WINDOW_BYTES = 2**18
"""Windows of this size are copied, and read from an SSD, at nearly full speed."""
_MIN_POOL_BATCHES = 8  # with fewer, the edges of pools and the last pool matter
_MIN_CHOSEN_POOL = 2  # batches, if memory is short
_MAX_POOL_ROWS = 2**19  # limits pools of narrow rows: the first batch waits for its pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Shuffling:
    """How well windows and pools shuffle, compared with a global shuffle.

    Attributes
    ----------
    same_era_rate, ideal_same_era_rate : float
        Share of the pairs of rows in a batch that are of one era; the same for a global shuffle.
    eras_per_batch, ideal_eras_per_batch : float
        Expected number of eras in a batch; the same for a global shuffle.
    batch_size : int
    """

    same_era_rate: float
    ideal_same_era_rate: float
    eras_per_batch: float
    ideal_eras_per_batch: float
    batch_size: int

    def inflation(self, era_correlation: float = ERA_CORRELATION) -> float:
        """Return the variance of a batch's mean gradient, times that of a global shuffle.

        Parameters
        ----------
        era_correlation : float
            The part of the gradient's variance that rows of one era share: the intra-class
            correlation of cluster sampling.

        Notes
        -----
        With c the rate of same-era pairs, c* the ideal one and batches of B rows, a batch's mean
        has a variance proportional to ``1 - rho + rho * (1 + (B - 1) c)``, era effects taken as
        independent. Relative to that of a global shuffle, whose own excess is left out, this is
        ``1 + (B - 1) rho (c - c*) / (1 - c*)``.
        """
        if self.ideal_same_era_rate == 1:  # all rows are of one era
            return 1.0
        excess = (self.same_era_rate - self.ideal_same_era_rate) / (1 - self.ideal_same_era_rate)
        return 1 + (self.batch_size - 1) * era_correlation * excess


def shuffling_of(sampler: WindowSampler) -> Shuffling:
    """Return how well a sampler shuffles.

    Notes
    -----
    Two rows of a pool are of one window with the probability that rows at their distance in the
    line of permuted windows are. Rows of different windows are of one era as often as anywhere.
    """
    rows = np.asarray(sampler.rows_per_era, np.int64)
    total = int(rows.sum())
    window = min(sampler.window_size, int(rows.max()))
    batch_size = sampler.batch_size
    same_era_pairs = int((rows * (rows - 1)).sum())
    ideal = same_era_pairs / (total * (total - 1)) if total > 1 else 0.0
    lengths = _window_lengths(rows, window)
    same_window_pairs = int((lengths * np.arange(window + 1) * (np.arange(window + 1) - 1)).sum())
    other_pairs = total * (total - 1) - same_window_pairs
    across = (same_era_pairs - same_window_pairs) / other_pairs if other_pairs else 0.0
    rate = eras = 0.0
    sizes = Counter(sampler.pool_rows(pool) for pool in range(sampler.pools_per_epoch))
    for n_rows, n_pools in sizes.items():
        inside = _same_window_rate(lengths, total, n_rows)
        rate += n_pools * n_rows * (inside + (1 - inside) * across)
        batch = min(batch_size, n_rows)
        eras += n_pools * n_rows * _eras_per_batch(rows, window, total, n_rows, batch)
    used = sum(n_rows * n_pools for n_rows, n_pools in sizes.items())
    return Shuffling(
        same_era_rate=rate / used,
        ideal_same_era_rate=ideal,
        eras_per_batch=eras / used,
        ideal_eras_per_batch=_eras_per_batch(rows, 1, total, total, batch_size),
        batch_size=batch_size,
    )


def _window_lengths(rows: npt.NDArray[np.int64], window: int) -> npt.NDArray[np.int64]:
    """Return the number of windows of each length, from 0 to `window` rows."""
    counts = np.bincount(rows % window, minlength=window + 1)
    counts[0] = 0
    counts[window] += (rows // window).sum()
    return counts


def _same_window_rate(lengths: npt.NDArray[np.int64], total: int, n_rows: int) -> float:
    """Return the share of pairs of a pool's rows that are of one window."""
    if n_rows < 2:
        return 0.0
    # At distance d in the line, sum of (length - d) over the longer windows counts the pairs.
    longer = np.cumsum(lengths[::-1])[::-1][1:]  # windows of more than d rows, d from 0
    pairs = np.cumsum(longer[::-1])[::-1][1:]  # d from 1
    distances = np.arange(1, min(len(pairs) + 1, n_rows))
    pairs = pairs[: len(distances)]
    return float((2 * (n_rows - distances) * (pairs / (total - distances))).sum()) / (
        n_rows * (n_rows - 1)
    )


def _eras_per_batch(
    rows: npt.NDArray[np.int64], window: int, total: int, n_rows: int, batch_size: int
) -> float:
    """Return the expected eras in a batch drawn from a pool of `n_rows` rows.

    A pool is a section of the line of windows: it holds whole windows, and at either edge a part
    of one, each number of rows with the same probability. The probability that no row of a window
    in the pool comes into the batch is known; an era isn't in the batch if none of its windows is.
    """
    kept = 1 - batch_size / n_rows  # of a row of the pool, to miss the batch

    def misses(length: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        shorter, longer = np.minimum(length, n_rows), np.maximum(length, n_rows)
        whole = (longer - shorter + 1) * (1 - kept**shorter)
        at_edges = (shorter - 1) - (kept - kept**shorter) / (1 - kept)
        return np.where(length > 0, 1 - np.minimum(1, (whole + 2 * at_edges) / total), 1.0)

    absent = misses(np.array(window)) ** (rows // window) * misses(rows % window)
    return float((1 - absent).sum())


@dataclass(frozen=True, slots=True)
class WindowChoice:
    """A window and a pool, with the reasons.

    Attributes
    ----------
    window_size : int
        Rows of a window.
    pool_batches : int
    reasons : tuple of str
        The reason for the window and for the pool.
    """

    window_size: int
    pool_batches: int
    reasons: tuple[str, str]


def choose_windows(
    rows_per_era: npt.ArrayLike,
    *,
    batch_size: int,
    row_bytes: int,
    buffered_row_bytes: int,
    memory: int,
    window_bytes: int = WINDOW_BYTES,
    max_inflation: float = MAX_INFLATION,
    pool_batches: int | None = None,
) -> WindowChoice:
    """Choose the smallest windows that are read at full speed, and pools that mix them well.

    Parameters
    ----------
    rows_per_era : sequence of int
    batch_size : int
    row_bytes : int
        Size of a row in its file.
    buffered_row_bytes : int
        Size of a row in a pool's buffer, where it has the chosen features only.
    memory : int
        Bytes that two pools may take; a pool has at least two batches.
    window_bytes : int
        Size of a window that is read at nearly full speed.
    max_inflation : float
        The most by which windows may inflate the variance of a batch's gradient if rows of one
        era share `ERA_CORRELATION` of it. If memory is short, windows become smaller, not worse.
    pool_batches : int, optional
        Batches of a pool, if the caller has chosen it.
    """
    rows = np.asarray(rows_per_era, np.int64)
    steps = max(1, int(rows.sum()) // batch_size)
    rows_per_pool_batch = max_inflation / ERA_CORRELATION
    longest = int(rows.max())
    fastest = max(1, ceil(window_bytes / row_bytes))
    wanted = min(fastest, longest)
    pool_reason = "pool: as asked for"
    if pool_batches is None:
        affordable = max(_MIN_CHOSEN_POOL, memory // (2 * batch_size * buffered_row_bytes))
        affordable = min(affordable, max(_MIN_POOL_BATCHES, _MAX_POOL_ROWS // batch_size))
        needed = _MIN_POOL_BATCHES
        if rows_per_pool_batch:
            needed = max(needed, ceil((wanted - 1) / rows_per_pool_batch))
        # Pools have nearly equal sizes: as few and as large ones as memory allows.
        pools = max(1, steps // needed, ceil(steps / affordable))
        pool_batches = ceil(steps / pools)
        if pools == 1:
            pool_reason = "pool: a whole epoch"
        elif affordable < needed:
            pool_reason = f"pool: as large as {in_bytes(memory)} of memory for two of them allow"
        else:
            pool_reason = (
                "pool: just large enough that windows inflate the gradient's variance by less than "
                f"{max_inflation:.0%} where rows of an era share {ERA_CORRELATION:.0%} of it"
            )
    smallest = steps // ceil(steps / pool_batches)
    window_size = min(wanted, 1 + floor(smallest * rows_per_pool_batch))
    if window_size < wanted:
        window_reason = "window: as large as a pool of this size mixes well enough"
    elif wanted == longest:
        window_reason = "window: a whole era"
    else:
        window_reason = f"window: {in_bytes(window_bytes)}, which are read at nearly full speed"
    return WindowChoice(window_size, pool_batches, (window_reason, pool_reason))


def pool_for_window(window_size: int) -> int:
    """Return the batches of a pool for a given window; they depend on nothing else.

    Notes
    -----
    Two rows of a batch come from one window with a probability of about (window - 1) / (pool rows).
    With rows of one era sharing a part rho of the gradient's variance, that inflates the variance
    of a batch's mean by about rho * (window - 1) / pool_batches.
    """
    per_batch = MAX_INFLATION / ERA_CORRELATION
    return max(_MIN_POOL_BATCHES, ceil((window_size - 1) / per_batch))
