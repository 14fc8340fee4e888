"""Answers that are sent in parts."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing


async def started(parts: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """The parts, after waiting for the first: its error still decides the status of the response.

    Raises:
        SireError: there is no first part.
    """
    try:
        first = await anext(parts)
    except StopAsyncIteration:
        first = b""
    return _with_first(first, parts)


async def _with_first(first: bytes, parts: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with aclosing(parts):
        yield first
        async for part in parts:
            yield part
