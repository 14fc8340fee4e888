"""The body of a request while it arrives, for programs that read it piece by piece."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable
from typing import TypeVar

from starlette.types import Receive

from sired.gateway.body import ClientGone

_Result = TypeVar("_Result")
# Bytes that have arrived and that the program has not taken yet; more are not read meanwhile.
_MOST_BYTES_AHEAD = 1 << 20
# A client that sends nothing of a body for so long loses its request.
_SILENT_SECONDS = 120.0


class Upload:
    """Reads a body ahead of its reader, and notices when the client goes away or falls silent.

    Args:
        receive: of the request.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._chunks: deque[bytes] = deque()
        self._ahead = 0
        self._complete = False
        self._changed = asyncio.Event()
        self._taken = asyncio.Event()
        self._reading = asyncio.ensure_future(self._read())
        self._reading.add_done_callback(lambda _: self._changed.set())

    def close(self) -> None:
        """Stop reading."""
        self._reading.cancel()

    async def gone(self) -> None:
        """Wait until the client has gone away."""
        await asyncio.wait({self._reading})

    async def unless_gone(self, work: Awaitable[_Result]) -> _Result:
        """The result of the work, which is cancelled if the client goes away.

        Raises:
            ClientGone: it did.
        """
        working = asyncio.ensure_future(work)
        try:
            await asyncio.wait({working, self._reading}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
        finally:
            if not working.done():
                working.cancel()
                await asyncio.wait({working})
        raise ClientGone

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body in pieces, as they arrive.

        Raises:
            ClientGone: the client went away before it had sent all of it.
        """
        while True:
            while self._chunks:
                chunk = self._chunks.popleft()
                self._ahead -= len(chunk)
                self._taken.set()
                yield chunk
            if self._complete:
                return
            if self._reading.done():
                raise ClientGone
            self._changed.clear()
            await self._changed.wait()

    async def _read(self) -> None:
        """Read until the client goes away, which it may do long after the body is complete."""
        while True:
            while self._ahead >= _MOST_BYTES_AHEAD:
                self._taken.clear()
                await self._taken.wait()
            try:
                async with asyncio.timeout(None if self._complete else _SILENT_SECONDS):
                    message = await self._receive()
            except TimeoutError:
                return
            if message["type"] == "http.disconnect":
                return
            if chunk := message.get("body", b""):
                self._chunks.append(chunk)
                self._ahead += len(chunk)
            self._complete = not message.get("more_body", False)
            self._changed.set()
