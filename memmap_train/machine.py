"""What this machine can give: memory really available, free disk, cores, open files.

Everything is read when asked for, nothing is cached: another process may take what was free.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

_CGROUP_V2 = Path("/sys/fs/cgroup")
_CGROUP_V1 = Path("/sys/fs/cgroup/memory")
_PIECE_BYTES = 2**12
_MAPS_LEFT = 100  # some may have gone since there were too many
_FALLBACK_BYTES = 4_000_000_000  # where the system tells nothing: half of a small machine
_UNKNOWN_DISK_BYTES = 10**15
_OPEN_FILES_OF_WINDOWS = 512  # its C library's default


def available_memory() -> int:
    """Return the bytes that this process can take without pushing others out.

    The smaller of what the kernel calls available (free memory and page cache that can go) and what
    the control groups of this process leave, version 1 or 2. A group's own page cache counts as
    available, since the kernel drops it before it refuses memory.
    """
    return min([_system_available(), *_group_rests()])


def free_disk(path: Path) -> int:
    """Return the free bytes of the disk that a file or folder is on, or would be once made.

    A file system that says that it has no bytes at all doesn't know: as many as may be wanted.
    """
    usage = shutil.disk_usage(nearest_existing(path))
    return usage.free if usage.total else _UNKNOWN_DISK_BYTES


def nearest_existing(path: Path) -> Path:
    """Return a path, or the nearest folder above it that exists."""
    while not path.exists():
        path = path.parent
    return path


def n_cores() -> int:
    """Return the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_file_limit() -> int:
    """Raise the soft limit of open files as far as it may go; return what holds then."""
    try:
        import resource  # POSIX only
    except ImportError:
        return _OPEN_FILES_OF_WINDOWS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):  # macOS refuses more than kern.maxfilesperproc
            return soft
        return wanted
    return min(soft, 65_536) if soft != resource.RLIM_INFINITY else 65_536


def most_maps() -> int | None:
    """Return how many maps this process may have, if it has as many; else, or elsewhere, None."""
    try:
        most = int(Path("/proc/sys/vm/max_map_count").read_text())
        present = 0
        with open("/proc/self/maps", "rb", buffering=0) as file:
            while piece := file.read(_PIECE_BYTES):  # megabytes at once would take another map
                present += piece.count(b"\n")
    except (OSError, ValueError):
        return None
    return most if present >= most - _MAPS_LEFT else None


def _system_available() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):
        return _FALLBACK_BYTES


def _group_rests() -> Iterator[int]:
    """Yield limit - use + reclaimable cache of every memory group that this process is in."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, limit, usage, prefix = _CGROUP_V2, "memory.max", "memory.current", ""
        elif "memory" in controllers.split(","):
            root = _CGROUP_V1
            limit, usage = "memory.limit_in_bytes", "memory.usage_in_bytes"
            prefix = "total_"
        else:
            continue
        folder = root / path.lstrip("/")
        while True:  # a limit above counts as well
            rest = _group_rest(folder, limit, usage, prefix)
            if rest is not None:
                yield rest
            if folder == root or root not in folder.parents:
                break
            folder = folder.parent


def _group_rest(folder: Path, limit: str, usage: str, prefix: str) -> int | None:
    try:
        most = int((folder / limit).read_text())
        used = int((folder / usage).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no such group here, or "max": no limit
        return None
    # What lies in shared memory counts as cache, but can't be dropped.
    cache = int(stat.get(f"{prefix}cache", stat.get(f"{prefix}file", 0)))
    return max(0, most - used + cache - int(stat.get(f"{prefix}shmem", 0)))
