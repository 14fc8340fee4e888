"""Limits of connections and of the headers of requests, which uvicorn does not have."""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Each open connection takes a descriptor and about 15 KB.
MOST_CONNECTIONS = 4096
# Of a request's line and headers together.
MOST_HEADER_BYTES = 64 << 10
# Between the first byte of a request and the end of its headers, and before the first request.
HEADER_SECONDS = 20.0
# What a header takes besides its text.
_HEADER_COST = 32
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
)
_BODY = (
    b'{"error":{"code":"RequestHeaderFieldsTooLarge",'
    b'"message":"The headers of the request exceed 64 KiB.","hint":"","details":{}}}'
)


class LimitedProtocol(HttpToolsProtocol):
    """A connection that is closed if its headers are too large, or arrive too slowly."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_headers = True
        self._header_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, unless there are too many."""
        stream = cast("asyncio.Transport", transport)  # of uvloop, which derives from nothing
        super().connection_made(stream)
        if len(self.connections) > MOST_CONNECTIONS:
            stream.abort()
        else:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived; if headers are not complete, they have to be soon."""
        super().data_received(data)
        if self._in_headers and self._timer is None and not self.transport.is_closing():
            self._start_timer()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_headers, self._header_bytes = True, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A part of the path arrived."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header arrived."""
        self._count(len(name) + len(value) + _HEADER_COST)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """All headers have arrived."""
        self._in_headers = False
        self._stop_timer()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that cannot be parsed, or whose headers are too large."""
        if self._header_bytes > MOST_HEADER_BYTES:
            self.transport.write(_TOO_LARGE % (len(_BODY), _BODY))
            self.transport.close()
        else:
            super().send_400_response(msg)

    def _count(self, size: int) -> None:
        """Count bytes of headers; an exception here makes the parser refuse the request."""
        self._header_bytes += size
        if self._header_bytes > MOST_HEADER_BYTES:
            raise ValueError

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(HEADER_SECONDS, self._late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.abort()
