"""Asking a server over HTTP."""

import contextlib
import http.client
import select
import socket
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from sire.protocol.content import JSON, TEXT, Buffer, Payload

_LONGEST_WORDS = 500


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What a server answered."""

    status: int
    content_type: str
    body: bytes

    @property
    def good(self) -> bool:
        """Whether the server calls it a success."""
        return 200 <= self.status < 300

    def payload(self) -> Payload:
        """The body as what it is; text of whatever kind is plain text to us."""
        kind = self.content_type.partition(";")[0].strip().lower()
        if kind.startswith("text/") and kind != "text/csv":
            kind = TEXT
        return Payload(kind or JSON, (self.body,))

    def words(self) -> str:
        """What it says to people: the message of an error, as servers write it, or all of it."""
        return " ".join(_message(self.body).split())[:_LONGEST_WORDS] or "no words with it"


class Server:
    """A server that is asked from any number of threads; each keeps a connection of its own."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._own = threading.local()

    def ask(
        self,
        method: str,
        path: str,
        body: Buffer | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> HttpResponse:
        """Ask once.

        Raises:
            OSError: there is no answer: nobody listens, or the connection broke.
            http.client.HTTPException: the answer is not HTTP, or ends too early.
        """
        with self._opened(method, path, body, headers, timeout) as response:
            content_type = response.getheader("Content-Type") or ""
            return HttpResponse(response.status, content_type, response.read())

    def stream(
        self, method: str, path: str, body: Buffer, headers: Mapping[str, str]
    ) -> Generator[HttpResponse, None, None]:
        """Ask once, and yield the answer in the parts in which the server sends it.

        A part is the data of an event, a line of JSON, or all of it where the server sends neither
        events nor lines. Closing the generator closes the connection.

        Raises:
            OSError: and http.client.HTTPException: as ``ask``.
        """
        with self._opened(method, path, body, headers, None) as response:
            content_type = response.getheader("Content-Type") or ""
            kind = content_type.partition(";")[0].strip().lower()
            if not 200 <= response.status < 300 or kind not in _IN_PARTS:
                yield HttpResponse(response.status, content_type, response.read())
                return
            for part in _IN_PARTS[kind](response):
                yield HttpResponse(500 if _tells_error(part) else response.status, JSON, part)
            response.read()  # having read every line it does not know yet that it is at its end

    @contextlib.contextmanager
    def _opened(
        self,
        method: str,
        path: str,
        body: Buffer | None,
        headers: Mapping[str, str] | None,
        timeout: float | None,
    ) -> Iterator[http.client.HTTPResponse]:
        """An answer to be read to its end; else the connection does no more."""
        connection = self._connection(timeout)
        try:
            connection.request(method, path, body, headers or {})
            # A server that writes headers and body apart may wait for the first to be acknowledged
            # before it sends the second: 40 ms, unless that is done at once.
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            yield connection.getresponse()
        except BaseException:
            connection.close()
            raise

    def _connection(self, timeout: float | None) -> http.client.HTTPConnection:
        """This thread's connection; one that the server has closed meanwhile is opened anew."""
        connection: http.client.HTTPConnection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(*self._address)
            self._own.connection = connection
        connection.timeout = timeout
        if connection.sock is not None:
            # Nothing is to be read before anything was asked, unless it is the end.
            if select.select([connection.sock], [], [], 0)[0]:
                connection.close()
            else:
                connection.sock.settimeout(timeout)
        return connection


def _events(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """The data of server-sent events, as far as it is JSON: some servers say at the end [DONE]."""
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
    "text/event-stream": _events,
    "application/x-ndjson": _lines,
    "application/jsonl": _lines,
}


def _tells_error(part: bytes) -> bool:
    """Whether a part is an error: who has begun to answer has no other way to tell of one."""
    try:
        found = msgspec.json.decode(part)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return isinstance(found, dict) and bool(found.get("error"))


def _message(body: bytes) -> str:
    """The text in ``{"error": {"message": …}}`` and its variants; else the body as text."""
    try:
        found: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = None
    for name in ("error", "detail", "message"):
        if isinstance(found, dict) and found.get(name):
            found = found[name]
    return found if isinstance(found, str) else body.decode(errors="replace")
