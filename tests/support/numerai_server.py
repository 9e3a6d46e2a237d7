"""A server on loopback that answers as Numerai does: GraphQL, files at signed addresses, uploads.

GraphQL is answered by the names of the fields that a question asks for. Files have ETags and honour
Range and If-Match; their addresses expire. Uploads are kept. Each request can be made to fail in
one way, by a `Fault`. Nothing sleeps: a request is delayed until an event is set.
"""

import hashlib
import json
import re
import socket
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

from tests.support.numerai_faults import Fault, Seen, StoredFile

PIECE_BYTES = 2**14
MAX_WAIT_SECONDS = 60.0  # for an event that a failed test doesn't set

EXPIRED = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"


Resolver = Callable[[dict[str, Any]], Any]
"""A function that takes the variables of a question and returns the value of one of its fields."""


class GraphQLError(Exception):
    """The API refuses a question, with this message."""


class NumeraiServer:
    """The server; its attributes may be changed at any time.

    Attributes
    ----------
    files : dict of (name, round) to StoredFile
        Round None stands for all rounds.
    resolvers : dict of str to callable
        By the name of a field.
    private_fields : set of str
        Fields that need the key.
    keys : (public id, secret key)
    uploads : dict of str to bytes
        What was uploaded, by the name that was asked for.
    seen : list of Seen
    """

    def __init__(self) -> None:
        self.files: dict[tuple[str, int | None], StoredFile] = {}
        self.resolvers: dict[str, Resolver] = {
            "listDatasets": self._list_datasets,
            "dataset": self._dataset,
            "rounds": self._rounds,
        }
        self.private_fields: set[str] = set()
        self.keys = ("PUBLIC-ID", "SECRET-KEY")
        self.round_number = 1000
        self.uploads: dict[str, bytes] = {}
        self.seen: list[Seen] = []
        self._faults: list[Fault] = []
        self._signatures: set[str] = set()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._http = _Listener(("127.0.0.1", 0), _handler_of(self))
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    def put_file(
        self, name: str, content: bytes, *, etag: str | None = None, round_number: int | None = None
    ) -> StoredFile:
        """Give the server a file, or another content for it."""
        etag = f'"{hashlib.md5(content).hexdigest()}-2"' if etag is None else etag
        stored = StoredFile(content, etag)
        self.files[name, round_number] = stored
        return stored

    def fail(self, *faults: Fault) -> None:
        """Let coming requests fail, each fault for the first request that it is meant for."""
        with self._lock:
            self._faults.extend(faults)

    def heal(self) -> int:
        """Forget the faults that haven't happened; return how many there were."""
        with self._lock:
            n_left = len(self._faults)
            self._faults.clear()
        return n_left

    def expire_addresses(self) -> None:
        """Let all addresses that were given out expire."""
        self._signatures.clear()

    def address(self, path: str) -> str:
        """Return a signed address, of which only the path is no secret."""
        signature = uuid.uuid4().hex
        self._signatures.add(signature)
        return f"{self.url}{quote(path)}?X-Amz-Expires=3600&X-Amz-Signature={signature}"

    def of_kind(self, kind: str) -> list[Seen]:
        """Return the requests of a kind that came."""
        return [seen for seen in self.seen if seen.kind == kind]

    def ranges(self, name: str) -> list[str]:
        """Return the Range headers of the requests for a file; empty where there was none."""
        return [seen.headers.get("range", "") for seen in self.of_kind("get") if name in seen.names]

    def command(self, arguments: list[str], before: str = "") -> list[str]:
        """Return a process's command: memmap-train, speaking to this server.

        Parameters
        ----------
        arguments : list of str
        before : str
            Python code that runs first.
        """
        code = (
            "import sys, numerapi.base_api\n"
            f"numerapi.base_api.API_TOURNAMENT_URL = {self.url!r}\n{before}\n"
            "from memmap_train.__main__ import run_process\n"
            "sys.argv = ['memmap-train', *sys.argv[1:]]\nrun_process()\n"
        )
        return [sys.executable, "-c", code, *arguments]

    def close(self) -> None:
        """Refuse further connections, and end those that there are."""
        self._closing.set()
        self._http.shutdown()
        self._http.end_connections()
        self._http.server_close()
        self._thread.join()

    # -- what Numerai answers

    def _list_datasets(self, variables: dict[str, Any]) -> list[str]:
        wanted = variables.get("round")
        return sorted({name for name, number in self.files if number in (None, wanted)})

    def _dataset(self, variables: dict[str, Any]) -> str | None:
        name, number = variables["filename"], variables.get("round")
        key = (name, number) if (name, number) in self.files else (name, None)
        if key not in self.files:
            raise GraphQLError(f"Dataset {name} not found")
        return self.address(f"/files/{'all' if key[1] is None else key[1]}/{name}")

    def _rounds(self, variables: dict[str, Any]) -> list[dict[str, int]]:
        del variables
        return [{"number": self.round_number}]

    # -- what the handler asks for

    def next_fault(self, kind: str, names: tuple[str, ...]) -> Fault:
        """Return the fault of a request, and forget it."""
        with self._lock:
            for number, fault in enumerate(self._faults):
                if fault.kind == kind and (fault.name is None or fault.name in names):
                    return self._faults.pop(number)
        return Fault(kind)

    def is_valid(self, query: str) -> bool:
        """Return True if an address is signed, and hasn't expired."""
        return parse_qs(query).get("X-Amz-Signature", [""])[0] in self._signatures

    def wait(self, event: threading.Event) -> None:
        """Wait for an event, or until the server is closed."""
        for _ in range(int(MAX_WAIT_SECONDS / 0.01)):
            if event.wait(0.01) or self._closing.is_set():
                return

    def answer(self, question: dict[str, Any], authorization: str) -> dict[str, Any]:
        """Return the answer to a question in GraphQL."""
        values: dict[str, Any] = {}
        try:
            for name in asked_fields(question["query"]):
                if name not in self.resolvers:
                    raise GraphQLError(f'Cannot query field "{name}" on type "RootQueryType"')
                if name in self.private_fields and authorization != "Token " + "$".join(self.keys):
                    raise GraphQLError("Your session is invalid or expired.")
                values[name] = self.resolvers[name](question.get("variables") or {})
        except GraphQLError as error:
            return {"data": None, "errors": [{"message": str(error)}]}
        return {"data": values}


def asked_fields(query: str) -> list[str]:
    """Return the names of the fields that a question asks for, without those inside them.

    >>> asked_fields("query($a: Int) { rounds(number: $a) { number } account { id } }")
    ['rounds', 'account']
    """
    text = re.sub(r"\([^()]*\)", " ", query)
    fields, depth = [], 0
    for token in re.findall(r"[{}]|\w+", text[text.index("{") :]):
        if token in "{}":
            depth += 1 if token == "{" else -1
        elif depth == 1:
            fields.append(token)
    return fields


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[NumeraiServer]:
    """Yield a server to which numerapi speaks, in this process and in those of `command`."""
    server = NumeraiServer()
    try:
        monkeypatch.setattr("numerapi.base_api.API_TOURNAMENT_URL", server.url)
        monkeypatch.setenv("NO_PROXY", "*")
        for name in ("NUMERAI_PUBLIC_ID", "NUMERAI_SECRET_KEY"):
            monkeypatch.delenv(name, raising=False)
        yield server
    finally:
        server.close()


class _Listener(ThreadingHTTPServer):
    """Remembers its connections, to end them; waits for their threads when it is closed."""

    daemon_threads = False
    request_queue_size = 64

    def __init__(self, *arguments: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # the other side was first
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client that was stopped
            super().handle_error(request, client_address)


def _handler_of(server: NumeraiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        numerai = server

    return Handler


class _Handler(BaseHTTPRequestHandler):
    numerai: NumeraiServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        del format, arguments

    def do_POST(self) -> None:
        body = self._body()
        question = json.loads(body)
        names = tuple(asked_fields(question["query"]))
        fault = self._begin("graphql", names, body)
        if fault is None:
            return
        if fault.hold:
            self.numerai.wait(fault.hold)
        answer = json.dumps(
            self.numerai.answer(question, self.headers.get("Authorization", ""))
        ).encode()
        answer = answer if fault.body is None else fault.body
        self._send(200, {"Content-Type": "application/json"}, answer, fault)

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        _, _, number, name = unquote(address.path).split("/", 3)
        fault = self._begin("get", (name,))
        if fault is None:
            return
        if not self.numerai.is_valid(address.query):
            self._send(403, {"Content-Type": "application/xml"}, EXPIRED, fault)
            return
        stored = self.numerai.files[name, None if number == "all" else int(number)]
        wanted = self.headers.get("If-Match", stored.etag)
        if wanted != stored.etag and not fault.ignore_match:
            self._send(412, {}, b"<Error><Code>PreconditionFailed</Code></Error>", fault)
            return
        content = stored.content if fault.body is None else fault.body
        headers = {"ETag": stored.etag, "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None or fault.ignore_range:
            self._send(200, headers, content, fault)
            return
        begin, end = int(asked[1]), min(int(asked[2] or len(content)) + 1, len(content))
        if begin >= len(content):
            self._send(416, {"Content-Range": f"bytes */{len(content)}"}, b"", fault)
            return
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(content)}"
        self._send(206, headers, content[begin:end], fault)

    def do_PUT(self) -> None:
        address = urlsplit(self.path)
        name = unquote(address.path).removeprefix("/upload/")
        body = self._body()
        fault = self._begin("put", (name,), body)
        if fault is None:
            return
        if not self.numerai.is_valid(address.query):
            self._send(403, {"Content-Type": "application/xml"}, EXPIRED, fault)
            return
        self.numerai.uploads[name] = body
        self._send(200, {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}, b"", fault)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _begin(self, kind: str, names: tuple[str, ...], body: bytes = b"") -> Fault | None:
        """Record a request; return its fault, or None if it needs no further answer."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.numerai.seen.append(Seen(kind, names, headers, body))
        fault = self.numerai.next_fault(kind, names)
        if fault.first is not None:
            fault.first()
        if fault.drop:
            self.close_connection = True
        elif fault.status is not None:
            self._send(fault.status, {}, fault.body or b"<Error/>", fault)
        else:
            return fault
        return None

    def _send(self, status: int, headers: dict[str, str], body: bytes, fault: Fault) -> None:
        """Send an answer, as far as the fault lets it."""
        headers = {"Content-Length": str(len(body)), **headers, **fault.headers}
        self.send_response(status)
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        n_before = len(body) if fault.cut_after is None else fault.cut_after
        self._write(body[:n_before])
        if fault.hold is not None and self.command == "GET":
            self.numerai.wait(fault.hold)
            self._write(body[n_before:])
        elif fault.cut_after is not None or "Content-Length" in fault.headers:
            self.close_connection = True
        if fault.last is not None:
            fault.last()

    def _write(self, data: bytes) -> None:
        for begin in range(0, len(data), PIECE_BYTES):
            self.wfile.write(data[begin : begin + PIECE_BYTES])
        self.wfile.flush()
