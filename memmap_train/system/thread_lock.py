"""Locks between the threads of a process, which are free in a process forked from it.

A fork copies locks as they are, but not the threads that hold them: a child would wait for ever,
for example a worker of torch's `DataLoader` while a stream of its parent is reading. Data that such
a lock protects must be valid, or be computed again, wherever a thread stops.
"""

import os
import threading
import weakref
from types import TracebackType
from typing import Any

_locks: "weakref.WeakSet[ThreadLock]" = weakref.WeakSet()


class ThreadLock:
    """A reentrant lock that is free in a forked child, even if it was held."""

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

    def is_free(self) -> bool:
        """Return True if no other thread holds the lock."""
        if not self._lock.acquire(blocking=False):
            return False
        self._lock.release()
        return True

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a new lock."""
        return ThreadLock, ()

    def _renew(self) -> None:
        self._lock = threading.RLock()


def _renew_all() -> None:
    for lock in _locks:
        lock._renew()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_renew_all)
