"""Watchers, which are called before every file system operation and may make it fail.

An audit hook of the interpreter calls them. It can't be removed; without watchers it does nothing.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Watcher(Protocol):
    """Is called before a file system operation; an exception prevents the operation."""

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None: ...


watchers: list[Watcher] = []
hooked: list[bool] = []


def audit(event: str, arguments: tuple[Any, ...]) -> None:
    for watcher in watchers:
        watcher.audit(event, arguments)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Call a watcher before each file system operation of the block."""
    if not hooked:
        sys.addaudithook(audit)
        hooked.append(True)
    watchers.append(watcher)
    try:
        yield
    finally:
        watchers.remove(watcher)
