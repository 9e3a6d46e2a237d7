"""One file, received from its address into its part, whatever happens on the way.

Takes a `Source` and a path; returns when the part is complete. A broken connection is continued
with `Range` and `If-Match`, only an answer that fits to the byte is appended, an address that has
expired is asked for again, and a file that has changed begins from 0.

Notes
-----
Source: RFC 9110 §13.1.1 (If-Match), §14 (range requests). Addresses at object stores are signed for
GET alone, so what a file is now comes from a request of its first byte.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import NumeraiError
from ..api import Wait, file_address
from ..http_requests import CERTIFICATE_REASON, request_reason, without_password
from .part import Part, RemoteFile, durable_bytes
from .stopping import Stopper

RETRY_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Waits after tries in a row that brought nothing new; after the last one it is an error."""
TIMEOUT_SECONDS = (10.0, 60.0)  # to connect; between two pieces of an answer
MAX_RETRY_AFTER = 60.0  # seconds: what a server may ask to wait, at most
PIECE_BYTES = 2**16  # what a cut connection loses at most
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_BUSY = (408, 425, 429)


class _TryAgainError(Exception):
    """A try failed; the text says why. The next one may succeed, after so many seconds."""

    def __init__(self, reason: str, seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.seconds = seconds


class _AddressError(_TryAgainError):
    """The address doesn't work, or no longer: the next try needs another one."""


class _ChangedError(_TryAgainError):
    """The remote file isn't what it was: the next try begins from 0."""


class Source:
    """A file of Numerai, with its address as long as that works.

    Parameters
    ----------
    name : str
        With the version, such as "v5.3/train.parquet".
    round_number : int or None
        None is the current round.
    wait : callable
        Waits before the next try.
    """

    def __init__(self, name: str, round_number: int | None, wait: Wait = time.sleep) -> None:
        self.name, self.wait = name, wait
        self._round_number = round_number
        self._address: str | None = None
        self._failures = 0

    @contextmanager
    def request(self, headers: dict[str, str]) -> Iterator[Any]:
        """Yield a response whose body isn't read yet, of status 200 or 206.

        Raises
        ------
        _TryAgainError
            There is no such response, or it ends early.
        """
        import requests

        if self._address is None:
            self._address = file_address(self.name, self._round_number, self.wait)
        with requests.Session() as session:
            session.auth = without_password
            with self._response(session, headers) as response:
                _check_status(response)
                try:
                    yield response
                except requests.RequestException as error:
                    raise _TryAgainError(request_reason(error)) from None

    def _response(self, session: Any, headers: dict[str, str]) -> Any:
        """Return a response whose body isn't read yet."""
        try:
            return session.get(
                self._address,
                headers={"Accept-Encoding": "identity", **headers},
                stream=True,
                timeout=TIMEOUT_SECONDS,
            )
        except (OSError, ValueError) as error:  # ValueError: of an address that isn't one
            reason = request_reason(error)
            if reason == CERTIFICATE_REASON:
                raise NumeraiError(f"{self.name}: {reason}") from None
            raise _TryAgainError(reason) from None

    def failed(self, error: _TryAgainError) -> None:
        """Wait before the next try, or give up.

        Raises
        ------
        NumeraiError
            It was the last try.
        """
        if isinstance(error, _AddressError):
            self._address = None
        if self._failures == len(RETRY_SECONDS):
            raise NumeraiError(
                f"{self.name}: can't be fetched: {error}, {self._failures + 1} times in a row; the "
                "same command resumes"
            )
        self._failures += 1
        self.wait(max(error.seconds, RETRY_SECONDS[self._failures - 1]))

    def succeeded(self) -> None:
        """Forget the failures: a try has brought something new."""
        self._failures = 0


def look(source: Source) -> RemoteFile:
    """Return what a file is now, from a request of its first byte.

    Raises
    ------
    NumeraiError
        It can't be reached, or the answers make no sense.
    """
    while True:
        try:
            with source.request({"Range": "bytes=0-0"}) as response:
                _, n_bytes = _extent(response)
                if not n_bytes:
                    raise _TryAgainError("its length isn't known, or is 0")
                return RemoteFile(source.name, _etag(response), n_bytes)
        except _TryAgainError as error:
            source.failed(error)


def receive(
    source: Source,
    path: Path,
    remote: RemoteFile,
    stopper: Stopper,
    report: Callable[[int], None],
) -> RemoteFile:
    """Receive a file into its part; return what it is, which may have changed since `remote`.

    Parameters
    ----------
    source : Source
    path : Path
        The file's final path, which isn't touched.
    remote : RemoteFile
        What it was when it was looked at.
    stopper : Stopper
    report : callable
        Called with the number of bytes that have arrived; a negative one if they are discarded.

    Raises
    ------
    NumeraiError
        It can't be fetched, or the disk is full.
    TransferStoppedError
    """
    most = 0
    while True:
        try:
            arrived = _receive_once(source, path, remote, stopper, report)
            if arrived == remote.n_bytes:
                return remote
            raise _TryAgainError("the connection was cut")
        except _TryAgainError as error:
            stopper.check()
            arrived = durable_bytes(path, remote)
            if arrived > most:  # else a server that begins from 0 each time would be asked for ever
                most = arrived
                source.succeeded()
            source.failed(error)
            if isinstance(error, _ChangedError):
                report(-arrived)
                remote = look(source)
                report(durable_bytes(path, remote))


def _receive_once(
    source: Source,
    path: Path,
    remote: RemoteFile,
    stopper: Stopper,
    report: Callable[[int], None],
) -> int:
    """Append what one request brings; return the bytes that have arrived in all."""
    begin = durable_bytes(path, remote)
    if begin == remote.n_bytes:
        return begin
    headers = {"Range": f"bytes={begin}-"} if begin else {}
    if remote.etag:
        headers["If-Match"] = remote.etag
    with source.request(headers) as response:
        first, n_bytes = _extent(response)
        if (
            first not in (0, begin)
            or n_bytes != remote.n_bytes
            or _etag(response) not in ("", remote.etag)
        ):
            raise _ChangedError("it changes while it is fetched")
        with stopper.holding(response.raw), Part(path, remote) as part:
            if first != part.n_bytes:  # the server has ignored the range
                report(-part.n_bytes)
                part.restart()
            for piece in response.iter_content(PIECE_BYTES):
                stopper.check()
                if part.n_bytes + len(piece) > remote.n_bytes:
                    raise _ChangedError("more bytes came than its length")
                part.write(piece)
                report(len(piece))
        return part.n_bytes


def _check_status(response: Any) -> None:
    """Raise the error that a status means."""
    status: int = response.status_code
    if status in (200, 206):
        return
    said = f"the server answers {status} {response.reason or ''}".rstrip()
    if status in (412, 416):
        raise _ChangedError("it changes while it is fetched")
    if 400 <= status < 500 and status not in _BUSY:
        raise _AddressError(said)
    asked = response.headers.get("Retry-After", "")
    seconds = float(asked) if _NUMBER.fullmatch(asked) else 0.0
    raise _TryAgainError(said, min(seconds, MAX_RETRY_AFTER))


def _extent(response: Any) -> tuple[int, int]:
    """Return the first byte of a response and the bytes of the whole file; -1 if it doesn't say."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise _TryAgainError("the server compresses it, although it was asked not to")
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if _NUMBER.fullmatch(length) else 0
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return (int(found[1]), int(found[3])) if found else (-1, 0)


def _etag(response: Any) -> str:
    """Return a response's strong ETag; empty if it has none."""
    etag: str = response.headers.get("ETag", "")
    return "" if etag.startswith("W/") else etag
