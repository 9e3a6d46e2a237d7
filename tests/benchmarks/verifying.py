"""`verify`, compared with reading the same files from the disk and with digesting memory."""

from functools import partial
from pathlib import Path

import memmap_train as mt
from memmap_train.system.resources import n_cores

from . import limits
from .caching import evict
from .measuring import Job, Spent, in_turn, print_table, timed
from .sources import Size, make_dataset

_MEMORY_BYTES = 200_000_000  # digested by each core: beyond all caches


def run(directory: Path, size: Size) -> None:
    """Print the table."""
    dataset = make_dataset(directory, size, "float32")
    files = sorted(dataset.path.rglob("*.npy"))
    n_bytes = sum(file.stat().st_size for file in files)
    cores = n_cores()
    drop, keep = partial(evict, files), partial(limits.read, "", files, 1)
    one, many = "cold: read the files, one thread", f"cold: read the files, {cores} threads"
    jobs = [
        Job(limits.read, (one, files, 1), drop),
        Job(limits.read, (many, files, cores), drop),
        Job(_verify, ("cold: verify", dataset.path), drop),
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
