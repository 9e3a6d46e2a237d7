"""Who hears of every call to the file system before it is made, and may let it fail.

An audit hook of the interpreter tells; it stays for ever, but without watchers it does nothing.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Watcher(Protocol):
    """Hears of what is about to happen to the file system; an error of its own prevents it."""

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None: ...


watchers: list[Watcher] = []
hooked: list[bool] = []


def audit(event: str, arguments: tuple[Any, ...]) -> None:
    for watcher in watchers:
        watcher.audit(event, arguments)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Let a watcher hear of what happens meanwhile."""
    if not hooked:
        sys.addaudithook(audit)
        hooked.append(True)
    watchers.append(watcher)
    try:
        yield
    finally:
        watchers.remove(watcher)
