"""What arrives at the gateway's port: requests of HTTP, well framed or not, cut at any place.

Nothing of it ends in an exception or a response of 500. What is sent back is a sequence of
responses.
"""

import asyncio
import logging
import re
from typing import Any

import uvicorn
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from sire.errors import SireError
from sired.gateway.body import ClientGone, read_body
from sired.gateway.cors import NO_CORS
from sired.gateway.errors import error_response
from sired.gateway.guard import check_sender
from sired.gateway.limits import LimitedProtocol
from tests.fuzz.draw import Draw

_LARGEST_BODY = 1 << 16
_PIECES = (1, 3, 16, 100, 4096, 1 << 17)
_METHODS = (b"GET", b"POST", b"HEAD", b"DELETE", b"OPTIONS", b"CONNECT", b"PRI", b"get", b"")
_TARGETS = (b"/", b"/health?a=%00", b"*", b"http://evil/", b"//", b"/%ff%zz", b"x:1", b"/" * 70_000)
_VERSIONS = (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.", b"")
_HEADERS = (
    *(b"host: localhost", b"host: evil", b"host:", b"host: a\r\nhost: b", b"origin: http://evil"),
    *(
        b"content-length: 5",
        b"content-length: 0",
        b"content-length: -1",
        b"content-length: 99999999",
    ),
    *(b"content-length: 5, 5", b"content-length: " + b"9" * 40, b"content-length: +5"),
    *(b"transfer-encoding: chunked", b"transfer-encoding: gzip, chunked", b"Transfer-Encoding:\tX"),
    *(b"connection: close", b"connection: upgrade\r\nupgrade: websocket", b"expect: 100-continue"),
    *(b"x: " + b"y" * 70_000, b" folded: x", b"no colon", b": x", b"x\0: y", b"\xff: \xfe"),
)
_CHUNKS = (
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"-1\r\n",
    b"5;x=y\r\nhello\r\n",
)
_BODIES = (b"hello", b"", b"hello" * 20_000, *_CHUNKS)
_ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n")
_LENGTH = re.compile(rb"content-length: (\d+)\r\n", re.IGNORECASE)
_SETTLE = 12
_EXPECTED = {b"100", b"200", b"400", b"403", b"408", b"413", b"431"}
logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
_loop = asyncio.new_event_loop()


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """What the gateway does before it knows which path is meant."""
    try:
        check_sender(scope, NO_CORS)
        body = await read_body(scope, receive, _LARGEST_BODY)
        response = Response(b"%d" % len(body))
    except ClientGone:
        return
    except SireError as error:
        response = error_response(error)
    response.headers["x-method"] = scope["method"]
    await response(scope, receive, send)


_config = uvicorn.Config(
    _app, http=LimitedProtocol, ws="none", lifespan="off", log_config=None, access_log=False
)
_config.load()


class _Transport(asyncio.Transport):
    """A connection whose other end reads all that is sent."""

    def __init__(self, protocol: LimitedProtocol) -> None:
        super().__init__()
        self.sent = bytearray()
        self._protocol = protocol
        self._closing = False

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        if not self._closing:  # as sockets of the event loop do
            self.sent += data

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            _loop.call_soon(self._protocol.connection_lost, None)

    abort = close

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in {"peername", "sockname"} else default

    def pause_reading(self) -> None:
        """All of it has been read."""

    def resume_reading(self) -> None:
        """All of it has been read."""


def fuzz_one(data: bytes) -> None:
    """Send the bytes over a connection; raises only for what is a bug."""
    draw = Draw(data)
    pieces = draw.choice(_PIECES)
    if draw.byte() % 2:
        content = b"".join(_drawn(draw) for _ in range(1 + draw.byte() % 3))
    else:
        content = draw.rest()
    answers = _loop.run_until_complete(_answers(content, max(pieces, len(content) // 200 + 1)))
    assert set(answers) <= _EXPECTED, answers


def _drawn(draw: Draw) -> bytes:
    """A request with a line, headers and a body that do not always fit."""
    ends = (b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r")
    end = draw.choice(ends)
    line = b" ".join((draw.choice(_METHODS), draw.choice(_TARGETS), draw.choice(_VERSIONS)))
    headers = [b"host: localhost"] if draw.byte() % 4 else []
    headers += [draw.choice(_HEADERS) for _ in range(draw.byte() % 5)]
    body = b"".join(draw.choice(_BODIES) for _ in range(draw.byte() % 4))
    return end.join((line, *headers, b"", b"")) + body


async def _answers(content: bytes, piece: int) -> list[bytes]:
    """The statuses of the responses."""
    failed: list[Any] = []
    _loop.set_exception_handler(lambda _, context: failed.append(context))
    protocol = LimitedProtocol(_config, ServerState(), {}, _loop)
    transport = _Transport(protocol)
    protocol.connection_made(transport)
    for start in range(0, len(content), piece):
        if transport.is_closing():
            break
        protocol.data_received(content[start : start + piece])
        await asyncio.sleep(0)
    await _settled()
    if not transport.is_closing():
        transport.close()
    await _settled()
    assert not failed, failed
    return _statuses(bytes(transport.sent))


async def _settled() -> None:
    for _ in range(_SETTLE):
        await asyncio.sleep(0)


def _statuses(sent: bytes) -> list[bytes]:
    """The statuses of responses."""
    found, at = list[bytes](), 0
    while at < len(sent):
        answer = _ANSWER.match(sent, at)
        assert answer is not None, sent[at : at + 200]
        found.append(answer[1])
        at = answer.end()
        length = _LENGTH.search(answer[2])
        if length is not None and b"x-method: HEAD" not in answer[2]:
            at += int(length[1])  # the last one ends with a connection that is broken off
        elif length is None and answer[1] != b"100":  # uvicorn's own, which ends the connection
            assert b"connection: close" in answer[2].lower()
            break
    return found


def seeds() -> list[bytes]:
    """Requests that are answered."""
    get = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
    post = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nhello"
    chunked = (
        b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n0\r\n\r\n"
    )
    expecting = b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\nx"
    return [b"\0\5\0" + one for one in (get, post, chunked, get + post + get, expecting)] + [
        bytes((0, 4, 1, 2)) + bytes(30),
        bytes((0, 1, 1, 1)) + bytes(range(0, 120, 4)),
    ]
