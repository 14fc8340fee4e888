"""Handlers of predictions, and access to workers for direct connections."""

import socket

from sire.errors import InvalidInput
from sire.protocol import requests
from sire.protocol.content import Buffer
from sired.daemon.engine.operations import ReplySink
from sired.daemon.handlers.table import HandlerTable
from sired.daemon.services import Services
from sired.runtimes.discovery import serves_http
from sired.server.front import Client


class PredictionHandlers:
    """One method per kind of request."""

    def __init__(self, services: Services, table: HandlerTable) -> None:
        self._services = services
        table.add(requests.Predict, self._predict)
        table.add(requests.WhyEnded, self._why_ended)
        table.add(requests.TakeSlot, self._take_slot)
        table.add(requests.FreeSlot, self._free_slot)

    def _predict(
        self, client: Client, request: requests.Predict, payload: tuple[Buffer, ...]
    ) -> None:
        self.predict(client, request, payload, self._services.front)

    def predict(
        self,
        client: Client,
        request: requests.Predict,
        payload: tuple[Buffer, ...],
        sink: ReplySink,
    ) -> None:
        """Begin a prediction.

        Args:
            client: where the answer goes.
            request: the request, which names a model.
            payload: the input's frames.
            sink: takes the answer.

        Raises:
            SireError: it fails at once.
        """
        services = self._services
        services.refuse_when_draining()
        if request.model not in services.models:
            services.registry.get(request.model)  # its error suggests similar names
        timeout = services.timeout(request.timeout)
        services.predictions.predict(client, request, payload, timeout, sink)

    def _take_slot(self, client: Client, request: requests.TakeSlot, _: tuple[Buffer, ...]) -> None:
        services = self._services
        services.refuse_when_draining()
        spec = services.registry.get(request.model)
        if not serves_http(spec.runtime):
            raise InvalidInput(
                f"{spec.name} is a model of the runtime {spec.runtime}, which no program serves "
                "over HTTP.",
                hint="Request predictions of it.",
            )
        services.slots.request(client, request, services.timeout(request.timeout))

    def _free_slot(self, client: Client, request: requests.FreeSlot, _: tuple[Buffer, ...]) -> None:
        self._services.slots.free(client, request)
        self._services.front.done(client)

    def _why_ended(self, client: Client, request: requests.WhyEnded, _: tuple[Buffer, ...]) -> None:
        if error := self._services.direct.why_ended(request.connection):
            raise error
        self._services.front.done(client)


class DaemonDirectAccess:
    """What the listener for direct connections needs from the daemon: see ``DirectAccess``."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def terms(self) -> tuple[float, int]:
        """The default timeout in seconds, and the largest request in bytes."""
        settings = self._services.settings
        return settings.defaults.timeout, settings.daemon.max_message_bytes

    def connect(self, name: str, connection: socket.socket) -> tuple[int, str] | None:
        """Pass a connection to a worker of a model, unless the daemon is stopping.

        For an alias only while all requests go to its first model: what else gets one is decided
        for each request.
        """
        model = None if self._services.draining else self._services.aliases.single(name)
        if model is None:
            return None
        largest = self._services.settings.daemon.max_message_bytes
        number = self._services.direct_broker.connect(model, connection, largest)
        return None if number is None else (number, model)
