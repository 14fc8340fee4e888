"""What the daemon does about predictions, whether it passes them on or has clients ask directly."""

import socket
from typing import Any

from sire.protocol import requests
from sire.protocol.content import Buffer
from sired.daemon.services import Services
from sired.server.front import Client


class PredictionHandlers:
    """One method per kind of request."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.by_kind: dict[type[Any], Any] = {
            requests.Predict: self._predict,
            requests.WhyEnded: self._why_ended,
        }

    def _predict(
        self, client: Client, request: requests.Predict, payload: tuple[Buffer, ...]
    ) -> None:
        services = self._services
        services.refuse_when_draining()
        if request.model not in services.conductor.brain.models:
            services.registry.get(request.model)  # says which names come near
        timeout = services.timeout(request.timeout)
        services.conductor.predict(client, request, payload, timeout)

    def _why_ended(self, client: Client, request: requests.WhyEnded, _: tuple[Buffer, ...]) -> None:
        if error := self._services.conductor.direct.why_ended(request.connection):
            raise error
        self._services.front.done(client)


class DirectAccess:
    """What the door needs to know of the daemon."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def terms(self) -> tuple[float, int]:
        """What holds for direct connections: the timeout, and the most bytes of a request."""
        settings = self._services.settings
        return settings.defaults.timeout, settings.daemon.max_message_bytes

    def lead(self, model: str, connection: socket.socket) -> int | None:
        """Lead a client to a worker of a model; the number of the connection, or None."""
        if self._services.draining:
            return None
        largest = self._services.settings.daemon.max_message_bytes
        return self._services.conductor.direct_broker.lead(model, connection, largest)
