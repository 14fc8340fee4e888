"""Handlers of requests about registered models."""

import asyncio
import logging
import time

import msgspec

from sire.protocol import requests
from sire.protocol.content import Buffer
from sired.daemon import views
from sired.daemon.handlers.table import HandlerTable
from sired.daemon.models.estimates import Estimates
from sired.daemon.models.registration import complete, inspect
from sired.daemon.models.scheduler_entry import add_to_scheduler, scheduler_entry
from sired.daemon.services import Services
from sired.scheduler import events
from sired.server.front import Client
from sired.store.model_cache import forget

log = logging.getLogger(__name__)


class ModelHandlers:
    """One method per kind of request."""

    def __init__(self, services: Services, table: HandlerTable) -> None:
        self._services = services
        self._estimates = Estimates(services)
        table.add_slow(requests.Register, self._register)
        table.add_slow(requests.Estimate, self._estimate)
        table.add(requests.Remove, self._remove)
        table.add(requests.Pin, self._pin)
        table.add(requests.ListModels, self._list)
        table.add(requests.Show, self._show)

    async def _register(
        self, client: Client, request: requests.Register, payload: tuple[Buffer, ...]
    ) -> None:
        services, began = self._services, time.monotonic()
        filled = services.registry.fill(request.model, request.explicit)
        services.check_device(filled.device)
        spec = await asyncio.to_thread(complete, request, payload, services.paths)
        spec = await self._estimates.soon(spec)
        spec = services.registry.add(spec, request.explicit, replace=request.replace)
        services.instances.forget_signature(spec.name)
        add_to_scheduler(services, spec)
        log.info(
            "registered %s for the runtime %s in %.0f ms: %s",
            spec.name,
            spec.runtime,
            (time.monotonic() - began) * 1000,
            spec.path or spec.model_class or "no file",
            extra={"model": spec.name},
        )
        services.front.reply(client, views.model(services, spec.name, client.request_id))

    async def _estimate(
        self, client: Client, request: requests.Estimate, _: tuple[Buffer, ...]
    ) -> None:
        services = self._services
        model = services.registry.fill(request.model, request.explicit)
        services.check_device(model.device)
        # No code in its files is run, so trust is not required.
        trusted = msgspec.structs.replace(model, trusted=True)
        spec, problem = await self._estimates.now(await asyncio.to_thread(inspect, trusted))
        services.conductor.sample()
        entry = scheduler_entry(services, spec)
        report = views.estimate(services, spec, entry, problem, client.request_id)
        services.front.reply(client, report)

    def _remove(self, client: Client, request: requests.Remove, _: tuple[Buffer, ...]) -> None:
        services = self._services
        services.registry.remove(request.name)
        services.jobs.model_removed(request.name)
        services.instances.forget_signature(request.name)
        services.results.drop(request.name)
        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, forget, services.paths.caches, request.name)
        if request.name in services.models:
            services.conductor.feed(events.ModelRemoved(request.name))
        log.info("removed %s", request.name, extra={"model": request.name})
        services.front.done(client)

    def _pin(self, client: Client, request: requests.Pin, _: tuple[Buffer, ...]) -> None:
        services = self._services
        spec = services.registry.get(request.name)
        if spec.pinned != request.pinned:
            spec = services.registry.update(spec.name, pinned=request.pinned)
            services.conductor.feed(events.ModelPinned(spec.name, spec.pinned))
            kind = "pinned" if spec.pinned else "unpinned"
            services.event_log.add(kind, spec.name)
        services.front.reply(client, views.model(services, spec.name, client.request_id))

    def _list(self, client: Client, _: requests.ListModels, __: tuple[Buffer, ...]) -> None:
        self._services.front.reply(client, views.models(self._services, client.request_id))

    def _show(self, client: Client, request: requests.Show, _: tuple[Buffer, ...]) -> None:
        shown = views.model(self._services, request.name, client.request_id)
        self._services.front.reply(client, shown)
