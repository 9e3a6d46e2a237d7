"""Memory groups of the kernel, which imitate a machine with less memory.

A process that enters a group, and all pages that it brings into the page cache, count against the
group's limit. Making a group takes root, or a folder of groups that belongs to the user.
"""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_LEAVING_SECONDS = 5.0  # a group is busy for a moment after its last process has ended


class NoMemoryGroupError(Exception):
    """No group can be made; the message has the reason."""


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """A group with a limit; plain data, so that it can be sent to the process that enters it."""

    folder: Path

    def enter(self) -> None:
        """Move this process into the group."""
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def command(self, arguments: Sequence[str]) -> list[str]:
        """Return a command line whose process enters the group before it runs another one."""
        enter = 'echo $$ >"$0" && exec "$@"'
        return ["sh", "-c", enter, str(self.folder / "cgroup.procs"), *arguments]

    def refusals(self) -> int:
        """Return how often the limit was reached, so that page cache was dropped."""
        if (self.folder / "memory.failcnt").exists():
            return int((self.folder / "memory.failcnt").read_text())
        return self._count("memory.events", "max")

    def kills(self) -> int:
        """Return the number of processes that were killed for memory."""
        version_1 = (self.folder / "memory.oom_control").exists()
        return self._count("memory.oom_control" if version_1 else "memory.events", "oom_kill")

    def _count(self, file: str, key: str) -> int:
        lines = (line.split() for line in (self.folder / file).read_text().splitlines())
        return next((int(value) for name, value in lines if name == key), 0)


@contextmanager
def memory_group(limit_bytes: int) -> Iterator[MemoryGroup]:
    """Make a group; remove it when the block ends, with all processes that still run in it.

    Raises
    ------
    NoMemoryGroupError
        The system has no such groups, or this user may not make one.
    """
    parent, limit_file = _parent()
    folder = parent / f"memmap-train-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        raise NoMemoryGroupError(f"{folder}: can't be made: {error.strerror}") from None
    try:
        try:
            (folder / limit_file).write_text(str(limit_bytes))
        except OSError as error:
            raise NoMemoryGroupError(f"{folder / limit_file}: {error.strerror}") from None
        yield MemoryGroup(folder)
    finally:
        _remove(folder)


def _parent() -> tuple[Path, str]:
    """Return the folder to make groups in, and the name of the file for the limit."""
    if (_ROOT / "memory" / "memory.limit_in_bytes").exists():
        return _ROOT / "memory", "memory.limit_in_bytes"
    if not (_ROOT / "cgroup.controllers").exists():
        raise NoMemoryGroupError(f"{_ROOT}: no memory groups, of neither version")
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = next(line.split(":", 2)[2] for line in lines if line.startswith("0::"))
    return _ROOT / own.lstrip("/"), "memory.max"


def _remove(folder: Path) -> None:
    deadline = time.monotonic() + _LEAVING_SECONDS
    while True:
        for pid in (folder / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        try:
            folder.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
