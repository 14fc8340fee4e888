"""What programs answer: server-sent events, lines of JSON, or something else, cut at any place.

What a program sends is read or refused with an error of the connection or of sire. Parts that are
well formed are read as they were sent, however they are framed and cut.
"""

import asyncio
import contextlib
import http.client
import io
from typing import Any, cast

import aiohttp
import msgspec
from aiohttp.base_protocol import BaseProtocol

from sire.errors import InferenceError
from sired.gateway.generation.program import completions
from sired.http.client import EVENTS, LINES, is_error, parts_of
from tests.fuzz.draw import Draw

_KINDS = (EVENTS, LINES, "text/plain", "")
_STATUSES = (200, 201, 404, 500)
_PIECES = (1, 2, 7, 64, 4096)
_ENDS = (b"\n", b"\r\n")
_OTHERS = (b"", b": a comment", b"event: x", b"id: 1", b"retry: 10", b"data", b"nonsense")
_loop = asyncio.new_event_loop()


def fuzz_one(data: bytes) -> None:
    """Read the bytes as a program's answer; raises only for what is a bug."""
    draw = Draw(data)
    kind = draw.byte() % 4
    if kind == 0:
        _read(draw.rest())
    elif kind == 1:
        _read(_response(draw.choice(_KINDS), draw.choice(_STATUSES), draw.rest()))
    elif kind == 2:
        pieces = draw.choice(_PIECES)
        with contextlib.suppress(InferenceError, ValueError):  # a line that is too long
            _completions(draw.rest(), pieces)
    else:
        _check_framed(draw)


def _check_framed(draw: Draw) -> None:
    """Parts that are framed in one of the ways that are allowed are read as they were sent."""
    end, pieces = draw.choice(_ENDS), draw.choice(_PIECES)
    texts = [draw.text() or "x" for _ in range(draw.byte() % 5)]
    bodies = [msgspec.json.encode({"choices": [{"delta": {"content": text}}]}) for text in texts]
    sent = b""
    for body in bodies:
        sent += draw.choice(_OTHERS[:5]) + end
        sent += draw.choice((b"data: ", b"data:")) + body + end + end
    events = sent + draw.choice((b"", b"data: [DONE]" + end + end))
    assert _read(_response(EVENTS, 200, events)) == bodies
    assert _read(_response(LINES, 200, end.join([*bodies, b""]))) == bodies
    assert _completions(events, pieces) == texts


def _response(kind: str, status: int, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class _Line:
    """A socket on which all of an answer has arrived."""

    def __init__(self, sent: bytes) -> None:
        self._sent = sent

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO(self._sent))


def _read(sent: bytes) -> list[bytes]:
    """The parts that a worker reads, up to what is not HTTP."""
    response = http.client.HTTPResponse(cast("Any", _Line(sent)), method="POST")
    found: list[bytes] = []
    with contextlib.suppress(http.client.HTTPException, OSError):
        response.begin()
        for part in parts_of(response):
            found.append(part)
            is_error(part)
    return found


def _completions(sent: bytes, pieces: int) -> list[str]:
    """The texts that the gateway reads for clients that speak another dialect."""

    async def read() -> list[str]:
        protocol = BaseProtocol(_loop)
        reader = aiohttp.StreamReader(protocol, 1 << 16, loop=_loop)
        for start in range(0, len(sent), max(pieces, len(sent) // 50 + 1)):
            reader.feed_data(sent[start : start + max(pieces, len(sent) // 50 + 1)])
        reader.feed_eof()
        return [
            choice.words
            async for one in completions(reader, "m")
            for choice in one.choices
            if choice.words
        ]

    return _loop.run_until_complete(read())


def seeds() -> list[bytes]:
    """Answers that are read."""
    event = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n'
    line = b'{"response":"a","done":false}\n{"done":true}\n'
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n"
        b"9\r\ndata: 1\n\n\r\n0\r\n\r\n"
    )
    return [
        b"\0" + _response(EVENTS, 200, event),
        b"\0" + _response(LINES, 200, line),
        b"\0" + chunked,
        b"\1\0\0\0\0" + event,
        b"\1\0\1\0\0" + line,
        b"\2\0\1" + event,
        b"\2\0\3" + b'data: {"x": ' + b"[" * 3000 + b"\n\n",
        b"\3\0\0\0\1\2\7" + bytes(20),
    ]
