"""Handlers of requests about services."""

from sire.protocol import services as messages
from sire.protocol.content import Buffer
from sired.daemon.handlers.table import HandlerTable
from sired.daemon.services import Services
from sired.server.front import Client


class ServiceHandlers:
    """One method per kind of request."""

    def __init__(self, services: Services, table: HandlerTable) -> None:
        self._services = services
        self._front = services.front
        self._gateways = services.gateways
        table.add_slow(messages.StartService, self._start)
        table.add(messages.ListServices, self._list)
        table.add(messages.ShowService, self._show)
        table.add_slow(messages.StopService, self._stop)

    async def _start(self, client: Client, request: messages.StartService, _: object) -> None:
        self._services.refuse_when_draining()
        service = await self._gateways.begin(request.service)
        self._front.reply(client, service.info(client.request_id))

    def _list(self, client: Client, _: messages.ListServices, __: tuple[Buffer, ...]) -> None:
        known = tuple(service.info() for service in self._gateways)
        self._front.reply(client, messages.ServiceList(id=client.request_id, services=known))

    def _show(self, client: Client, request: messages.ShowService, _: tuple[Buffer, ...]) -> None:
        self._front.reply(client, self._gateways.get(request.name).info(client.request_id))

    async def _stop(self, client: Client, request: messages.StopService, _: object) -> None:
        await self._gateways.end(request.name)
        self._front.done(client)
