"""Handlers of requests that load, move and unload models."""

from functools import partial

from sire.errors import Cancelled
from sire.protocol import requests
from sire.protocol.content import Buffer
from sire.protocol.replies import Unloaded
from sired.daemon import views
from sired.daemon.handlers.table import HandlerTable
from sired.daemon.services import Services
from sired.scheduler.events import LoadRequested, SleepRequested, UnloadRequested
from sired.scheduler.instructions import Complete
from sired.server.front import Client


class InstanceHandlers:
    """One method per kind of request."""

    def __init__(self, services: Services, table: HandlerTable) -> None:
        self._services = services
        table.add(requests.Load, self._load)
        table.add(requests.Move, self._move)
        table.add(requests.Unload, self._unload)
        table.add(requests.Reload, self._reload)
        table.add(requests.Ps, self._ps)

    def _load(self, client: Client, request: requests.Load, _: tuple[Buffer, ...]) -> None:
        self._services.refuse_when_draining()
        self._services.registry.get(request.name)
        self._services.check_device(request.device or "auto")
        self._begin_load(client, request.name, request.device, request.timeout)

    def _begin_load(
        self, client: Client, name: str, device: str | None, timeout: float | None
    ) -> None:
        deadline, patient = self._load_deadline(timeout), timeout is None
        self._services.operations.begin(
            client,
            name,
            lambda number: LoadRequested(number, name, device, deadline, patient),
            partial(self._loaded, client),
        )

    def _load_deadline(self, timeout: float | None) -> float:
        allowed = self._services.settings.daemon.load_timeout if timeout is None else timeout
        return self._services.operations.now() + allowed

    def _loaded(self, client: Client, do: Complete) -> None:
        services = self._services
        instance = services.fleet.instances.get(do.instance or 0)
        if instance is None:
            services.front.fail(
                client, Cancelled("The model was loaded, and unloaded again at once.")
            )
        else:
            services.front.reply(client, views.instance(services, instance, client.request_id))

    def _move(self, client: Client, request: requests.Move, payload: tuple[Buffer, ...]) -> None:
        services = self._services
        name = request.name
        if request.to == "disk":
            self._unload(client, request, payload)
            return
        services.refuse_when_draining()
        services.registry.get(name)
        if request.to != "dram":
            services.check_device(request.to)
            self._begin_load(client, name, request.to, request.timeout)
            return
        deadline = self._load_deadline(request.timeout)
        services.operations.begin(
            client,
            name,
            lambda number: SleepRequested(number, name, deadline),
            partial(self._loaded, client),
        )

    def _unload(
        self, client: Client, request: requests.Unload | requests.Move, _: tuple[Buffer, ...]
    ) -> None:
        def unloaded(do: Complete) -> None:
            reply = Unloaded(id=client.request_id, instances=do.ended)
            self._services.front.reply(client, reply)

        name = self._services.registry.get(request.name).name
        self._services.operations.begin(
            client, name, lambda number: UnloadRequested(number, name), unloaded
        )

    def _reload(self, client: Client, request: requests.Reload, _: tuple[Buffer, ...]) -> None:
        services, name = self._services, request.name
        services.refuse_when_draining()
        services.results.renew(services.registry.get(name))

        def unloaded(_: Complete) -> None:
            self._begin_load(client, name, None, request.timeout)

        services.operations.begin(
            client, name, lambda number: UnloadRequested(number, name), unloaded
        )

    def _ps(self, client: Client, _: requests.Ps, __: tuple[Buffer, ...]) -> None:
        self._services.front.reply(client, views.instances(self._services, client.request_id))
