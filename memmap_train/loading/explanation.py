"""How batches are shuffled and read, in words: a line for `train`, more for the other commands."""

from ..text import counted, in_bytes
from .batches import Batches
from .era_sampler import EraSampler
from .window_sampler import WindowSampler


def shuffling_line(batches: Batches) -> str:
    """Return the window, the pool, how well they shuffle, and what a rank reads of it."""
    if batches.world_size == 1:
        return _line(batches)
    rows = counted(batches.batch_size, "row")
    return f"{_line(batches)}; rank {batches.rank} of {batches.world_size} reads {rows} of a batch"


def _line(batches: Batches) -> str:
    sampler = batches.sampler
    if isinstance(sampler, EraSampler):
        return _era_line(batches, sampler)
    if not isinstance(sampler, WindowSampler):
        return f"{type(sampler).__name__}, a sampler of your own"
    quality = batches.shuffling
    window = f"{batches.window_size:,} row{'' if batches.window_size == 1 else 's'}"
    whole = " (a whole epoch)" if sampler.pools_per_epoch == 1 else ""
    return (
        f"window {window}, pool {batches.pool_batches:,} batches{whole}: "
        f"{quality.eras_per_batch:,.0f} of {quality.ideal_eras_per_batch:,.0f} eras per batch, "
        f"gradient variance {quality.inflation():.3f}x a global shuffle"
    )


def _era_line(batches: Batches, sampler: EraSampler) -> str:
    """Return the eras of a batch, the rows of each, and how often an era comes."""
    rows = f"{sampler.block_rows:,} rows of each, window {counted(batches.window_size, 'row')}"
    if sampler.has_whole_eras:
        rows = f"all rows of each, up to {sampler.block_rows:,}"
    blocks = sampler.blocks_per_epoch
    least, most = f"{blocks.min():,.3g}", f"{blocks.max():,.3g}"
    times = f"{least} to {most} times" if least != most else f"{least} times"
    if least == most == "1":
        times = "once"
    return (
        f"{counted(sampler.eras_per_batch, 'era')} per batch, {rows}, pool "
        f"{counted(batches.pool_batches, 'batch', 'batches')}; each of "
        f"{counted(len(sampler.eras), 'era')} {times} per epoch"
    )


def shuffling_details(batches: Batches) -> list[str]:
    """Return sizes, the share of pairs of rows of one era, and the reasons of window and pool."""
    if not isinstance(batches.sampler, WindowSampler | EraSampler):
        return []
    row_bytes = batches.dataset.feature_bytes // batches.dataset.n_rows
    quality = batches.shuffling
    return [
        f"a window takes {in_bytes(batches.window_size * row_bytes)}, a pool "
        f"{in_bytes(batches.pool_bytes)}",
        f"{quality.same_era_rate:.3%} of the pairs of rows in a batch are of one era, "
        f"{quality.ideal_same_era_rate:.3%} in a global shuffle",
        *batches.reasons,
    ]


def reading_line(batches: Batches) -> str:
    """Return a line that says if features come from memory or from the disk."""
    placement = batches.placement
    features = f"{in_bytes(placement.feature_bytes)} of features"
    memory = f"{in_bytes(placement.available)} of memory available"
    if placement.fits:
        return f"{features} fit into the {memory}"
    if not batches.direct_eras:
        return f"{features} for {memory}: all by the page cache, this disk has no direct I/O"
    n_kept = len(batches.dataset.eras) - len(batches.direct_eras)
    return (
        f"{features} for {memory}: {counted(n_kept, 'era')} in memory, "
        f"{len(batches.direct_eras):,} read from the disk in each epoch"
    )
