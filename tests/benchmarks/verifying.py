"""`verify` beside reading the same files from the disk, and beside digesting memory."""

import ctypes
import mmap
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

import memmap_train as mt
from memmap_train.machine import n_cores

from . import limits
from .measuring import Job, Spent, in_turn, print_table, timed
from .sources import Size, make_dataset

_MOST_RESIDENT = 0.01  # of the files, for a read to count as cold
_MEMORY_BYTES = 200_000_000  # digested by each core: beyond all caches


def run(directory: Path, size: Size) -> None:
    """Print the table."""
    dataset = make_dataset(directory, size, "float32")
    files = sorted(dataset.path.rglob("*.npy"))
    n_bytes = sum(file.stat().st_size for file in files)
    cores = n_cores()
    evict, keep = partial(_evict, files), partial(limits.read, "", files, 1)
    one, many = "cold: read the files, one thread", f"cold: read the files, {cores} threads"
    jobs = [
        Job(limits.read, (one, files, 1), evict),
        Job(limits.read, (many, files, cores), evict),
        Job(_verify, ("cold: verify", dataset.path), evict),
        Job(limits.read, (f"warm: read the files, {cores} threads", files, cores), keep),
        Job(limits.digest, ("warm: digest as many bytes of memory", n_bytes, _MEMORY_BYTES)),
        Job(_verify, ("warm: verify", dataset.path), keep),
    ]
    found = in_turn(jobs, size.repeats)
    print_table(
        f"Verifying {len(files):,} files, {n_bytes / 1e9:.2f} GB, on {cores} cores; cold: none of "
        "it in the page cache of this machine (a virtual one's host may have its own)",
        ["what", "seconds", "CPU seconds", "GB/s"],
        [
            [
                name,
                f"{part.seconds:.2f}",
                f"{part.cpu_seconds:.2f}",
                f"{n_bytes / part.seconds / 1e9:.2f}",
            ]
            for name, part in found.items()
        ],
    )


def _verify(name: str, path: Path) -> dict[str, Spent]:
    def work() -> None:
        problems = list(mt.verify(path))
        assert not problems, problems

    return {name: timed(work)}


def _evict(files: Sequence[Path]) -> None:
    """Drop files from the page cache, and make sure that they are gone."""
    for file in files:
        with open(file, "rb") as opened:
            os.fsync(opened.fileno())  # what isn't on disk yet can't be dropped
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    share = sum(map(_resident_bytes, files)) / sum(file.stat().st_size for file in files)
    if share > _MOST_RESIDENT:
        raise SystemExit(f"error: {share:.0%} of the files stay in the page cache: no cold reads")


def _resident_bytes(file: Path) -> int:
    """Return how much of a file is in the page cache, without reading any of it."""
    mapped = np.memmap(file, np.uint8, mode="r")
    pages = np.empty(-(-len(mapped) // mmap.PAGESIZE), np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    address, n_bytes = ctypes.c_void_p(mapped.ctypes.data), ctypes.c_size_t(len(mapped))
    if libc.mincore(address, n_bytes, ctypes.c_void_p(pages.ctypes.data)):
        raise OSError(ctypes.get_errno(), "mincore")
    return int((pages & 1).sum()) * mmap.PAGESIZE
