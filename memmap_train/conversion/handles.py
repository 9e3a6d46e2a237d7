"""Handles on parquet sources: as many of each as there are threads that read it at once.

A handle is for one thread at a time. One that was given back is taken again, by whichever thread,
with all that it has learnt of the file. Those of files that nobody has read for the longest are
closed: each holds a descriptor, and memory to decode into.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..system.resources import n_cores
from .parquet.file import Source

MAX_FREE = n_cores() + 1
"""Handles that nobody reads with and that are kept: a row group's, and the next one's first."""


class Handles:
    """Handles on sources.

    Parameters
    ----------
    sources : sequence of Source
        Which are the caller's, and never handed out.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources
        self._free: list[tuple[int, Source]] = []  # position and handle, the last one given last
        self._lock = threading.Lock()

    @contextmanager
    def take(self, position: int) -> Iterator[Source]:
        """Lend the source at a position for as long as the context lasts.

        Raises
        ------
        SourceError
            The file isn't the one that was opened first.
        """
        handle = self._pop(position) or self.sources[position].reopened()
        try:
            yield handle
        finally:
            with self._lock:
                self._free.append((position, handle))
                late = [self._free.pop(0)] if len(self._free) > MAX_FREE else []
            for _, handle in late:
                handle.close()

    def close(self) -> None:
        """Close those that were given back; called when nobody reads any more."""
        while self._free:
            self._free.pop()[1].close()

    def _pop(self, position: int) -> Source | None:
        with self._lock:
            for place in range(len(self._free) - 1, -1, -1):
                if self._free[place][0] == position:
                    return self._free.pop(place)[1]
        return None
