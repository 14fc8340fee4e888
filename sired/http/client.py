"""A small HTTP client with one keep-alive connection per thread."""

import contextlib
import http.client
import select
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from sire.protocol.content import JSON, TEXT, Buffer, Payload

EVENTS, LINES = "text/event-stream", "application/x-ndjson"
_LONGEST_MESSAGE = 500
_CHECK_MILLISECONDS = 100


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """The response of a server."""

    status: int
    content_type: str
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    def payload(self) -> Payload:
        """The body as a payload; text of any subtype but CSV counts as plain text."""
        kind = self.content_type.partition(";")[0].strip().lower()
        if kind.startswith("text/") and kind != "text/csv":
            kind = TEXT
        return Payload(kind or JSON, (self.body,))

    def message(self) -> str:
        """The error message in the body, or else the whole body; at most 500 characters."""
        return " ".join(_message(self.body).split())[:_LONGEST_MESSAGE] or "(empty body)"


class Server:
    """A server, requested from any number of threads; each has a connection of its own.

    Args:
        host: its name or address.
        port: its port.
        check_wanted: called several times a second while a response is awaited; an error that it
            raises ends the request and closes the connection, so that the server can stop as well.
    """

    def __init__(
        self, host: str, port: int, check_wanted: Callable[[], None] = lambda: None
    ) -> None:
        self._address = (host, port)
        self._check_wanted = check_wanted
        self._local = threading.local()

    def request(
        self,
        method: str,
        path: str,
        body: Buffer | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> HttpResponse:
        """Send one request and read the whole response.

        Args:
            method: GET, POST, …
            path: on the server.
            body: of the request.
            headers: of the request.
            timeout: seconds that each socket operation may take; None for no limit.

        Raises:
            OSError: the server does not listen, or the connection broke.
            http.client.HTTPException: the response is not HTTP, or is truncated.
        """
        with self._opened(method, path, body, headers, timeout) as response:
            content_type = response.getheader("Content-Type") or ""
            return HttpResponse(response.status, content_type, response.read())

    def stream(
        self, method: str, path: str, body: Buffer, headers: Mapping[str, str]
    ) -> Generator[HttpResponse, None, None]:
        """POST once, and yield the response in parts as the server sends them.

        A part is the data of a server-sent event, a line of JSON, or the whole body of other
        content types. Closing the generator closes the connection.

        Raises:
            OSError: and http.client.HTTPException: as ``request``.
        """
        with self._opened(method, path, body, headers, None) as response:
            content_type = response.getheader("Content-Type") or ""
            if not 200 <= response.status < 300 or _kind(response) not in _IN_PARTS:
                yield HttpResponse(response.status, content_type, response.read())
                return
            for part in parts_of(response):
                yield HttpResponse(500 if is_error(part) else response.status, JSON, part)
            response.read()  # reads the end of the body, so that the connection can be reused

    @contextlib.contextmanager
    def _opened(
        self,
        method: str,
        path: str,
        body: Buffer | None,
        headers: Mapping[str, str] | None,
        timeout: float | None,
    ) -> Iterator[http.client.HTTPResponse]:
        """A response that has to be read completely; otherwise the connection is closed."""
        connection = self._connection(timeout)
        try:
            connection.request(method, path, body, headers or {})
            # A server that writes headers and body separately may wait for the acknowledgement of
            # the headers before it sends the body: 40 ms, unless they are acknowledged at once.
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            self._wait(connection.sock, timeout)
            yield connection.getresponse()
        except BaseException:
            connection.close()
            raise

    def _wait(self, sock: socket.socket, timeout: float | None) -> None:
        """Wait until a response begins.

        Raises:
            TimeoutError: it does not within ``timeout`` seconds.
            Exception: the error of ``check_wanted``.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        waiting = select.poll()
        waiting.register(sock, select.POLLIN)
        while not waiting.poll(_CHECK_MILLISECONDS):
            self._check_wanted()
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"no response within {timeout} s")

    def _connection(self, timeout: float | None) -> http.client.HTTPConnection:
        """This thread's connection; reopened if the server has closed it."""
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(*self._address)
            self._local.connection = connection
        connection.timeout = timeout
        if connection.sock is not None:
            # Before a request, the only thing to read is the end of the connection.
            if select.select([connection.sock], [], [], 0)[0]:
                connection.close()
            else:
                connection.sock.settimeout(timeout)
        return connection


def parts_of(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """The parts of a streamed response; none of one that is not streamed.

    Raises:
        OSError: and http.client.HTTPException: the response breaks off.
    """
    read = _IN_PARTS.get(_kind(response))
    return iter(()) if read is None else read(response)


def _kind(response: http.client.HTTPResponse) -> str:
    return (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()


def _events(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """The data of server-sent events, without the final [DONE] that some servers send."""
    data: list[bytes] = []
    for line in response:
        field, _, value = line.rstrip(b"\r\n").partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif not line.strip() and data:
            if data != [b"[DONE]"]:
                yield b"\n".join(data)
            data = []
    if data and data != [b"[DONE]"]:
        yield b"\n".join(data)


def _lines(response: http.client.HTTPResponse) -> Iterator[bytes]:
    return (line.strip() for line in response if line.strip())


_IN_PARTS: dict[str, Callable[[http.client.HTTPResponse], Iterator[bytes]]] = {
    EVENTS: _events,
    LINES: _lines,
    "application/jsonl": _lines,
}


def is_error(part: bytes) -> bool:
    """Whether a part reports an error: the status line has been sent by then."""
    try:
        found = msgspec.json.decode(part)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(found, dict) and bool(found.get("error"))


def _message(body: bytes) -> str:
    """The text in ``{"error": {"message": …}}`` and its variants, or else the body as text."""
    try:
        found: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    for name in ("error", "detail", "message"):
        if isinstance(found, dict) and found.get(name):
            found = found[name]
    return found if isinstance(found, str) else body.decode(errors="replace")
