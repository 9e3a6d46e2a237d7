"""What requests for files and questions share: why they failed, and what isn't sent with them.

The address of a file is a secret as long as it works, so no reason contains one.
"""

import re
from typing import Any

_MAX_REASON = 200  # characters
_SYSTEM_REASON = re.compile(r"\[Errno -?\d+\] ([^'\")\]]+)")
_STATUS_REASON = re.compile(r"Http Error: (\d+ .*?)(?: for url.*)?$", re.DOTALL)


def without_password(request: Any) -> Any:
    """Return a request as it is: as its `auth`, it keeps passwords of ``~/.netrc`` out of it."""
    return request


def request_reason(error: Exception) -> str:
    """Return why a request of the package `requests` failed."""
    import requests

    if isinstance(error, requests.Timeout):
        return "the server doesn't answer in time"
    found = _SYSTEM_REASON.search(str(error))
    if found:
        return found[1].strip()
    if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return "the connection was cut"
    return f"the request failed ({type(error).__name__})"


def log_reason(message: str) -> str:
    """Return what a message of numerapi's log says, without addresses.

    >>> log_reason("Http Error: 500 Server Error: Oops for url: http://127.0.0.1:1/")
    '500 Server Error: Oops'
    >>> log_reason("Error Connecting: HTTPPool(url): (Caused by E('<x>: [Errno 111] Refused'))")
    'Refused'
    """
    found = _STATUS_REASON.match(message) or _SYSTEM_REASON.search(message)
    return shortened(found[1].strip() if found else message)


def shortened(text: str) -> str:
    """Return a text of the API in one line, cut if it is long."""
    text = " ".join(text.split()).rstrip(".;")
    return text if len(text) <= _MAX_REASON else f"{text[:_MAX_REASON]}…"
