"""What the daemon does about each request of the protocol: a file for each thing it concerns."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from sire.errors import SireError
from sire.protocol import requests
from sire.protocol.content import Buffer
from sire.protocol.requests import Request
from sired.daemon.handlers.instances import InstanceHandlers
from sired.daemon.handlers.models import ModelHandlers
from sired.daemon.handlers.pools import PoolHandlers
from sired.daemon.handlers.predictions import PredictionHandlers
from sired.daemon.handlers.server import ServerHandlers
from sired.daemon.host.peers import Peers
from sired.daemon.services import Services
from sired.server.front import Client

log = logging.getLogger(__name__)

Handler = Callable[[Client, Any, tuple[Buffer, ...]], None]
SlowHandler = Callable[[Client, Any, tuple[Buffer, ...]], Coroutine[Any, Any, None]]


class RequestHandlers:
    """Takes every request; each is answered through the front, now or later.

    Args:
        services: the daemon's parts.
        shut_down: ends the daemon.
    """

    def __init__(self, services: Services, shut_down: Callable[[], None]) -> None:
        self._services = services
        self._tasks: set[asyncio.Task[None]] = set()
        self._peers = Peers(asyncio.get_running_loop(), self._peers_gone)
        self._pools = PoolHandlers(services, self._peers.knows)
        models, server = ModelHandlers(services), ServerHandlers(services, shut_down)
        self._by_kind: dict[type[Any], Handler] = {
            **PredictionHandlers(services).by_kind,
            **models.by_kind,
            **InstanceHandlers(services).by_kind,
            **self._pools.by_kind,
            **server.by_kind,
            requests.Cancel: self._cancel,
        }
        slow: dict[type[Any], SlowHandler] = {
            **models.slow,
            **server.slow,
            **services.jobs.answers,
        }
        self._by_kind |= {kind: self._by_task(handler) for kind, handler in slow.items()}

    def __call__(self, client: Client, request: Request, payload: tuple[Buffer, ...]) -> None:
        """Take one request.

        Raises:
            SireError: it cannot be done; the front tells the client.
        """
        self._peers.see(client.connection, self._services.front.peer_pid)
        if not isinstance(request, requests.Predict):  # it is about to be looked at
            self._services.conductor.direct_broker.catch_up()
        self._by_kind[type(request)](client, request, payload)

    def _cancel(self, client: Client, request: requests.Cancel, _: tuple[Buffer, ...]) -> None:
        withdrawn = Client(client.connection, request.request)
        self._services.conductor.cancel(withdrawn)
        self._pools.withdraw(withdrawn)
        self._services.front.done(client)

    def _peers_gone(self, connections: frozenset[bytes]) -> None:
        """Do no more for who has ended: nobody will read the answers."""
        self._services.conductor.cancel_all_from(connections)
        self._pools.peers_gone(connections)

    def _by_task(self, handler: SlowHandler) -> Handler:
        """Answer from a task, with the same care for errors as an immediate answer gets."""

        async def answer(client: Client, request: Any, payload: tuple[Buffer, ...]) -> None:
            try:
                await handler(client, request, payload)
            except SireError as error:
                self._services.front.fail(client, error)
            except Exception as problem:
                log.exception("a request failed unexpectedly")
                kind = type(problem).__name__
                self._services.front.fail(client, SireError(f"Unexpected {kind}: {problem}"))

        def begin(client: Client, request: Any, payload: tuple[Buffer, ...]) -> None:
            task = asyncio.get_running_loop().create_task(answer(client, request, payload))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return begin
