"""The route of a prediction: through the daemon, or directly to a worker.

1. The first request for a model goes to the daemon, which loads the model and makes room for it.
2. A second request soon after is likely to be followed by more: a direct connection is requested,
   which the daemon grants while no other client waits for the model or its memory.
3. When the connection ends, requests go to the daemon again, the current one first. Another
   connection is requested after a pause, which grows while connections are short-lived.
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
    """The route to one model, and the outcome of earlier attempts."""

    last_used: float = 0.0
    not_before: float = 0.0
    pause: float = SHORTEST_PAUSE_SECONDS
    opened: float = 0.0
    direct: DirectConnection | None = None


class Routes:
    """The routes of one client."""

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
        """Send a prediction to a worker; None if it has to go through the daemon.

        Raises:
            ConnectionLost: the connection ended without an answer; the daemon knows why.
            SireError: the error that the worker replied with.
        """
        if request.priority or request.keep_alive is not None or request.lease:
            return None
        route = self._route(request.model)
        if route.direct is None or not route.direct.accepts(request, payload):
            return None
        try:
            return route.direct.ask(request, payload)
        except BaseException as problem:
            # An error from the worker is an answer. Otherwise one may still arrive, unread.
            if not isinstance(problem, SireError) or isinstance(problem, DeadlineExceeded):
                self._abandon(route)
            raise

    def _route(self, model: str) -> Route:
        """The route to a model; direct if requests are frequent and the daemon grants it."""
        now = time.monotonic()
        route = self._routes.get(model)
        if route is None:
            route = self._routes[model] = Route()
        previous, route.last_used = route.last_used, now
        if route.direct is None and now - previous < SOON_SECONDS and now >= route.not_before:
            self._open(route, model, now)
        return route

    def _open(self, route: Route, model: str, now: float) -> None:
        self._limit_connections()
        route.direct = open_direct(self._paths, model)
        if route.direct is None:
            self._pause(route, now)
        else:
            route.opened = now

    def _limit_connections(self) -> None:
        connected = [route for route in self._routes.values() if route.direct is not None]
        if len(connected) >= MOST_DIRECT:
            self._close(min(connected, key=lambda route: route.last_used))

    def _abandon(self, route: Route) -> None:
        """Close a connection that ended, or whose answer is no longer awaited."""
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
