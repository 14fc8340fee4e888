"""Answers that are sent in parts."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

from sire.errors import SireError

DescribeError = Callable[[SireError], bytes]


async def started(
    parts: AsyncGenerator[bytes, None], describe: DescribeError
) -> AsyncIterator[bytes]:
    """The parts, after waiting for the first: its error still decides the status of the response.

    Args:
        parts: the parts of an answer.
        describe: makes the last part of an error that occurs after the first one.

    Raises:
        SireError: there is no first part.
    """
    try:
        first = await anext(parts)
    except StopAsyncIteration:
        first = b""
    return _with_first(first, parts, describe)


async def _with_first(
    first: bytes, parts: AsyncGenerator[bytes, None], describe: DescribeError
) -> AsyncIterator[bytes]:
    async with aclosing(parts):
        yield first
        try:
            async for part in parts:
                yield part
        except SireError as error:
            yield describe(error)
