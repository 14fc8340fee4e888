"""Handlers of requests about pools: leases, counts, shrinking, and what does not expire."""

import asyncio
from collections.abc import Callable

from sire.protocol import requests
from sire.protocol.content import Buffer
from sire.protocol.replies import Leased, PoolReport, Unloaded
from sired.daemon.handlers.table import HandlerTable
from sired.daemon.services import Services
from sired.scheduler.events import LeaseRequested, LeaseReturned, ModelsKept, ShrinkRequested
from sired.scheduler.instructions import Complete, LeaseGranted
from sired.server.front import Client


class PoolHandlers:
    """One method per kind of request.

    Args:
        services: the daemon's parts.
        table: where the handlers are registered.
        connected: whether the process at the other end of a connection still exists.
    """

    def __init__(
        self, services: Services, table: HandlerTable, connected: Callable[[bytes], bool]
    ) -> None:
        self._services = services
        self._connected = connected
        self._held: dict[int, Client] = {}
        self._kept: dict[bytes, tuple[str, ...]] = {}
        table.add(requests.Acquire, self._acquire)
        table.add(requests.Release, self._release)
        table.add(requests.PoolStats, self._stats)
        table.add(requests.Shrink, self._shrink)
        table.add(requests.Keep, self._keep)

    def _acquire(self, client: Client, request: requests.Acquire, _: tuple[Buffer, ...]) -> None:
        services = self._services
        services.refuse_when_draining()
        name = services.registry.get(request.name).name
        deadline = services.operations.now() + services.timeout(request.timeout)
        destroy = request.destroy_after_use

        def granted(do: LeaseGranted) -> None:
            self._held[do.lease] = client
            if not self._connected(client.connection):  # it ended while the lease was granted
                self._return(do.lease)
                return
            reply = Leased(id=client.request_id, lease=do.lease, instance=do.instance)
            services.front.reply(client, reply)

        services.operations.begin(
            client, name, lambda number: LeaseRequested(number, name, deadline, destroy), granted
        )

    def _release(self, client: Client, request: requests.Release, _: tuple[Buffer, ...]) -> None:
        self._return(request.lease)
        self._services.front.done(client)

    def withdraw(self, client: Client) -> None:
        """Return a lease that was granted while its client withdrew the request for it."""
        # A lease granted in this turn of the loop is recorded at the start of the next one.
        asyncio.get_running_loop().call_soon(self._return_all_of, client)

    def _return_all_of(self, client: Client) -> None:
        for lease in [held for held, holder in self._held.items() if holder == client]:
            self._return(lease)

    def peers_gone(self, connections: frozenset[bytes]) -> None:
        """Return the leases of holders whose process has ended."""
        for lease in [n for n, holder in self._held.items() if holder.connection in connections]:
            self._return(lease)
        if connections & self._kept.keys():
            for connection in connections:
                self._kept.pop(connection, None)
            self._keep_all()

    def _keep(self, client: Client, request: requests.Keep, _: tuple[Buffer, ...]) -> None:
        self._kept[client.connection] = request.models
        self._keep_all()
        self._services.front.done(client)

    def _keep_all(self) -> None:
        names = frozenset(name for names in self._kept.values() for name in names)
        self._services.conductor.feed(ModelsKept(names))

    def _return(self, lease: int) -> None:
        self._held.pop(lease, None)
        self._services.conductor.feed(LeaseReturned(lease))

    def _stats(self, client: Client, request: requests.PoolStats, _: tuple[Buffer, ...]) -> None:
        name = self._services.registry.get(request.name).name
        pool = self._services.brain.pool(self._services.models[name])
        report = PoolReport(
            id=client.request_id,
            available=pool.available,
            in_use=pool.in_use,
            total=pool.total,
            max_instances=pool.max_instances,
        )
        self._services.front.reply(client, report)

    def _shrink(self, client: Client, request: requests.Shrink, _: tuple[Buffer, ...]) -> None:
        name, keep = request.name, request.keep
        if name is not None:
            self._services.registry.get(name)

        def shrunk(do: Complete) -> None:
            self._services.front.reply(client, Unloaded(id=client.request_id, instances=do.ended))

        self._services.operations.begin(
            client, name or "", lambda number: ShrinkRequested(number, name, keep), shrunk
        )
