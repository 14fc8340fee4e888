"""What the daemon does about requests that load, move and unload models."""

from typing import Any

from sire.errors import Cancelled
from sire.protocol import requests
from sire.protocol.content import Buffer
from sire.protocol.replies import Unloaded
from sired.daemon import views
from sired.daemon.services import Services
from sired.scheduler.instructions import Complete
from sired.server.front import Client


class InstanceHandlers:
    """One method per kind of request."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.by_kind: dict[type[Any], Any] = {
            requests.Load: self._load,
            requests.Move: self._move,
            requests.Unload: self._unload,
            requests.Reload: self._reload,
            requests.Ps: self._ps,
        }

    def _load(self, client: Client, request: requests.Load, _: tuple[Buffer, ...]) -> None:
        self._services.refuse_when_draining()
        self._services.registry.get(request.name)
        self._services.check_device(request.device or "auto")
        self._start_loading(client, request.name, request.device, request.timeout)

    def _start_loading(
        self, client: Client, name: str, device: str | None, timeout: float | None
    ) -> None:
        self._services.conductor.load(
            client,
            name,
            device,
            self._load_timeout(timeout),
            lambda do: self._loaded(client, do),
            patient=timeout is None,
        )

    def _load_timeout(self, given: float | None) -> float:
        return self._services.settings.daemon.load_timeout if given is None else given

    def _loaded(self, client: Client, do: Complete) -> None:
        services = self._services
        instance = services.conductor.brain.fleet.instances.get(do.instance or 0)
        if instance is None:
            services.front.fail(client, Cancelled("It was loaded, and unloaded at once."))
        else:
            services.front.reply(client, views.instance(services, instance, client.request_id))

    def _move(self, client: Client, request: requests.Move, payload: tuple[Buffer, ...]) -> None:
        services = self._services
        if request.to == "disk":
            self._unload(client, request, payload)
            return
        services.refuse_when_draining()
        services.registry.get(request.name)
        if request.to != "dram":
            services.check_device(request.to)
            self._start_loading(client, request.name, request.to, request.timeout)
            return
        allowed = self._load_timeout(request.timeout)
        services.conductor.sleep(client, request.name, allowed, lambda do: self._loaded(client, do))

    def _unload(
        self, client: Client, request: requests.Unload | requests.Move, _: tuple[Buffer, ...]
    ) -> None:
        self._services.registry.get(request.name)

        def done(do: Complete) -> None:
            reply = Unloaded(id=client.request_id, instances=do.ended)
            self._services.front.reply(client, reply)

        self._services.conductor.unload(client, request.name, done)

    def _reload(self, client: Client, request: requests.Reload, _: tuple[Buffer, ...]) -> None:
        services = self._services
        services.refuse_when_draining()
        services.conductor.predictions.results.follow(services.registry.get(request.name))

        def unloaded(_: Complete) -> None:
            self._start_loading(client, request.name, None, request.timeout)

        services.conductor.unload(client, request.name, unloaded)

    def _ps(self, client: Client, _: requests.Ps, __: tuple[Buffer, ...]) -> None:
        self._services.front.reply(client, views.instances(self._services, client.request_id))
