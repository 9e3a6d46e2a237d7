"""A file as it was when it was checked, read for an upload piece by piece."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...errors import NumeraiError

PIECE_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class Payload:
    """A file to be sent.

    Attributes
    ----------
    path : Path
    name : str
        What it is called at Numerai, which adds something of its own.
    n_bytes, mtime_ns : int
        What it was when it was checked.
    """

    path: Path
    name: str
    n_bytes: int
    mtime_ns: int

    def check_unchanged(self) -> None:
        """Raise a NumeraiError if the file isn't what was checked."""
        if _stamp(self.path) != (self.n_bytes, self.mtime_ns):
            raise NumeraiError(
                f"{self.path}: it was changed since it was checked; nothing was submitted; run the "
                "same command again"
            )


def payload(path: Path) -> Payload:
    """Return a file as it is now, before it is checked.

    Raises
    ------
    NumeraiError
        It can't be read, isn't a plain file, or is empty.
    """
    n_bytes, mtime_ns = _stamp(path)
    if not path.is_file():
        raise NumeraiError(f"{path}: expected a file, found a folder or a device; name a file")
    if not n_bytes:
        raise NumeraiError(f"{path}: it is empty; name the file that was written")
    if not os.access(path, os.R_OK):
        raise NumeraiError(f"{path}: can't be read: Permission denied")
    return Payload(path, path.name, n_bytes, mtime_ns)


class Body:
    """A payload as the body of a request; its length is known beforehand.

    Parameters
    ----------
    payload : Payload
    report : callable
        Called with the number of bytes that are sent.

    Attributes
    ----------
    n_sent : int
    """

    def __init__(self, payload: Payload, report: Callable[[int], None]) -> None:
        self._payload, self._report = payload, report
        self.n_sent = 0

    def __len__(self) -> int:
        return self._payload.n_bytes

    def __iter__(self) -> Iterator[bytes]:
        left = self._payload.n_bytes
        with open(self._payload.path, "rb") as file:
            while piece := file.read(min(PIECE_BYTES, left)):
                yield piece
                left -= len(piece)
                self.n_sent += len(piece)
                self._report(len(piece))
        if left:  # a server would wait for the rest
            self._payload.check_unchanged()


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise NumeraiError(f"{path}: can't be read: {error.strerror}") from None
    return status.st_size, status.st_mtime_ns
