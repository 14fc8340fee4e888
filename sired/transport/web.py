"""Asking a server over HTTP."""

import http.client
import select
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from sired.protocol.content import JSON, TEXT, Buffer, Payload

_LONGEST_WORDS = 500


@dataclass(frozen=True, slots=True)
class Answer:
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
    ) -> Answer:
        """Ask once.

        Raises:
            OSError: there is no answer: nobody listens, or the connection broke.
            http.client.HTTPException: the answer is not HTTP, or ends too early.
        """
        connection = self._connection(timeout)
        try:
            connection.request(method, path, body, headers or {})
            # A server that writes headers and body apart may wait for the first to be acknowledged
            # before it sends the second: 40 ms, unless that is done at once.
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            response = connection.getresponse()
            content_type = response.getheader("Content-Type") or ""
            return Answer(response.status, content_type, response.read())
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
