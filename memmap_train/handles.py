"""Handles on parquet sources: as many of each as there are threads that read it at once.

A handle is for one thread at a time. One that was given back is taken again, by whichever thread,
with all that it has learnt of the file.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .parquet.reading import Source


class Handles:
    """Handles on sources.

    Parameters
    ----------
    sources : sequence of Source
        Which are the caller's, and never handed out.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources
        self._free: list[list[Source]] = [[] for _ in sources]

    @contextmanager
    def take(self, position: int) -> Iterator[Source]:
        """Lend the source at a position for as long as the context lasts.

        Raises
        ------
        SourceError
            The file isn't the one that was opened first.
        """
        free = self._free[position]
        try:
            handle = free.pop()  # no lock: taking and giving back is one step of the interpreter's
        except IndexError:
            handle = self.sources[position].reopened()
        try:
            yield handle
        finally:
            free.append(handle)

    def close(self) -> None:
        """Close those that were given back; called when nobody reads any more."""
        for free in self._free:
            while free:
                free.pop().close()
