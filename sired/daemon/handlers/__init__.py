"""The handlers of each kind of request, a file for each subject."""

import asyncio
from collections.abc import Callable

from sire.protocol import requests
from sire.protocol.content import Buffer
from sire.protocol.requests import Request
from sired.daemon.handlers.aliases import AliasHandlers
from sired.daemon.handlers.instances import InstanceHandlers
from sired.daemon.handlers.jobs import JobHandlers
from sired.daemon.handlers.models import ModelHandlers
from sired.daemon.handlers.pools import PoolHandlers
from sired.daemon.handlers.predictions import PredictionHandlers
from sired.daemon.handlers.server import ServerHandlers
from sired.daemon.handlers.services import ServiceHandlers
from sired.daemon.handlers.table import HandlerTable
from sired.daemon.host.peers import Peers
from sired.daemon.services import Services
from sired.server.front import Client


class RequestHandlers:
    """Handles every request; each is answered through the front, at once or later.

    Args:
        services: the daemon's parts.
        shut_down: ends the daemon.

    Attributes:
        table: the handlers by kind of request.
    """

    def __init__(self, services: Services, shut_down: Callable[[], None]) -> None:
        self.table = table = HandlerTable(services.front)
        self._services = services
        self._peers = Peers(asyncio.get_running_loop(), self._peers_gone)
        services.predictions.owner_of = self._peers.owner
        services.front.gone = self._peers.disconnected
        self._pools = PoolHandlers(services, table, self._peers.is_connected)
        self._aliases = AliasHandlers(services, table, PredictionHandlers(services, table))
        InstanceHandlers(services, table)
        ModelHandlers(services, table)
        JobHandlers(services, table)
        ServerHandlers(services, table, shut_down)
        ServiceHandlers(services, table)
        table.add(requests.Cancel, self._cancel)

    def __call__(self, client: Client, request: Request, payload: tuple[Buffer, ...]) -> None:
        """Handle one request.

        Raises:
            SireError: it fails at once; the front replies with the error.
        """
        self._peers.watch(client.connection, self._services.front.peer_pid)
        if not isinstance(
            request, requests.Predict
        ):  # other requests may report what direct requests did
            self._services.direct_broker.catch_up()
        chosen = self._services.aliases.applied(request)
        if (
            chosen is not request
            and isinstance(request, requests.Predict)
            and isinstance(chosen, requests.Predict)
        ):
            self._aliases.predict(client, request, chosen, payload)
        else:
            self.table.handle(client, chosen, payload)

    def _cancel(self, client: Client, request: requests.Cancel, _: tuple[Buffer, ...]) -> None:
        withdrawn = Client(client.connection, request.request)
        self._services.operations.cancel(withdrawn)
        self._pools.withdraw(withdrawn)
        self._services.front.done(client)

    def _peers_gone(self, connections: frozenset[bytes]) -> None:
        """Withdraw the requests of processes that have ended: the answers would not be read."""
        self._services.operations.cancel_all_from(connections)
        self._pools.peers_gone(connections)
