"""Measured rates: of memory, of a disk, and of the batches of a dataset."""

import itertools
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np

from ..system.buffers import disk_buffer
from ..system.direct_io import can_read_directly
from ..system.resources import available_memory, n_cores
from ..system.threads import ThreadPool
from .batches import Batches
from .gather import PoolReader
from .stream import Stream

_COPIED_BYTES, _MIN_COPIED_BYTES = 200_000_000, 1_000_000
_DISK_SECONDS = 1.0  # of reading, in each of two ways
PART_BYTES = 2_000_000_000  # the most that is dropped and read again
_DISK_REQUESTS = ((1, 2**22), (4, 2**20))  # threads, bytes: what disks read fastest by


@dataclass(frozen=True, slots=True)
class Rate:
    """The cost of reading batches.

    Attributes
    ----------
    rows_per_second : float
    bytes_per_second, stored_bytes_per_second : float
        Counting delivered float32 features; counting whole rows as they are stored.
    cpu_seconds_per_million_rows : float
    read_amplification : float or None
        Bytes read from the disk for each byte of rows used; None if the system doesn't count them.
    major_faults : int or None
        Number of times that a thread waited for the disk in the middle of a copy.
    idle_share : float
        Share of the time of all cores that was spent waiting, for the disk or for each other.
    """

    rows_per_second: float
    bytes_per_second: float
    stored_bytes_per_second: float
    cpu_seconds_per_million_rows: float
    read_amplification: float | None
    major_faults: int | None
    idle_share: float


def memcpy_rate(n_threads: int) -> float:
    """Return the bytes per second that threads copy between two warm arrays."""
    n_bytes = max(_MIN_COPIED_BYTES, min(_COPIED_BYTES, available_memory() // 8))
    source, target = (np.ones(n_bytes, np.uint8) for _ in range(2))
    edges = np.linspace(0, n_bytes, n_threads + 1).astype(int).tolist()
    parts = [slice(a, b) for a, b in itertools.pairwise(edges)]
    seconds = []
    with ThreadPool(n_threads) as threads:
        for _ in range(5):
            started = time.perf_counter()
            list(threads.map(lambda part: np.copyto(target[part], source[part]), parts))
            seconds.append(time.perf_counter() - started)
    return n_bytes / statistics.median(seconds)


def disk_rate(paths: Sequence[Path]) -> float | None:
    """Return the bytes per second at which a disk is read sequentially, with direct I/O.

    It is the faster rate of one large request at a time, and of several. None if direct I/O isn't
    supported.
    """
    if not paths or not can_read_directly(paths[0]):
        return None
    return max(_direct_rate(paths, *requests) for requests in _DISK_REQUESTS)


def _direct_rate(paths: Sequence[Path], n_threads: int, n_bytes: int) -> float:
    started = time.perf_counter()
    deadline = started + _DISK_SECONDS

    def read(part: Sequence[Path]) -> int:
        memory, total = disk_buffer(n_bytes), 0
        for path in itertools.cycle(part):
            file = os.open(path, os.O_RDONLY | os.O_DIRECT)
            try:
                place = 0
                while n_read := os.preadv(file, [memory], place):
                    place += n_read
                    total += n_read
                    if n_read < n_bytes or time.perf_counter() > deadline:
                        break
            finally:
                os.close(file)
            if time.perf_counter() > deadline:
                return total
        return total

    parts = [paths[i::n_threads] for i in range(min(n_threads, len(paths)))]
    with ThreadPool(n_threads) as threads:
        total = sum(threads.map(read, parts))
    return total / (time.perf_counter() - started)


@dataclass(frozen=True, slots=True)
class _Counters:
    wall: float
    cpu: float
    read_bytes: int | None
    major_faults: int | None

    @classmethod
    def now(cls) -> "_Counters":
        return cls(time.perf_counter(), time.process_time(), read_bytes(), _major_faults())


def measure(batches: Batches, *, direct: bool | None = None, n_steps: int | None = None) -> Rate:
    """Return the rate at which batches are read if they are dropped at once.

    Parameters
    ----------
    batches : Batches
    direct : bool, optional
        Read all eras with direct I/O, or none; by default as `batches` does.
    n_steps : int, optional
        Number of steps; the default is an epoch, or as many as hold `PART_BYTES`.

    Notes
    -----
    Time counts from the request for the first batch. Buffers were used before, as they are after
    the first moments of a training.
    """
    reader = _reader(batches, direct)
    if n_steps is None:
        batch_bytes = batches.batch_size * reader.stored_row_bytes
        n_steps = min(len(batches), ceil(PART_BYTES / batch_bytes))
    for buffer in [reader.buffers(batches.sampler.max_pool_rows)[0] for _ in range(2)]:
        buffer.fill(0)
    del buffer  # if it were held, the stream would allocate a third one
    before = _Counters.now()
    with Stream(batches.sampler, reader, 0, n_steps) as stream:
        for batch in stream:
            del batch
    after = _Counters.now()
    reader.release()  # the next measurement has all of the memory
    n_rows = n_steps * batches.batch_size
    wall, cpu = after.wall - before.wall, after.cpu - before.cpu
    read_bytes = major_faults = None
    if before.read_bytes is not None and after.read_bytes is not None:
        read_bytes = after.read_bytes - before.read_bytes
    if before.major_faults is not None and after.major_faults is not None:
        major_faults = after.major_faults - before.major_faults
    return Rate(
        rows_per_second=n_rows / wall,
        bytes_per_second=n_rows * len(batches.feature_names) * 4 / wall,
        stored_bytes_per_second=n_rows * reader.stored_row_bytes / wall,
        cpu_seconds_per_million_rows=cpu / n_rows * 1e6,
        read_amplification=None
        if read_bytes is None
        else read_bytes / (n_rows * reader.stored_row_bytes),
        major_faults=major_faults,
        idle_share=max(0.0, 1 - cpu / (wall * n_cores())),
    )


def _reader(batches: Batches, direct: bool | None) -> PoolReader:
    if direct is None:
        return batches.reader
    dataset = batches.dataset
    return PoolReader(
        dataset,
        dataset.feature_columns(batches.feature_names),
        dataset.target_columns(batches.target_names or None),
        direct_eras=range(len(dataset.eras)) if direct else (),
    )


def read_bytes() -> int | None:
    """Return the bytes that this process has read from disks; None if they aren't counted."""
    try:
        for line in Path("/proc/self/io").read_text().splitlines():
            if line.startswith("read_bytes:"):
                return int(line.split()[1])
    except OSError:
        pass
    return None


def _major_faults() -> int | None:
    try:
        import resource  # POSIX only
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt
