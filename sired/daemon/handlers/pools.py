"""What the daemon does about requests that concern pools: leases, counts, shrinking."""

from collections.abc import Callable
from typing import Any

from sire.protocol import requests
from sire.protocol.content import Buffer
from sire.protocol.replies import Leased, PoolReport, Unloaded
from sired.daemon.services import Services
from sired.scheduler import events
from sired.scheduler.instructions import Complete, LeaseGranted
from sired.server.front import Client


class PoolHandlers:
    """One method per kind of request.

    Args:
        services: the daemon's parts.
        knows: whether there is still somebody at the other end of a connection.
    """

    def __init__(self, services: Services, knows: Callable[[bytes], bool]) -> None:
        self._services = services
        self._knows = knows
        self._held: dict[int, Client] = {}
        self.by_kind: dict[type[Any], Any] = {
            requests.Acquire: self._acquire,
            requests.Release: self._release,
            requests.PoolStats: self._stats,
            requests.Shrink: self._shrink,
        }

    def _acquire(self, client: Client, request: requests.Acquire, _: tuple[Buffer, ...]) -> None:
        self._services.refuse_when_draining()
        self._services.registry.get(request.name)

        def granted(do: LeaseGranted) -> None:
            self._held[do.lease] = client
            if not self._knows(client.connection):  # ended while it was being granted
                self._give_back(do.lease)
                return
            reply = Leased(id=client.request_id, lease=do.lease, instance=do.instance)
            self._services.front.reply(client, reply)

        self._services.conductor.acquire(
            client, request, self._services.timeout(request.timeout), granted
        )

    def _release(self, client: Client, request: requests.Release, _: tuple[Buffer, ...]) -> None:
        self._give_back(request.lease)
        self._services.front.done(client)

    def withdraw(self, client: Client) -> None:
        """Take back a lease that was granted while its asker stopped waiting for it."""
        for lease in [held for held, holder in self._held.items() if holder == client]:
            self._give_back(lease)

    def peers_gone(self, connections: frozenset[bytes]) -> None:
        """Take back the leases of holders whose process has ended."""
        for lease in [n for n, holder in self._held.items() if holder.connection in connections]:
            self._give_back(lease)

    def _give_back(self, lease: int) -> None:
        self._held.pop(lease, None)
        self._services.conductor.feed(events.LeaseReturned(lease))

    def _stats(self, client: Client, request: requests.PoolStats, _: tuple[Buffer, ...]) -> None:
        name = self._services.registry.get(request.name).name
        pool = self._services.conductor.brain.pool(self._services.conductor.brain.models[name])
        report = PoolReport(
            id=client.request_id,
            available=pool.available,
            in_use=pool.in_use,
            total=pool.total,
            max_instances=pool.max_instances,
        )
        self._services.front.reply(client, report)

    def _shrink(self, client: Client, request: requests.Shrink, _: tuple[Buffer, ...]) -> None:
        if request.name is not None:
            self._services.registry.get(request.name)

        def done(do: Complete) -> None:
            self._services.front.reply(client, Unloaded(id=client.request_id, instances=do.ended))

        self._services.conductor.shrink(client, request, done)
