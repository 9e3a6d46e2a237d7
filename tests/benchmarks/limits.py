"""Lower limits of time: the indispensable parts of a conversion or a check, each alone.

Each function measures one part, on all cores where that helps; `measuring.alone` runs it.
"""

import itertools
import mmap
import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import xxhash

from memmap_train.conversion.parquet.file import read_file_info
from memmap_train.conversion.parquet.handle import ParquetHandle
from memmap_train.system.checksum import Checksum
from memmap_train.system.direct_io import can_read_directly
from memmap_train.system.resources import n_cores

from .measuring import Spent, timed

_DECODED_AT_ONCE = 64  # columns
_BUFFER_BYTES = 1_000_000
"""Within a core's own cache: written from 4 MB, a file took twice the CPU seconds."""


def decode(name: str, paths: Sequence[Path]) -> dict[str, Spent]:
    """Decode all features as a conversion does, blocks of columns on all cores, and drop them."""
    files = [read_file_info(path) for path in paths]
    rows = [max(info.row_groups) for info in files]
    blocks = [np.zeros(_DECODED_AT_ONCE * max(rows), np.int8) for _ in range(n_cores())]

    def work_on(core: int) -> None:
        for info in files:
            with closing(ParquetHandle(info)) as source:
                names = [name for name, _ in info.kinds if name.startswith("feature")]
                firsts = range(core * _DECODED_AT_ONCE, len(names), n_cores() * _DECODED_AT_ONCE)
                for group, n_rows in enumerate(info.row_groups):
                    for first in firsts:
                        some = names[first : first + _DECODED_AT_ONCE]
                        out = blocks[core][: len(some) * n_rows].reshape(len(some), n_rows)
                        source.features(group, some, out)

    with ThreadPoolExecutor(n_cores()) as threads:
        return {name: timed(lambda: list(threads.map(work_on, range(n_cores()))))}


def cross_check(name: str, paths: Sequence[Path]) -> dict[str, Spent]:
    """Decode one feature of each row group with Arrow and digest it, as the cross-check does."""
    files = [read_file_info(path) for path in paths]

    def work() -> None:
        for info in files:
            with closing(ParquetHandle(info)) as handle:
                names = [name for name, _ in info.kinds if name.startswith("feature")]
                for group in range(len(info.row_groups)):
                    Checksum(handle.feature_from_arrow(group, names[group % len(names)]))

    return {name: timed(work)}


def decode_with_arrow(name: str, paths: Sequence[Path]) -> dict[str, Spent]:
    """Decode all features, row group by row group.

    All columns are decoded in one call on Arrow's own threads, which is faster than blocks of
    columns on our threads (0.34 s; blocks of 256 columns took 0.43 s, of 32 columns 0.51 s).
    """

    def work() -> None:
        for path in paths:
            with pq.ParquetFile(path) as file:
                names = [name for name in file.schema_arrow.names if name.startswith("feature")]
                for group in range(file.num_row_groups):
                    file.read_row_group(group, columns=names)

    return {name: timed(work)}


def write(name: str, path: Path, n_bytes: int) -> dict[str, Spent]:
    """Write `n_bytes` to a file, front to back, from one reused buffer, and sync it.

    The parts are `write NAME` and `fsync NAME`.
    """
    buffer = np.random.default_rng(0).integers(0, 256, _BUFFER_BYTES, dtype=np.uint8).data
    with open(path, "wb", buffering=0) as file:

        def work() -> None:
            left = n_bytes
            while left:
                left -= file.write(buffer[: min(left, len(buffer))])

        parts = {f"write {name}": timed(work)}
        parts[f"fsync {name}"] = timed(lambda: os.fsync(file.fileno()))
    path.unlink()
    return parts


def digest(name: str, n_bytes: int, buffer_bytes: int) -> dict[str, Spent]:
    """Digest `n_bytes` with xxh3_128; each core digests a buffer of its own repeatedly."""
    cores = n_cores()
    buffers = [np.ones(buffer_bytes, np.uint8).data for _ in range(cores)]

    def work(buffer: memoryview) -> None:
        digest = xxhash.xxh3_128()
        left = n_bytes // cores
        while left:
            part = buffer[: min(left, len(buffer))]
            digest.update(part)
            left -= len(part)

    with ThreadPoolExecutor(cores) as threads:
        return {name: timed(lambda: list(threads.map(work, buffers)))}


def read(name: str, paths: Sequence[Path], n_threads: int) -> dict[str, Spent]:
    """Read files front to back, each thread into one reused buffer."""
    buffers = [bytearray(_BUFFER_BYTES) for _ in range(n_threads)]

    def work(buffer: bytearray, files: Sequence[Path]) -> None:
        for path in files:
            with open(path, "rb", buffering=0) as file:
                if hasattr(os, "posix_fadvise"):  # the kernel reads further ahead
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
                while file.readinto(buffer):
                    pass

    shares = [paths[first::n_threads] for first in range(n_threads)]
    with ThreadPoolExecutor(n_threads) as threads:
        return {name: timed(lambda: list(threads.map(work, buffers, shares)))}


def direct_rate(paths: Sequence[Path], seconds: float = 1.0) -> float | None:
    """Return the bytes per second of direct reads, front to back, as `dd` reads.

    One thread reads a megabyte at a time into ordinary memory. None if direct reads are refused.
    """
    if not can_read_directly(paths[0]):
        return None
    memory, total = mmap.mmap(-1, 2**20), 0
    started = time.perf_counter()
    for path in itertools.cycle(paths):
        file = os.open(path, os.O_RDONLY | os.O_DIRECT)
        try:
            place = 0
            while n_read := os.preadv(file, [memory], place):
                place, total = place + n_read, total + n_read
                if n_read < len(memory):
                    break
        finally:
            os.close(file)
        if time.perf_counter() - started > seconds:
            break
    return total / (time.perf_counter() - started)


def memcpy_rate(threads: int, n_bytes: int = 400_000_000) -> float:
    """Return the bytes copied per second between two warm arrays."""
    source, target = np.ones(n_bytes, np.uint8), np.ones(n_bytes, np.uint8)
    edges = np.linspace(0, n_bytes, threads + 1).astype(int)
    parts = [slice(a, b) for a, b in itertools.pairwise(edges)]
    with ThreadPoolExecutor(threads) as executor:

        def copy() -> None:
            list(executor.map(lambda part: np.copyto(target[part], source[part]), parts))

        copy()
        return n_bytes / statistics.median(timed(copy).seconds for _ in range(5))
