"""Reading the body of a request, within limits of size and time."""

import asyncio
import time

from starlette.types import Message, Receive, Scope

from sire.errors import SireError
from sire.units import format_bytes
from sired.gateway.errors import HttpError

# A body may take this long, and longer the more of it has arrived.
_BODY_SECONDS = 30.0
_LEAST_BYTES_PER_SECOND = 64 << 10
# What is left of a refused body is not read.
_CLOSE = {"connection": "close"}


class ClientGone(Exception):
    """The client has closed the connection, and reads no response."""


async def read_body(scope: Scope, receive: Receive, largest: int) -> bytes:
    """The whole body of a request.

    Args:
        scope: of the request.
        receive: of the request.
        largest: the most bytes that it may have.

    Raises:
        HttpError: it is too large, or arrives too slowly.
        ClientGone: the client went away before it had sent all of it.
    """
    if (stated := _stated_length(scope)) > largest:
        raise _too_large(stated, largest)
    chunks: list[bytes] = []
    size = 0
    began = time.monotonic()
    while True:
        message = await _next(receive, began + _BODY_SECONDS + size / _LEAST_BYTES_PER_SECOND)
        if message["type"] == "http.disconnect":
            raise ClientGone
        if chunk := message.get("body", b""):
            chunks.append(chunk)
            size += len(chunk)
        if size > largest:
            raise _too_large(size, largest)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _next(receive: Receive, deadline: float) -> Message:
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await receive()
    except TimeoutError:
        raise HttpError(
            408, "The body of the request arrives too slowly.", headers=_CLOSE
        ) from None


def _stated_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)  # the parser has checked it
    return 0


def _too_large(size: int, largest: int) -> SireError:
    return HttpError(
        413,
        f"The body has {format_bytes(size)} or more; the limit is {format_bytes(largest)}.",
        hint="Send less at a time, or increase max_message in [daemon].",
        headers=_CLOSE,
    )
