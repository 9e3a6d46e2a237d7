"""Locks between the threads of a process, which a process forked from it finds free.

A fork copies locks as they are but none of the threads that hold them: a child would wait for ever,
as a worker of torch's `DataLoader` does where a stream of its parent is reading. What such a lock
protects must be whole, or be made again, wherever a thread stops. Imports nothing of ours.
"""

import os
import threading
import weakref
from types import TracebackType
from typing import Any

_locks: "weakref.WeakSet[ThreadLock]" = weakref.WeakSet()


class ThreadLock:
    """A lock that its thread may take again; free in a forked child, even if it was held."""

    def __init__(self) -> None:
        self._renew()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a lock of its own."""
        return ThreadLock, ()

    def _renew(self) -> None:
        self._lock = threading.RLock()


def _renew_all() -> None:
    for lock in _locks:
        lock._renew()


if hasattr(os, "register_at_fork"):  # not on Windows, which doesn't fork
    os.register_at_fork(after_in_child=_renew_all)
