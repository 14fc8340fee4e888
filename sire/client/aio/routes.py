"""The routes of concurrent predictions: through the daemon, or directly to a worker.

1. As in ``sire.client.direct.router``, the first request for a model goes to the daemon, and direct
   connections are requested for those that follow soon. Each carries one request at a time, so
   that as many are opened as there are requests at once, up to a limit.
2. The daemon grants one only while no request waits for the model. Requests of this client that it
   has are therefore awaited before one is requested, if the model answers fast enough for a direct
   connection to matter.
3. When a connection ends, requests go to the daemon again. Others are requested after a pause,
   which grows while connections are short-lived.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sire.client.aio.direct import AsyncDirectConnection, open_direct
from sire.client.direct.router import LONGEST_PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS, SOON_SECONDS
from sire.paths import Paths
from sire.protocol.content import Buffer
from sire.protocol.requests import Predict

# Direct connections to one model, and to all models.
_MOST_OF_MODEL = 32
_MOST = 128
# A model that takes longer gains nothing, and others would have to wait for it.
_FAST_SECONDS = 0.05


class AsyncRoute:
    """The route to one model.

    Attributes:
        gate: held by the request that opens a connection, so that the others wait for it.
        through_daemon: number of requests that the daemon has.
        seconds: what the last one took; infinity before there was one.
    """

    def __init__(self, model: str) -> None:
        self.model = model
        self.gate = asyncio.Lock()
        self.idle: list[AsyncDirectConnection] = []
        self.open = 0
        self.through_daemon = 0
        self.seconds = float("inf")
        self.last_used = 0.0
        self._not_before = 0.0
        self._pause = SHORTEST_PAUSE_SECONDS
        self._opened = 0.0
        self._drained = asyncio.Event()

    def worthwhile(self, now: float) -> bool:
        """Whether to request a connection now."""
        return (
            self.seconds < _FAST_SECONDS
            and now - self.last_used < SOON_SECONDS
            and now >= self._not_before
            and self.open < _MOST_OF_MODEL
        )

    def take_idle(self) -> AsyncDirectConnection | None:
        """An open connection without a request, if there is one."""
        while self.idle:
            connection = self.idle.pop()
            if connection.usable:
                return connection
            self.ended()
        return None

    def give_back(self, connection: AsyncDirectConnection) -> None:
        """Keep a connection for the next request."""
        if connection.usable:
            self.idle.append(connection)
        else:
            self.ended()

    def opened(self) -> None:
        """A connection was opened."""
        self.open += 1
        self._opened = time.monotonic()

    def ended(self) -> None:
        """A connection has ended."""
        self.open -= 1
        if time.monotonic() - self._opened > LONGEST_PAUSE_SECONDS:
            self._pause = SHORTEST_PAUSE_SECONDS
        if time.monotonic() >= self._not_before:  # otherwise it ended together with another
            self.refused()

    def refused(self) -> None:
        """Request no connection for a while."""
        self._not_before = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)

    async def drain(self) -> bool:
        """Wait until the daemon has no request for the model; whether that was soon."""
        try:
            async with asyncio.timeout(_FAST_SECONDS):
                while self.through_daemon:
                    self._drained.clear()
                    await self._drained.wait()
        except TimeoutError:
            return False
        return True

    @contextmanager
    def asking_daemon(self) -> Iterator[None]:
        """Count a request while the daemon has it."""
        began = time.monotonic()
        self.through_daemon += 1
        try:
            yield
        finally:
            self.through_daemon -= 1
            self.seconds = time.monotonic() - began
            if not self.through_daemon:
                self._drained.set()


class AsyncRoutes:
    """The routes of one client."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._routes: dict[str, AsyncRoute] = {}

    def close(self) -> None:
        """Close every connection without a request."""
        for route in self._routes.values():
            while (connection := route.take_idle()) is not None:
                connection.close()

    def to(self, model: str) -> AsyncRoute:
        """The route to a model."""
        if (route := self._routes.get(model)) is None:
            route = self._routes[model] = AsyncRoute(model)
        return route

    async def connection(
        self, route: AsyncRoute, request: Predict, payload: Sequence[Buffer]
    ) -> AsyncDirectConnection | None:
        """A direct connection for a request; None if it has to go through the daemon."""
        if request.priority or request.keep_alive is not None or request.lease:
            return None
        now = time.monotonic()
        connection = route.take_idle()
        if connection is None and (route.gate.locked() or route.worthwhile(now)):
            connection = await self._opened(route)
        route.last_used = now
        if connection is not None and not connection.accepts(request, payload):
            route.give_back(connection)
            return None
        return connection

    async def _opened(self, route: AsyncRoute) -> AsyncDirectConnection | None:
        """A new connection, or one that became idle meanwhile."""
        async with route.gate:
            if (idle := route.take_idle()) is not None:
                return idle
            if not route.worthwhile(time.monotonic()) or not await self._room():
                return None
            drained = await route.drain()
            connection = await open_direct(self._paths, route.model) if drained else None
            if connection is None:
                route.refused()
            else:
                route.opened()
            return connection

    async def _room(self) -> bool:
        """Whether another connection may be opened; closes idle ones of the model least used."""
        if sum(route.open for route in self._routes.values()) < _MOST:
            return True
        for route in sorted(self._routes.values(), key=lambda route: route.last_used):
            if (idle := route.take_idle()) is not None:
                idle.close()
                route.ended()
                return True
        return False
