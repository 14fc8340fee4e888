"""Handlers of requests about registered models."""

import asyncio
import logging
import time
from pathlib import Path

import msgspec

from sire.errors import SireError
from sire.paths import Paths
from sire.protocol import requests
from sire.protocol.content import Buffer
from sire.protocol.replies import VerifyReport
from sire.spec import ModelSpec
from sired.daemon import views
from sired.daemon.handlers.table import HandlerTable
from sired.daemon.models.estimates import Estimates
from sired.daemon.models.file_checks import FileChecks, names_code, take_snapshot
from sired.daemon.models.headers import HeaderReaders
from sired.daemon.models.registration import complete
from sired.daemon.models.scheduler_entry import add_to_scheduler, scheduler_entry
from sired.daemon.services import Services
from sired.scheduler import events
from sired.server.front import Client
from sired.store.file_states import wait_until_written
from sired.store.model_cache import forget
from sired.store.snapshots import Snapshot

log = logging.getLogger(__name__)


class ModelHandlers:
    """One method per kind of request."""

    def __init__(self, services: Services, table: HandlerTable) -> None:
        self._services = services
        self._estimates = Estimates(services)
        self._files = FileChecks(services, self._estimates)
        services.instances.check_files = self._files.before_load
        table.add_slow(requests.Register, self._register)
        table.add_slow(requests.Estimate, self._estimate)
        table.add(requests.Remove, self._remove)
        table.add(requests.Pin, self._pin)
        table.add(requests.ListModels, self._list)
        table.add_slow(requests.Show, self._show)
        table.add_slow(requests.Verify, self._verify)

    async def _register(
        self, client: Client, request: requests.Register, payload: tuple[Buffer, ...]
    ) -> None:
        services, began = self._services, time.monotonic()
        filled = services.registry.fill(request.model, request.explicit)
        services.check_device(filled.device)
        services.check_group(filled.group)
        spec, snapshot = await asyncio.to_thread(
            _completed, request, payload, services.paths, services.headers
        )
        services.aliases.check_free(request.model.name)
        if not request.replace:  # before its class is asked whether the file matches
            services.registry.check_free(spec.name)
        spec = await self._estimates.soon(spec)
        services.aliases.check_free(spec.name)  # one may have been set meanwhile
        spec = services.registry.add(spec, request.explicit, replace=request.replace)
        if request.replace:
            services.footprints.forget(spec)
        recorded = services.snapshots.put(spec.name, snapshot)
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
        if not recorded and names_code(spec):
            raise SireError(
                f"{spec.name} is registered, but that it may run its code could not be recorded in "
                f"{services.paths.snapshots}.",
                hint=f"Once files can be written there: sire verify {spec.name} --trust",
            )
        services.front.reply(client, views.registered(services, spec.name, client.request_id))

    async def _estimate(
        self, client: Client, request: requests.Estimate, _: tuple[Buffer, ...]
    ) -> None:
        services = self._services
        model = services.registry.fill(request.model, request.explicit)
        services.check_device(model.device)
        services.check_group(model.group)
        # No code in its files is run, so trust is not required.
        trusted = msgspec.structs.replace(model, trusted=True)
        spec = await asyncio.to_thread(services.headers.inspect, trusted)
        spec, problem = await self._estimates.now(msgspec.structs.replace(spec, trusted=False))
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
        # At once: the snapshot of a model that is registered next under this name has to stay.
        services.snapshots.forget(request.name)
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

    async def _show(self, client: Client, request: requests.Show, _: tuple[Buffer, ...]) -> None:
        services = self._services
        spec = services.registry.get(request.name)
        changed, anew_at = await asyncio.to_thread(self._files.since_registered, spec)
        shown = views.model(services, request.name, client.request_id)
        shown = msgspec.structs.replace(shown, changed_files=changed, files_taken_anew_at=anew_at)
        services.front.reply(client, shown)

    async def _verify(
        self, client: Client, request: requests.Verify, _: tuple[Buffer, ...]
    ) -> None:
        spec = self._services.registry.get(request.name)
        if request.trust:
            await self._files.trust(spec)
        files = await asyncio.to_thread(self._files.verify, spec)
        report = VerifyReport(
            id=client.request_id,
            model=spec.name,
            unchanged=all(file.state in {"unchanged", "recorded"} for file in files),
            files=files,
        )
        self._services.front.reply(client, report)


def _completed(
    request: requests.Register, payload: tuple[Buffer, ...], paths: Paths, headers: HeaderReaders
) -> tuple[ModelSpec, Snapshot]:
    """A model to be registered, completed, and the states of its files; reads the disk."""
    if request.model.path:
        wait_until_written([Path(request.model.path)])
    spec = complete(request, payload, paths, headers.inspect)
    return spec, take_snapshot(spec, headers)
