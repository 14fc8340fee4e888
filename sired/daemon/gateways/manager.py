"""All services of a daemon: those that were requested, and the one of the settings."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from sire.errors import ServiceExists, ServiceNotFound, SireError, shown
from sire.nearest import did_you_mean
from sire.paths import Paths
from sire.protocol.services import ServiceSpec
from sire.spec import check_name
from sired.daemon.gateways.service import GatewayService
from sired.scheduler.rules import Rules
from sired.store.services import StoredServices

log = logging.getLogger(__name__)

# Longer than a gateway takes to finish its requests after a signal.
GRACE_SECONDS = 15.0


class ServiceManager:
    """The services by name.

    Args:
        loop: the daemon's event loop.
        paths: where services are stored, and their output.
        rules: those of the scheduler, as they are now.
        configured: the services that the settings start.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        paths: Paths,
        rules: Callable[[], Rules],
        configured: tuple[ServiceSpec, ...] = (),
    ) -> None:
        self._loop, self._paths, self._rules = loop, paths, rules
        self._configured = configured
        self._store = StoredServices(paths.services)
        self._writing = asyncio.Lock()
        self._services: dict[str, GatewayService] = {}
        self._stored: dict[str, ServiceSpec] = {}

    @property
    def problems(self) -> tuple[str, ...]:
        """Why services do not run."""
        return tuple(filter(None, [service.problem for service in self]))

    @property
    def run(self) -> bool:
        """Whether any process is left."""
        return any(service.runs for service in self)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The URLs of all services that have run."""
        return tuple(address for service in self for address in service.addresses)

    def addresses_of(self, model: str) -> tuple[str, ...]:
        """The URLs of the services that serve a model."""
        return tuple(
            address
            for service in self
            if not service.spec.models or model in service.spec.models
            for address in service.addresses
        )

    @property
    def logs(self) -> tuple[Path, ...]:
        """The files of their output."""
        return tuple(self._paths.service_log(name) for name in self._services)

    def __iter__(self) -> Iterator[GatewayService]:
        """All services, by name."""
        return iter([self._services[name] for name in sorted(self._services)])

    def start(self) -> None:
        """Start the services of the settings, and those that the last daemon had."""
        for spec in self._configured:
            self._add(spec, configured=True).start()
        for spec in self._store.read():
            if spec.name not in self._services:
                self._stored[spec.name] = spec
                self._add(spec).start()

    def get(self, name: str) -> GatewayService:
        """The service of a name.

        Raises:
            ServiceNotFound: there is none.
        """
        service = self._services.get(name)
        if service is None:
            names = list(self._services)
            raise ServiceNotFound(
                f"There is no service {shown(name)}.",
                hint=f"{did_you_mean(name, names)}Services: {', '.join(names) or 'none'}.",
                service=name,
            )
        return service

    async def begin(self, spec: ServiceSpec) -> GatewayService:
        """Start a service and store it, once it takes requests; a failed one is forgotten.

        Raises:
            SireError: it has the name of another one, cannot be started, or not be stored.
        """
        check_name(spec.name)
        if (other := self._services.get(spec.name)) is not None:
            raise ServiceExists(
                f"There is a service {spec.name} already, at {other.spec.listen}.",
                hint=f"Stop it: sire service stop {spec.name}. Or give the new one another name: "
                "--service NAME",
                service=spec.name,
            )
        service = self._add(spec)
        try:
            await service.run_first()
        except SireError:
            self._services.pop(spec.name, None)
            raise
        log.info("the service %s is at %s", spec.name, ", ".join(service.addresses))
        try:
            self._stored[spec.name] = service.spec
            await self._write()
        except SireError:
            await self.end(spec.name)
            raise
        return service

    async def end(self, name: str) -> None:
        """Stop a service and forget it, once its process has ended.

        Raises:
            ServiceNotFound: there is none of this name.
            SireError: the change cannot be stored.
        """
        service = self.get(name)
        service.stop()
        self._stored.pop(name, None)
        await service.gone(GRACE_SECONDS)
        self._services.pop(name, None)
        self._paths.service_log(name).unlink(missing_ok=True)
        log.info("the service %s has been stopped", name)
        await self._write()

    def stop_all(self) -> None:
        """Have all processes end after their requests in progress; the next daemon has them."""
        for service in self:
            service.stop()

    def kill_all(self) -> None:
        """Kill the processes that are left."""
        for service in self:
            service.kill()

    def _add(self, spec: ServiceSpec, *, configured: bool = False) -> GatewayService:
        log_file = self._paths.service_log(spec.name)
        service = GatewayService(self._loop, spec, log_file, self._rules, configured=configured)
        self._services[spec.name] = service
        return service

    async def _write(self) -> None:
        async with self._writing:
            await asyncio.to_thread(self._store.write, list(self._stored.values()))
