"""What requests for files and questions share: how long they may take, and why they failed.

The address of a file is a secret as long as it works, so no reason contains one.
"""

import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from typing import Any, TypeVar

_T = TypeVar("_T")
_MAX_REASON = 200  # characters
_SYSTEM_REASON = re.compile(r"\[Errno -?\d+\] ([^'\")\]]+)")
_STATUS_REASON = re.compile(r"Http Error: (\d+ .*?)(?: for url.*)?$", re.DOTALL)
_NO_JSON = re.compile(r"(Expecting|Invalid|Extra|Unterminated) .*\(char \d+\)$", re.DOTALL)
_HEADINGS = ("Oops, something went wrong: ", "Error Connecting: ", "Timeout Error: ")  # numerapi's
_CUT = ("Connection broken", "Connection aborted")
CERTIFICATE_REASON = (
    "the certificate of the server isn't accepted; check the clock, the network's proxy and "
    "REQUESTS_CA_BUNDLE"
)
NO_OBJECT_REASON = "the answer isn't a JSON object"


def without_password(request: Any) -> Any:
    """Return a request as it is: as its `auth`, it keeps passwords of ``~/.netrc`` out of it."""
    return request


def within(seconds: float, function: Callable[[], _T]) -> _T:
    """Return what a function returns; it goes on in a thread of its own if it takes too long.

    Raises
    ------
    TimeoutError
        It takes longer.
    """
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name="question").start()
    wait_for([future], seconds)
    if not future.done():
        raise TimeoutError
    return future.result()


def request_reason(error: Exception) -> str:
    """Return why a request of the package `requests` failed.

    A certificate that isn't accepted is `CERTIFICATE_REASON`, for which another try is useless.
    """
    import requests

    if isinstance(error, requests.exceptions.SSLError):
        return _tls_reason(str(error))
    if isinstance(error, requests.Timeout):
        return "the server doesn't answer in time"
    found = _SYSTEM_REASON.search(str(error))
    if found:
        return found[1].strip()
    if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return "the connection was cut"
    if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
        return shortened(str(error))  # a file of certificates isn't there
    return f"the request failed ({type(error).__name__})"


def log_reason(message: str) -> str:
    """Return what a message of numerapi's log says, without addresses.

    >>> log_reason("Http Error: 500 Server Error: Oops for url: http://127.0.0.1:1/")
    '500 Server Error: Oops'
    >>> log_reason("Error Connecting: HTTPPool(url): (Caused by E('<x>: [Errno 111] Refused'))")
    'Refused'
    >>> log_reason("Error Connecting: ('Connection aborted.', RemoteDisconnected('Remote end'))")
    'the connection was cut'
    >>> log_reason("Oops, something went wrong: Expecting value: line 1 column 1 (char 0)")
    "the answer isn't a JSON object"
    """
    if "SSLError" in message:
        return _tls_reason(message)
    found = _STATUS_REASON.match(message) or _SYSTEM_REASON.search(message)
    if found:
        return shortened(found[1].strip())
    for heading in _HEADINGS:
        message = message.removeprefix(heading)
    if any(words in message for words in _CUT):
        return "the connection was cut"
    return NO_OBJECT_REASON if _NO_JSON.search(message) else shortened(message)


def _tls_reason(text: str) -> str:
    """Return why an encrypted connection failed, from the text of an error."""
    if "certificate" in text.lower():
        return CERTIFICATE_REASON
    return "the encrypted connection was cut"


def shortened(text: str) -> str:
    """Return a text of the API in one line of printable characters, cut if it is long."""
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    text = " ".join(text.split()).rstrip(".;")
    return text if len(text) <= _MAX_REASON else f"{text[:_MAX_REASON]}…"
