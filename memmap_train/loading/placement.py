"""What of a dataset is read from memory and what from the disk, on this machine.

A dataset that fits stays in the page cache. Of a larger one the kernel would keep what came last,
which a shuffled epoch asks for last of all: of half a dataset an eighth is found again. So some
eras are chosen to stay, as many as there is memory for, and the others are read past the cache,
where the system can. Reads nothing but a few blocks of one file, to learn what the disk is like.
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
"""Of the memory available: a dataset below it stays in the page cache."""
_KEPT_SHARE = 0.5  # of the memory that buffers leave: for eras to stay in
_MODEL_BYTES = 250_000_000  # left alone, for what else the process does
_MAX_WINDOW_BYTES = 2**22
_PROBES, _PROBED_BYTES = 8, 2**21  # single blocks, for the time to find one; bytes, for the rate


@dataclass(frozen=True, slots=True)
class Placement:
    """How much of a dataset's features memory can hold.

    Attributes
    ----------
    feature_bytes : int
        Of the dataset's eras, whole rows.
    available : int
        Bytes of memory that can be taken: what buffers that are planned in this process will take
        is left out.
    """

    feature_bytes: int
    available: int

    @property
    def fits(self) -> bool:
        """Whether the features stay in the page cache once they were read."""
        return self.feature_bytes <= self.available * _FITTING_SHARE

    @property
    def buffer_bytes(self) -> int:
        """Bytes that buffers may take where nothing is said; features that fit stay in memory."""
        half = self.available // 2
        return min(half, self.available - self.feature_bytes) if self.fits else half

    def window_bytes(self, dataset: Dataset) -> int:
        """Return the bytes of a window that is read at nearly full speed."""
        return WINDOW_BYTES if self.fits else efficient_bytes(_largest_file(dataset))

    def direct_eras(self, dataset: Dataset, buffer_bytes: int) -> tuple[int, ...]:
        """Return the positions of the eras that are to be read past the page cache."""
        if self.fits or not can_read_directly(_largest_file(dataset)):
            return ()
        free = (self.available - buffer_bytes) * _KEPT_SHARE - _MODEL_BYTES
        share = max(0.0, free / self.feature_bytes)
        # Evenly spread: each pool then needs the disk for an equal part of its rows.
        kept = np.diff(np.floor(np.arange(len(dataset.eras) + 1) * share)) > 0
        return tuple(np.flatnonzero(~kept).tolist())


def placement_of(dataset: Dataset, budget: MemoryBudget = PROCESS_MEMORY) -> Placement:
    """Return the placement of a dataset in the memory that is available now.

    Parameters
    ----------
    dataset : Dataset
    budget : MemoryBudget, optional
        By default that of the process.
    """
    return Placement(dataset.feature_bytes, budget.available())


def is_past_cache(dataset: Dataset) -> bool:
    """Tell whether a dataset is better read past the page cache when all of it is read in order.

    It is larger than memory, and the system can.
    """
    return not placement_of(dataset).fits and can_read_directly(_largest_file(dataset))


def _largest_file(dataset: Dataset) -> Path:
    era = max(dataset.eras, key=lambda era: dataset.entry(era).rows)
    return dataset[era].file("features")


def efficient_bytes(path: Path) -> int:
    """Return how many bytes a disk must read at a place to be at its rate: a power of two.

    As many as it transfers in the time that it takes to find them; several requests at once hide
    the rest. 256 kB on an SSD, some MB on a disk that turns.

    Parameters
    ----------
    path : Path
        A file on the disk, of some MB at best; not in memory for as long as it is measured.
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
