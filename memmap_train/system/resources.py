"""Resources of this machine: available memory, free disk, cores, open files.

Everything is measured at each call, nothing is cached: other processes use the machine too.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")
_CGROUPS = "sys/fs/cgroup"  # version 1 has a folder there for each controller
_PIECE_BYTES = 2**12
_MAPS_LEFT = 100  # some may have gone since there were too many
_FALLBACK_BYTES = 4_000_000_000  # if the system doesn't say: half of a small machine
_UNKNOWN_DISK_BYTES = 10**15
_OPEN_FILES_OF_WINDOWS = 512  # its C library's default


def available_memory(*, root: Path = _ROOT) -> int:
    """Return the bytes of memory that this process can take without making others swap.

    The smaller of what the kernel calls available (free memory and page cache that can go) and what
    the control groups of this process leave, version 1 or 2. A group's own page cache counts as
    available, since the kernel drops it when memory is needed.

    Parameters
    ----------
    root : Path, optional
        The folder that holds `proc` and `sys`.
    """
    return min([_system_available(root), *_group_rests(root)])


def anonymous_memory(*, root: Path = _ROOT) -> int | None:
    """Return the bytes that this process has in memory, without mapped files; None if unknown.

    Parameters
    ----------
    root : Path, optional
        The folder that holds `proc`.
    """
    try:
        lines = (root / "proc" / "self" / "status").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("RssAnon:")]
    return int(found[0]) * 1024 if found else None


def free_disk(path: Path) -> int:
    """Return the free bytes of the disk of a file or folder, which need not exist yet.

    A file system that reports a size of zero doesn't know its size: the result is very large.
    """
    usage = shutil.disk_usage(nearest_existing(path))
    return usage.free if usage.total else _UNKNOWN_DISK_BYTES


def nearest_existing(path: Path) -> Path:
    """Return a path, or the nearest folder above it that exists."""
    while not path.exists():
        path = path.parent
    return path


def n_cores(*, root: Path = _ROOT) -> int:
    """Return the number of cores that this process can keep busy.

    The smaller of the cores that it may be scheduled on and what the quotas of its control groups
    leave, version 1 or 2; a fraction of a core counts as one.

    Parameters
    ----------
    root : Path, optional
        The folder that holds `proc` and `sys`.
    """
    return max(1, min([n_schedulable_cores(), *_group_cores(root)]))


def n_schedulable_cores() -> int:
    """Return the number of cores that this process may be scheduled on, without quotas."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def raise_open_file_limit() -> int:
    """Raise the soft limit of open files as far as the system allows; return the new limit."""
    try:
        import resource  # POSIX only
    except ImportError:
        return _OPEN_FILES_OF_WINDOWS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):  # macOS allows no more than kern.maxfilesperproc
            return soft
        return wanted
    return min(soft, 65_536) if soft != resource.RLIM_INFINITY else 65_536


def reached_map_limit() -> int | None:
    """Return the limit of maps of this process if it is reached; else, or if unknown, None."""
    try:
        most = int(Path("/proc/sys/vm/max_map_count").read_text())
        present = 0
        with open("/proc/self/maps", "rb", buffering=0) as file:
            while piece := file.read(_PIECE_BYTES):  # megabytes at once would take another map
                present += piece.count(b"\n")
    except (OSError, ValueError):
        return None
    return most if present >= most - _MAPS_LEFT else None


def _system_available(root: Path) -> int:
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):
        return _FALLBACK_BYTES


def _group_rests(root: Path) -> Iterator[int]:
    """Yield limit - use + reclaimable cache of every memory group that this process is in."""
    for folder, is_v1 in _groups("memory", root):
        if is_v1:
            limits = [_read_number(folder / "memory.limit_in_bytes")]
            used, prefix = _read_number(folder / "memory.usage_in_bytes"), "total_"
        else:
            # Above "high" a process isn't killed, but slowed down until it hardly moves.
            limits = [_read_number(folder / name) for name in ("memory.max", "memory.high")]
            used, prefix = _read_number(folder / "memory.current"), ""
        known = [limit for limit in limits if limit is not None]
        if not known or used is None:
            continue
        try:
            text = (folder / "memory.stat").read_text()
            stat = dict(line.split() for line in text.splitlines())
            # Shared memory counts as cache, but can't be dropped.
            cache = int(stat.get(f"{prefix}cache", stat.get(f"{prefix}file", 0)))
            cache -= int(stat.get(f"{prefix}shmem", 0))
        except (OSError, ValueError):  # gVisor has no such file: the limit alone counts
            cache = used
        yield max(0, min(known) - used + cache)


def _group_cores(root: Path) -> Iterator[int]:
    """Yield the quota of every CPU group that this process is in, in cores, rounded up."""
    for folder, is_v1 in _groups("cpu", root):
        try:
            if is_v1:
                quota = int((folder / "cpu.cfs_quota_us").read_text())
                period = int((folder / "cpu.cfs_period_us").read_text())
            else:
                quota, period = map(int, (folder / "cpu.max").read_text().split())
        except (OSError, ValueError):  # no such group here, or "max": no quota
            continue
        if quota > 0 and period > 0:  # -1: no quota
            yield -(-quota // period)


def _groups(controller: str, root: Path) -> Iterator[tuple[Path, bool]]:
    """Yield the folder of every control group that this process is in, and whether of version 1."""
    try:
        # A group's name is a folder's name: any bytes.
        text = (root / "proc/self/cgroup").read_text("utf-8", "surrogateescape")
    except OSError:
        return
    for line in text.splitlines():
        if line.count(":") < 2:
            continue
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / _CGROUPS / controller if controllers else root / _CGROUPS
        folder = top / path.lstrip("/")
        while True:  # a limit above counts as well
            yield folder, bool(controllers)
            if folder == top or top not in folder.parents:
                break
            folder = folder.parent


def _read_number(path: Path) -> int | None:
    """Return the number that a file holds; None where there is none, as in "max"."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
