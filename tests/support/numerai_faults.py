"""What can go wrong with a request to the server on loopback, and what the server remembers."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    Attributes
    ----------
    kind : str
        "graphql", "get" or "put".
    name : str or None
        Of the file, or a field of the question; None stands for all.
    status : int or None
        The answer is an error of this status.
    drop : bool
        The connection is closed without an answer.
    cut_after : int or None
        The connection is closed after so many bytes of the body.
    ignore_range : bool
        The whole file is sent although a range was asked for.
    ignore_match : bool
        The file is sent although If-Match names another one.
    headers : mapping
        Headers that replace the true ones, or remove them where the value is empty.
    body : bytes or None
        The body that is sent in place of the file's, or the text of an answer.
    first : callable or None
        Called before the request is answered, to change a file for example.
    last : callable or None
        Called when the answer has been sent, as far as it is sent.
    hold : Event or None
        The answer waits for it; where `cut_after` is given, after so many bytes, and then the rest
        is sent.
    """

    kind: str = "get"
    name: str | None = None
    status: int | None = None
    drop: bool = False
    cut_after: int | None = None
    ignore_range: bool = False
    ignore_match: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    first: Callable[[], object] | None = None
    last: Callable[[], object] | None = None
    hold: threading.Event | None = None


@dataclass(frozen=True)
class Seen:
    """A request that came.

    Attributes
    ----------
    kind : str
    names : tuple of str
        The fields of a question, or the file.
    headers : mapping
        By lower-case name.
    body : bytes
    """

    kind: str
    names: tuple[str, ...]
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass
class StoredFile:
    """A file that the server has."""

    content: bytes
    etag: str
