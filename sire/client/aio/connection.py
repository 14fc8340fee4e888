"""A connection to the daemon for programs with an event loop: any number of requests at once."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from typing import TypeVar

import msgspec

from sire.client.aio.routes import AsyncRoute, AsyncRoutes
from sire.client.aio.session import Outcome, Receiver, Session
from sire.client.connection import (
    LIMIT_SECONDS,
    MOST_DAEMONS,
    Connection,
    largest_message,
)
from sire.client.daemon_client import of_kind
from sire.client.direct.exchange import ConnectionLost
from sire.client.link import Answer, Link
from sire.errors import DaemonUnavailable, SireError
from sire.paths import Paths, find_paths
from sire.protocol.content import Buffer, size_of
from sire.protocol.framing import too_large
from sire.protocol.replies import ConfigReport, Part
from sire.protocol.requests import READING, Predict, Request, ShowConfig, WhyEnded

_Kind = TypeVar("_Kind")


class AsyncConnection:
    """A connection to the daemon, opened by the first request; for one event loop.

    Cancelling the task that waits for a reply cancels the request.

    Args:
        paths: the daemon's socket and lock; by default those of the environment.
        autostart: start a daemon if none runs. ``SIRE_NO_AUTOSTART=1`` disables it as well.
        greeting: a request to send to each daemon first; its reply is not awaited.
    """

    def __init__(
        self,
        paths: Paths | None = None,
        *,
        autostart: bool = True,
        greeting: Request | None = None,
    ) -> None:
        self._greeting = greeting
        self._paths = paths or find_paths()
        self._blocking = Connection(self._paths, autostart=autostart)
        self._routes = AsyncRoutes(self._paths)
        self._opening = asyncio.Lock()
        self._session: Session | None = None
        self._largest = 0
        self._predictions = 0

    def close(self) -> None:
        """Cancel every request, and close the sockets."""
        self._routes.close()
        if self._session is not None:
            self._session.close()

    async def largest(self) -> int:
        """The most bytes of payload that the daemon accepts in a request.

        Raises:
            DaemonUnavailable: no daemon runs and none was started.
        """
        await self._connected()
        return self._largest

    async def ask(self, request: Request, payload: Sequence[Buffer] = ()) -> Answer:
        """Send one request and wait for its reply.

        If the daemon dies, a request that changes nothing is sent to the next one, and so is any
        request that the first one has not received.

        Args:
            request: any request; its ``id`` is set here.
            payload: the frames that follow the header; must not change until the reply arrives.

        Returns:
            The reply and the frames that came with it.

        Raises:
            SireError: the typed error the daemon replied with.
            InvalidInput: the request exceeds the daemon's limit.
            DaemonUnavailable: no daemon runs and none was started, it went away before it replied,
                or it does not respond.
        """
        session, answer = await self._ask_once(request, payload)
        if isinstance(answer, DaemonUnavailable) and session.died and isinstance(request, READING):
            _, answer = await self._ask_once(request, payload)
        if isinstance(answer, SireError):
            raise answer
        return answer

    async def expect(self, kind: type[_Kind], request: Request) -> _Kind:
        """Send one request whose reply is of one kind, and return that.

        Raises:
            ProtocolError: the reply is of another kind.
            SireError: the errors of ``ask``.
        """
        reply, _ = await self.ask(request)
        return of_kind(kind, request, reply)

    async def predict(self, request: Predict, payload: Sequence[Buffer] = ()) -> Answer:
        """Send a prediction, over a direct connection to a worker where the daemon grants one.

        Raises:
            SireError: the errors of ``ask``.
        """
        self._predictions += 1
        try:
            return await self._predict(request, payload)
        finally:
            self._predictions -= 1

    async def _predict(self, request: Predict, payload: Sequence[Buffer]) -> Answer:
        began = time.monotonic()
        route = self._routes.to(request.model)
        try:
            if answer := await self._ask_worker(route, request, payload):
                return answer
        except ConnectionLost as ended:
            if ended.connection is not None:  # raises the reason
                await self.ask(WhyEnded(connection=ended.connection))
            if request.timeout is not None:
                left = max(0.0, request.timeout - (time.monotonic() - began))
                request = msgspec.structs.replace(request, timeout=left)
        with route.asking_daemon():
            return await self.ask(request, payload)

    async def stream(
        self, request: Predict, payload: Sequence[Buffer] = ()
    ) -> AsyncGenerator[Answer, None]:
        """Send a prediction whose answer arrives in parts, as the model produces them.

        Closing the generator cancels the request.

        Returns:
            A generator of ``Part`` messages and then the ``Prediction``, which has the whole answer
            if there was no part.

        Raises:
            SireError: the errors of ``ask``, perhaps after some parts.
        """
        replies: asyncio.Queue[Outcome] = asyncio.Queue()
        request = msgspec.structs.replace(request, stream=True)
        session, number = await self._send(request, payload, replies.put_nowait)
        try:
            while True:
                outcome = await replies.get()
                if isinstance(outcome, SireError):
                    raise outcome
                yield outcome
                if not isinstance(outcome[0], Part):
                    return
        finally:
            session.cancel(number)

    async def _ask_worker(
        self, route: AsyncRoute, request: Predict, payload: Sequence[Buffer]
    ) -> Answer | None:
        connection = await self._routes.connection(route, request, payload)
        if connection is None:
            return None
        try:
            return await connection.ask(request, payload, alone=self._predictions == 1)
        finally:
            route.give_back(connection)

    async def _ask_once(
        self, request: Request, payload: Sequence[Buffer]
    ) -> tuple[Session, Outcome]:
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        session, number = await self._send(request, payload, _resolve(answer))
        try:
            return session, await answer
        except asyncio.CancelledError:
            session.cancel(number)
            raise

    async def _send(
        self, request: Request, payload: Sequence[Buffer], receive: Receiver
    ) -> tuple[Session, int]:
        """Send a request to the daemon, or to the next one if it dies before."""
        for _ in range(MOST_DAEMONS):
            session = await self._connected()
            if payload and (size := size_of(payload)) > self._largest:
                raise too_large(size, self._largest)
            if (number := session.send(request, payload, receive)) is not None:
                return session, number
        raise DaemonUnavailable(
            f"{MOST_DAEMONS} daemons ended before they received the request.",
            hint=f"See their log: {self._paths.daemon_log}",
        )

    async def _connected(self) -> Session:
        if self._session is not None and not self._session.lost:
            return self._session
        async with self._opening:
            if self._session is None or self._session.lost:
                self._session = await self._open()
            return self._session

    async def _open(self) -> Session:
        """Connect, and ask for the limit: a client that exceeds it is disconnected."""
        loop = asyncio.get_running_loop()
        # Starting a daemon takes a while.
        link = await loop.run_in_executor(None, self._open_link)
        session = Session(link, loop)
        settings: asyncio.Future[Outcome] = loop.create_future()
        try:
            session.send(ShowConfig(), (), _resolve(settings))
            async with asyncio.timeout(LIMIT_SECONDS):
                outcome = await settings
        except BaseException as problem:
            session.close()
            if isinstance(problem, TimeoutError):
                raise self._silent() from None
            raise
        if isinstance(outcome, SireError):
            raise outcome
        assert isinstance(outcome[0], ConfigReport)
        self._largest = largest_message(outcome[0])
        if self._greeting is not None:
            session.send(self._greeting, (), _ignore)
        return session

    def _open_link(self) -> Link:
        link = self._blocking.open_link(backlog=0)
        link.open_payloads()
        return link

    def _silent(self) -> DaemonUnavailable:
        return DaemonUnavailable(
            f"The daemon did not answer within {LIMIT_SECONDS:g} s.",
            hint=f"Try: sire daemon restart. Its log: {self._paths.daemon_log}",
        )


def _ignore(_: Outcome) -> None:
    pass


def _resolve(future: asyncio.Future[Outcome]) -> Receiver:
    """Sets the result of a future that may have been cancelled."""

    def receive(outcome: Outcome) -> None:
        if not future.done():
            future.set_result(outcome)

    return receive
