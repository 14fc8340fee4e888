"""Passes a request on to the program of a model, and its response back as it arrives."""

import asyncio
import io
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sire.client.aio.connection import AsyncConnection
from sire.errors import InferenceError
from sire.protocol.requests import TakeSlot
from sired.gateway.call import Call
from sired.gateway.keys import SECRET_HEADERS
from sired.gateway.programs.slot import HeldSlot, take_slot
from sired.gateway.programs.upload import Upload

if TYPE_CHECKING:
    from aiohttp import ClientResponse

    from sired.gateway.programs.session import Body, ProgramSession

# Headers that concern one connection, not the request or response (RFC 9110, 7.6.1).
_OF_A_CONNECTION = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization"),
        *(b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    }
)
# A client that takes nothing of the response for so long loses it, and gives its slot back.
_UNREAD_SECONDS = 120.0
# Headers of a request that have another value, or none, towards the program.
_REPLACED = frozenset({b"host", b"content-length", b"expect"})

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Exchange:
    """A request that a program is answering, and the slot that it holds.

    Attributes:
        errors: what reading the response raises when the program breaks it off.
    """

    response: "ClientResponse"
    slot: HeldSlot
    errors: tuple[type[Exception], ...]

    def close(self) -> None:
        """End it: the program notices if it has not finished, and the slot is given back."""
        self.response.close()
        self.slot.free()


class Forwarder:
    """Connections to programs, kept while they are used.

    It has to be made and closed within the event loop.
    """

    def __init__(self) -> None:
        self._session: ProgramSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _connected(self) -> "ProgramSession":
        if self._session is None:
            from sired.gateway.programs.session import ProgramSession  # noqa: PLC0415

            self._session = ProgramSession()
        return self._session

    async def forward(
        self, call: Call, request: TakeSlot, path: bytes, upload: Upload | None = None
    ) -> Response:
        """Send a request to the program of a model, once the scheduler lets it.

        Args:
            call: the request.
            request: for the slot that the request is sent in.
            path: the path in the program, as it is sent.
            upload: the body of the request, if it is still arriving.

        Returns:
            The program's response, whose body is passed on as it arrives.

        Raises:
            SireError: there is no slot for it.
            InferenceError: the program closed the connection before it responded.
        """
        scope = call.request.scope
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        withheld = _REPLACED | SECRET_HEADERS if "sire.key" in scope else _REPLACED
        body: bytes | Upload = call.body
        if upload is not None and _has_body(scope["headers"]):
            body, withheld = upload, withheld - {b"content-length"}
        headers = [one for one in _passed_on(scope["headers"]) if one[0] not in withheld]
        exchange = await self.open(
            call.models.daemon, request, scope["method"], path + query, headers, body
        )
        return ProgramResponse(exchange, upload)

    async def open(
        self,
        daemon: AsyncConnection,
        request: TakeSlot,
        method: str,
        target: bytes,
        headers: Headers,
        body: bytes | Upload,
    ) -> Exchange:
        """Send any request to the program of a model, once the scheduler lets it.

        Args:
            daemon: the daemon, which has the slots.
            request: for the slot that the request is sent in.
            method: of the request.
            target: its path and query, as they are sent.
            headers: of the request; none is added but those of the connection.
            body: of the request.

        Returns:
            The exchange, whose response has begun; it has to be closed.

        Raises:
            SireError: there is no slot for it.
            InferenceError: the program closed the connection before it responded.
        """
        slot = await take_slot(daemon, request)
        session = self._connected()
        try:
            url = slot.url + target.decode("latin-1")
            response = await session.request(method, url, headers, _sent(body, slot))
        except BaseException as problem:
            slot.error = f"{type(problem).__name__}: {problem}"
            slot.free()
            if isinstance(problem, session.errors):
                raise InferenceError(
                    f"The program of {slot.model} did not answer: {slot.error}"
                ) from None
            raise
        return Exchange(response, slot, session.errors)


class ProgramResponse(Response):
    """The response of a program; its slot is given back when it ends, however that is."""

    def __init__(self, exchange: Exchange, upload: Upload | None) -> None:
        response = exchange.response
        super().__init__(status_code=response.status)
        self.raw_headers = _passed_on((name.lower(), value) for name, value in response.raw_headers)
        self._exchange = exchange
        self._upload = upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Pass on the body; stop when either side closes its connection."""
        relaying = asyncio.ensure_future(self._relay(send))
        upload = self._upload
        leaving = asyncio.ensure_future(_gone(receive) if upload is None else upload.gone())
        try:
            await asyncio.wait((relaying, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (relaying, leaving):
                task.cancel()
            self._exchange.close()
            if upload is not None:
                upload.close()
            await asyncio.wait((relaying, leaving))

    async def _relay(self, send: Send) -> None:
        """Send the response. Without its last message the server closes the connection."""
        response, slot = self._exchange.response, self._exchange.slot
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        try:
            async for chunk in response.content.iter_any():
                slot.bytes_out += len(chunk)
                async with asyncio.timeout(_UNREAD_SECONDS):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except TimeoutError:
            return
        except self._exchange.errors as problem:
            slot.error = f"The program broke off its response: {problem}"
            return
        await send({"type": "http.response.body", "body": b""})


def _has_body(headers: Headers) -> bool:
    given = dict(headers)
    return b"transfer-encoding" in given or given.get(b"content-length", b"0") != b"0"


def _sent(body: bytes | Upload, slot: HeldSlot) -> "Body":
    """A body as the program's connection takes it; what is sent is counted."""
    if isinstance(body, Upload):
        return _counted(body, slot)
    slot.bytes_in = len(body)
    return io.BytesIO(body) if body else None


async def _counted(upload: Upload, slot: HeldSlot) -> AsyncGenerator[bytes, None]:
    async for chunk in upload.chunks():
        slot.bytes_in += len(chunk)
        yield chunk


async def _gone(receive: Receive) -> None:
    """Wait until the client closes its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _passed_on(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Headers without those that concern one connection, or that its Connection names."""
    given = list(headers)
    named = {
        name.strip().lower()
        for header, value in given
        if header == b"connection"
        for name in value.split(b",")
    }
    return [one for one in given if one[0] not in _OF_A_CONNECTION and one[0] not in named]
