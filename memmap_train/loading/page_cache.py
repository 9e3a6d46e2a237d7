"""The part of a dataset that is in the page cache, and reading ahead into it.

A dataset that fits into memory is trained on from the page cache. Takes a dataset; returns
bytes; files are mapped only while the kernel is asked about them.
"""

import ctypes
import mmap
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..dataset.dataset import Dataset
from ..errors import ShardError
from ..progress import Progress, ignore
from ..system.file_access import advise, map_file
from ..system.resources import n_cores, raise_open_file_limit
from ..system.scratch import ThreadScratch
from ..system.threads import ThreadPool
from ..text import counted, in_bytes
from .placement import Placement, placement_of

_READ_BYTES = 2**20


def resident_bytes(path: Path) -> int | None:
    """Return the bytes of a file that are in the page cache; None if that can't be found out.

    Raises
    ------
    ShardError
        The file can't be read.

    Notes
    -----
    The answer is that of `mincore`, which is right only if the user owns the file or may write it.
    Source: mincore(2), and can_do_mincore in mm/mincore.c of Linux 5.2 and later.
    """
    if not _can_ask():
        return None
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            size = status.st_size
            if status.st_uid != os.geteuid() and not os.access(path, os.W_OK):
                return None
            if size == 0:
                return 0
            try:
                mapped = map_file(file.fileno(), size)
            except OSError:  # a file system without maps
                return None
    except OSError as error:
        raise ShardError(f"{path}: can't be read: {error.strerror}") from None
    pages = np.zeros(-(-size // mmap.PAGESIZE), np.uint8)
    address = np.frombuffer(mapped, np.uint8).ctypes.data
    if _mincore()(address, size, pages.ctypes.data):
        return None
    # The lowest bit counts; the last page may be a short one.
    return min(size, int((pages & 1).sum()) * mmap.PAGESIZE)


def resident(dataset: Dataset) -> dict[str, tuple[int | None, int]]:
    """Return {array: (bytes in memory or None, all bytes)} of a dataset's eras."""
    found: dict[str, tuple[int | None, int]] = {}
    for era in dataset.eras:
        shard = dataset[era]
        for array, entry in dataset.entry(era).files.items():
            here = resident_bytes(shard.file(array))
            before, total = found.get(array, (0, 0))
            known = None if here is None or before is None else before + here
            found[array] = known, total + entry.bytes
    return found


def read_ahead(
    dataset: Dataset,
    eras: Sequence[str],
    progress: Progress = ignore,
) -> int:
    """Read the arrays of some eras into memory, in their order, on all cores; return the bytes.

    Parameters
    ----------
    dataset : Dataset
    eras : sequence of str
    progress : callable(what, bytes done, bytes in all), optional

    Raises
    ------
    ShardError
        A file can't be read.
    """
    total = sum(file.bytes for era in eras for file in dataset.entry(era).files.values())
    lock = threading.Lock()
    done = 0
    scratch = ThreadScratch()

    def read(path: Path) -> None:
        nonlocal done
        buffer = scratch.array("file", _READ_BYTES, np.uint8).data
        try:
            with open(path, "rb", buffering=0) as file:
                while n_read := file.readinto(buffer):
                    with lock:
                        done += n_read
                        progress("reading ahead", done, total)
        except OSError as error:
            raise ShardError(f"{path}: can't be read: {error.strerror}") from None

    with ThreadPool(n_cores(), thread_name_prefix="read-ahead") as threads:
        files = [dataset[era].file(array) for era in eras for array in dataset.entry(era).files]
        reading = [threads.submit(read, file) for file in files]
        try:
            for task in reading:
                task.result()
        finally:
            threads.shutdown(cancel_futures=True)
    return done


def eras_that_fit(dataset: Dataset) -> tuple[str, ...]:
    """Return the eras that fit into memory: all, or those that training would keep there."""
    placement = placement_of(dataset)
    direct = set(placement.direct_eras(dataset, placement.buffer_bytes))
    return tuple(era for position, era in enumerate(dataset.eras) if position not in direct)


def describe_status(dataset: Dataset) -> dict[str, Any]:
    """Return how much of a dataset is in memory, and how much could be, JSON-ready."""
    placement = placement_of(dataset)
    item = dataset.manifest.store_dtype.itemsize
    return {
        "dataset": str(dataset.path),
        "arrays": {
            name: {"bytes": total, "resident_bytes": here}
            for name, (here, total) in resident(dataset).items()
        },
        "available_memory": placement.available,
        "fits": placement.fits,
        "eras": len(dataset.eras),
        "eras_that_fit": len(eras_that_fit(dataset)),
        "cores": n_cores(),
        "open_files": raise_open_file_limit(),
        "feature_sets": {
            name: {
                "bytes": dataset.n_rows * len(names) * item,
                "fits": Placement(dataset.n_rows * len(names) * item, placement.available).fits,
            }
            for name, names in dataset.manifest.feature_sets.items()
        },
    }


def status_text(status: dict[str, Any]) -> str:
    """Return `describe_status` as text."""
    lines = [status["dataset"]]
    for name, array in status["arrays"].items():
        here = array["resident_bytes"]
        share = "unknown here" if here is None else f"{here / array['bytes']:.0%} in memory"
        lines.append(f"  {name:<12}{in_bytes(array['bytes']):>10}  {share}")
    lines.append(
        f"memory        {in_bytes(status['available_memory'])} available (within the limits of "
        "this process)"
    )
    if status["fits"]:
        lines.append(
            "              the features fit: `memmap-train warm` reads them ahead, the first epoch "
            "does it too"
        )
    else:
        lines.append(
            f"              too little for all features: {status['eras_that_fit']:,} of "
            f"{counted(status['eras'], 'era')} would stay in memory, the others come from the disk"
        )
        fitting = [name for name, found in status["feature_sets"].items() if found["fits"]]
        if fitting:
            lines.append(f"              as datasets of their own would fit: {', '.join(fitting)}")
    lines.append(f"limits        {status['cores']} cores, {status['open_files']:,} open files")
    return "\n".join(lines)


def drop(paths: Sequence[Path]) -> None:
    """Ask the kernel to drop files from the page cache, as after a cold start."""
    for path in paths:
        with open(path, "rb") as file:
            advise(file.fileno(), "DONTNEED")


def _can_ask() -> bool:
    return hasattr(os, "geteuid") and hasattr(ctypes.CDLL(None), "mincore")  # not on Windows


def _mincore() -> Callable[[int, int, int], int]:
    function = ctypes.CDLL(None, use_errno=True).mincore
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    function.restype = ctypes.c_int
    call: Callable[[int, int, int], int] = function
    return call
