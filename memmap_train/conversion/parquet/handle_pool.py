"""Handles on parquet files: one for each thread that reads a file at the same time.

A handle is for one thread at a time. One that was given back is taken again, by any thread, with
the layouts that its page decoder has learnt. Handles on the files that were read least recently are
closed: each holds a descriptor, and memory to decode into.
"""

import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ...system.resources import n_cores
from .cross_check import DecodedSamples, DecoderMismatchError
from .file import ParquetFileInfo
from .handle import ParquetHandle, SharedFooter

MAX_FREE = n_cores() + 1
"""Unused handles that are kept: one for each thread, and one for the next row group's eras."""


class _FileState:
    """What the handles on a file have in common.

    Attributes
    ----------
    lock : Lock
        Held while the footer is parsed.
    footer : weak reference to SharedFooter, or None
        Alive as long as a handle on the file is.
    uses_decoder : bool
    samples : DecodedSamples
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.footer: weakref.ref[SharedFooter] | None = None
        self.uses_decoder = True
        self.samples = DecodedSamples()


class HandlePool:
    """Handles on parquet files, which are opened when they are first needed.

    Parameters
    ----------
    files : sequence of ParquetFileInfo
    """

    def __init__(self, files: Sequence[ParquetFileInfo]) -> None:
        self.files = files
        self._states = [_FileState() for _ in files]
        self._free: list[tuple[int, ParquetHandle]] = []  # file and handle, in order of last use
        self._lock = threading.Lock()

    @contextmanager
    def take(self, file: int) -> Iterator[ParquetHandle]:
        """Lend a handle on the file with this number for as long as the context lasts.

        Raises
        ------
        SourceError
            The file isn't the one that was opened first.
        """
        handle = self._pop(file) or self._open(file)
        try:
            yield handle
        finally:
            with self._lock:
                self._free.append((file, handle))
                late = [self._free.pop(0)] if len(self._free) > MAX_FREE else []
            for _, handle in late:
                handle.close()

    def cross_check(self, file: int, group: int) -> None:
        """Compare one of the decoded features of a row group with Arrow's.

        Called after all features of the row group are decoded, and before they are used.

        Raises
        ------
        DecoderMismatchError
            They differ.
        SourceError
            Arrow can't read the column.
        """
        sample = self._states[file].samples.pop(group)
        if sample is None:
            return
        with self.take(file) as handle:
            codes = handle.feature_from_arrow(group, sample.name)
        if not sample.equals(codes):
            raise DecoderMismatchError(file, group, sample.name)

    def use_arrow(self, file: int) -> None:
        """Decode all features of a file by Arrow from now on; called when no thread reads."""
        self.close()
        self._states[file].uses_decoder = False

    def close(self) -> None:
        """Close the handles that were given back; called when no thread reads any more."""
        while self._free:
            self._free.pop()[1].close()

    def _pop(self, file: int) -> ParquetHandle | None:
        with self._lock:
            for index in range(len(self._free) - 1, -1, -1):
                if self._free[index][0] == file:
                    return self._free.pop(index)[1]
        return None

    def _open(self, file: int) -> ParquetHandle:
        """Open a file; its footer isn't parsed again while another handle on it is open."""
        state = self._states[file]
        with state.lock:
            handle = ParquetHandle(
                self.files[file],
                None if state.footer is None else state.footer(),
                uses_decoder=state.uses_decoder,
                samples=state.samples,
            )
            state.footer = weakref.ref(handle.footer)
        return handle
