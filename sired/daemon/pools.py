"""What the daemon does about requests that concern pools: leases, counts, shrinking."""

from collections.abc import Callable
from typing import Any

from sired.daemon.conductor import Conductor
from sired.protocol import requests
from sired.protocol.content import Buffer
from sired.protocol.replies import Done, Leased, PoolReport, Unloaded
from sired.scheduler import events
from sired.scheduler.instructions import Fulfil, LeaseGranted
from sired.server.front import Client, Front
from sired.store.registry import Registry


class PoolHandlers:
    """One method per kind of request, for ``Handlers`` to call.

    Args:
        timeout: the seconds a request may take that names so many or none.
        knows: whether there is still somebody at the other end of a connection.
    """

    def __init__(
        self,
        front: Front,
        conductor: Conductor,
        registry: Registry,
        timeout: Callable[[float | None], float],
        knows: Callable[[bytes], bool],
    ) -> None:
        self._front = front
        self._conductor = conductor
        self._registry = registry
        self._timeout = timeout
        self._knows = knows
        self._held: dict[int, Client] = {}
        self.by_kind: dict[type[Any], Callable[[Client, Any, tuple[Buffer, ...]], None]] = {
            requests.Acquire: self._acquire,
            requests.Release: self._release,
            requests.PoolStats: self._stats,
            requests.Shrink: self._shrink,
        }

    def _acquire(self, client: Client, request: requests.Acquire, _: tuple[Buffer, ...]) -> None:
        self._registry.get(request.name)

        def granted(do: LeaseGranted) -> None:
            self._held[do.lease] = client
            if not self._knows(client.connection):  # ended while it was being granted
                self._give_back(do.lease)
                return
            reply = Leased(id=client.request_id, lease=do.lease, instance=do.instance)
            self._front.reply(client, reply)

        self._conductor.acquire(client, request, self._timeout(request.timeout), granted)

    def _release(self, client: Client, request: requests.Release, _: tuple[Buffer, ...]) -> None:
        self._give_back(request.lease)
        self._front.reply(client, Done(id=client.request_id))

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
        self._conductor.feed(events.LeaseReturned(lease))

    def _stats(self, client: Client, request: requests.PoolStats, _: tuple[Buffer, ...]) -> None:
        name = self._registry.get(request.name).name
        pool = self._conductor.brain.pool(self._conductor.brain.models[name])
        report = PoolReport(
            id=client.request_id,
            available=pool.available,
            in_use=pool.in_use,
            total=pool.total,
            max_instances=pool.max_instances,
        )
        self._front.reply(client, report)

    def _shrink(self, client: Client, request: requests.Shrink, _: tuple[Buffer, ...]) -> None:
        if request.name is not None:
            self._registry.get(request.name)

        def done(do: Fulfil) -> None:
            self._front.reply(client, Unloaded(id=client.request_id, instances=do.ended))

        self._conductor.shrink(client, request, done)
