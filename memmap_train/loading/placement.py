"""Decide which eras stay in the page cache and which are read with direct I/O.

A dataset that fits stays in the page cache. With a larger one the kernel would keep what was read
last, which a shuffled epoch needs last: with memory for half of a dataset, an eighth is found
again. So as many eras as fit are chosen to stay, and the others are read with direct I/O, if the
system supports it. A few blocks of one file are read to measure the disk.
"""

import mmap
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..dataset.dataset import Dataset
from ..system.direct_io import can_read_directly
from ..system.memory_budget import PROCESS_MEMORY, MemoryBudget
from .shuffle_quality import WINDOW_BYTES

_FITTING_SHARE = 0.8
"""A dataset that takes less than this share of the available memory stays in the page cache."""
_KEPT_SHARE = 0.5  # part of the memory left by buffers that is used for eras in the cache
_MODEL_BYTES = 250_000_000  # left for everything else in the process
_MAX_WINDOW_BYTES = 2**22
_PROBES, _PROBED_BYTES = 8, 2**21  # blocks read for the latency; bytes read for the rate


@dataclass(frozen=True, slots=True)
class Placement:
    """The memory for a dataset, and the eras that stay in it.

    Attributes
    ----------
    feature_bytes : int
        Size of the features of the dataset's eras, with all columns.
    available : int
        Bytes of memory that can still be taken; what buffers have reserved is subtracted.
    """

    feature_bytes: int
    available: int

    @property
    def fits(self) -> bool:
        """Whether the features stay in the page cache once they have been read."""
        return self.feature_bytes <= self.available * _FITTING_SHARE

    @property
    def buffer_bytes(self) -> int:
        """Bytes that buffers may take by default; features that fit stay in memory."""
        half = self.available // 2
        return min(half, self.available - self.feature_bytes) if self.fits else half

    def window_bytes(self, dataset: Dataset) -> int:
        """Return the size of the windows that are read at nearly full speed."""
        return WINDOW_BYTES if self.fits else efficient_bytes(_largest_file(dataset))

    def direct_eras(self, dataset: Dataset, buffer_bytes: int) -> tuple[int, ...]:
        """Return the positions of the eras that are to be read with direct I/O."""
        if self.fits or not can_read_directly(_largest_file(dataset)):
            return ()
        free = (self.available - buffer_bytes) * _KEPT_SHARE - _MODEL_BYTES
        share = max(0.0, free / self.feature_bytes)
        # Evenly spread, so that each pool needs the disk for an equal part of its rows.
        kept = np.diff(np.floor(np.arange(len(dataset.eras) + 1) * share)) > 0
        return tuple(np.flatnonzero(~kept).tolist())


def placement_of(dataset: Dataset, budget: MemoryBudget = PROCESS_MEMORY) -> Placement:
    """Return the placement of a dataset in the memory that is available now.

    Parameters
    ----------
    dataset : Dataset
    budget : MemoryBudget, optional
        The default is the budget of the process.
    """
    return Placement(dataset.feature_bytes, budget.available())


def is_past_cache(dataset: Dataset) -> bool:
    """Return True if reading all of a dataset in order uses direct I/O.

    That is so if it is larger than memory and the system supports it.
    """
    return not placement_of(dataset).fits and can_read_directly(_largest_file(dataset))


def _largest_file(dataset: Dataset) -> Path:
    era = max(dataset.eras, key=lambda era: dataset.entry(era).rows)
    return dataset[era].file("features")


def efficient_bytes(path: Path) -> int:
    """Return the size of requests that a disk serves at nearly its full rate: a power of two.

    It is the number of bytes that the disk transfers in the time that it needs to find them;
    several requests at once hide that time. This is 256 kB on an SSD, some MB on a hard disk.

    Parameters
    ----------
    path : Path
        A file on the disk, best of some MB.
    """
    if not can_read_directly(path):
        return WINDOW_BYTES
    file = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        memory = memoryview(mmap.mmap(-1, _PROBED_BYTES))
        block = mmap.PAGESIZE
        last = max(0, os.fstat(file).st_size - _PROBED_BYTES) // block

        def seconds(n_bytes: int, place: int) -> float:
            started = time.perf_counter()
            os.preadv(file, [memory[:n_bytes]], place * block)
            return time.perf_counter() - started

        places = np.random.default_rng(0).integers(0, last + 1, _PROBES).tolist()
        finding = statistics.median(seconds(block, place) for place in places)
        transfer = min(seconds(_PROBED_BYTES, place) for place in (0, last)) - finding
    except OSError:
        return WINDOW_BYTES
    finally:
        os.close(file)
    n_bytes = finding * _PROBED_BYTES / max(transfer, 1e-6)
    return int(min(max(WINDOW_BYTES, 2 ** np.ceil(np.log2(n_bytes))), _MAX_WINDOW_BYTES))
