"""Which way a prediction goes: through the daemon, or straight to a worker.

1. The first request for a model goes to the daemon, which loads it and makes room for it.
2. Who asks again soon is likely to go on: the daemon is asked for a direct connection, and gives
   one while nobody else waits for the model or its memory.
3. When that ends, the daemon is asked again, the request at hand first; and for another connection
   after a pause that grows as long as connections do not last.
"""

import time
from collections.abc import Sequence

import msgspec

from sire.client.direct.connection import DirectConnection, open_direct
from sire.errors import DeadlineExceeded, SireError
from sire.paths import Paths
from sire.protocol.content import Buffer
from sire.protocol.replies import Prediction
from sire.protocol.requests import Predict

# Requests further apart than this gain nothing.
SOON_SECONDS = 1.0
SHORTEST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
# Models that one client is connected to at once.
MOST_DIRECT = 16


class Route(msgspec.Struct, eq=False):
    """The way to one model's worker, and what came of trying."""

    last_asked: float = 0.0
    not_before: float = 0.0
    pause: float = SHORTEST_PAUSE_SECONDS
    opened: float = 0.0
    direct: DirectConnection | None = None


class Routes:
    """The ways one client takes."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._routes: dict[str, Route] = {}

    def close(self) -> None:
        """Close every direct connection."""
        for route in self._routes.values():
            if route.direct is not None:
                route.direct.close()
        self._routes.clear()

    def ask(
        self, request: Predict, payload: Sequence[Buffer]
    ) -> tuple[Prediction, list[memoryview]] | None:
        """Have it answered by a worker; None if the daemon is to be asked.

        Raises:
            Ended: the connection did; the daemon knows why.
            SireError: what the worker answered.
        """
        if request.priority or request.keep_alive is not None or request.lease:
            return None
        route = self._route(request.model)
        if route.direct is None or not route.direct.takes(payload):
            return None
        try:
            return route.direct.ask(request, payload)
        except BaseException as problem:
            # Whatever a worker answers is an answer; else one may still come, to no one.
            if not isinstance(problem, SireError) or isinstance(problem, DeadlineExceeded):
                self._leave(route)
            raise

    def _route(self, model: str) -> Route:
        """The way to a model, a direct one if it is worth it and to be had."""
        now = time.monotonic()
        route = self._routes.get(model)
        if route is None:
            route = self._routes[model] = Route()
        asked, route.last_asked = route.last_asked, now
        if route.direct is None and now - asked < SOON_SECONDS and now >= route.not_before:
            self._open(route, model, now)
        return route

    def _open(self, route: Route, model: str, now: float) -> None:
        self._make_place()
        route.direct = open_direct(self._paths, model)
        if route.direct is None:
            self._pause(route, now)
        else:
            route.opened = now

    def _make_place(self) -> None:
        open_ones = [route for route in self._routes.values() if route.direct is not None]
        if len(open_ones) >= MOST_DIRECT:
            self._close(min(open_ones, key=lambda route: route.last_asked))

    def _leave(self, route: Route) -> None:
        """A connection has ended, or somebody has stopped waiting for what comes over it."""
        now = time.monotonic()
        if now - route.opened > LONGEST_PAUSE_SECONDS:
            route.pause = SHORTEST_PAUSE_SECONDS
        self._close(route)
        self._pause(route, now)

    def _pause(self, route: Route, now: float) -> None:
        route.not_before = now + route.pause
        route.pause = min(2 * route.pause, LONGEST_PAUSE_SECONDS)

    def _close(self, route: Route) -> None:
        if route.direct is not None:
            route.direct.close()
            route.direct = None
