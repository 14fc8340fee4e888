"""Handlers of requests about the daemon itself and its devices."""

import sqlite3
from collections.abc import Callable
from typing import Any

from sire.errors import SireError
from sire.protocol import requests
from sire.protocol.content import Buffer
from sire.protocol.counts import ModelHistory
from sire.protocol.message import Message
from sire.protocol.replies import ConfigReport, HistoryReport, Setting
from sired.daemon import views
from sired.daemon.handlers.table import HandlerTable
from sired.daemon.models.deep_check import deep_checks
from sired.daemon.services import Services
from sired.server.front import Client


class ServerHandlers:
    """One method per kind of request, or the view that answers it."""

    def __init__(
        self, services: Services, table: HandlerTable, shut_down: Callable[[], None]
    ) -> None:
        self._services = services
        self._shut_down = shut_down
        table.add(requests.Devices, self._shown(views.devices))
        table.add(requests.Metrics, self._shown(views.metrics))
        table.add(requests.Top, self._top)
        table.add(requests.Stats, self._stats)
        table.add(requests.ShowConfig, self._config)
        table.add(requests.Shutdown, self._shutdown)
        table.add_slow(requests.Health, self._health)
        table.add_slow(requests.History, self._history)

    async def _health(self, client: Client, request: requests.Health, _: object) -> None:
        services = self._services
        deep = request.deep or request.model is not None
        checks = await deep_checks(services, client, request) if deep else ()
        services.front.reply(client, views.health(services, client.request_id, checks))

    def _shown(
        self, view: Callable[[Services, str | int], Message]
    ) -> Callable[[Client, Any, tuple[Buffer, ...]], None]:
        services = self._services
        return lambda client, _, __: services.front.reply(client, view(services, client.request_id))

    def _top(self, client: Client, request: requests.Top, _: tuple[Buffer, ...]) -> None:
        report = views.top(self._services, request.after, client.request_id)
        self._services.front.reply(client, report)

    def _stats(self, client: Client, request: requests.Stats, _: tuple[Buffer, ...]) -> None:
        report = views.stats(self._services, request.name, client.request_id)
        self._services.front.reply(client, report)

    async def _history(
        self, client: Client, request: requests.History, _: tuple[Buffer, ...]
    ) -> None:
        services = self._services
        try:
            step, found = await services.history_recorder.read(
                request.seconds, request.points, request.name
            )
        except (sqlite3.Error, OSError) as problem:
            raise SireError(
                f"The history in {services.paths.history} cannot be read: {problem}.",
                hint="See: sire health",
            ) from None
        if request.name is not None and not found:
            services.registry.get(request.name)
        steps = tuple(ModelHistory(*minute) for minute in found)
        reply = HistoryReport(id=client.request_id, step_seconds=step, steps=steps)
        services.front.reply(client, reply)

    def _config(self, client: Client, _: requests.ShowConfig, __: tuple[Buffer, ...]) -> None:
        report = ConfigReport(
            id=client.request_id,
            path=str(self._services.loaded.path),
            settings=tuple(Setting(*source) for source in self._services.loaded.sources),
        )
        self._services.front.reply(client, report)

    def _shutdown(self, client: Client, _: requests.Shutdown, __: tuple[Buffer, ...]) -> None:
        self._services.front.done(client)
        self._shut_down()
