"""Leases: instances that serve one client only, until the client releases them.

1. A lease request is queued like a request of normal priority.
2. When it is first in the queue, the unleased instance with the fewest requests is reserved for
   it. From then on that instance gets no other requests, and the lease is granted as soon as it is
   idle. If all instances are leased, the pool grows if it may; otherwise the lease request waits.
3. A leased instance is not evicted and does not expire. It serves the requests under its lease.
4. When the lease is released, the instance serves all requests again, or ends if that was requested
   with the lease.
5. If the instance ends earlier, for whatever reason, the lease is lost: its client is notified, and
   requests under the lease fail with that reason until the client releases it.
"""

from sire.errors import Cancelled, SireError
from sired.scheduler import events
from sired.scheduler.entities.instance import Instance, Ready
from sired.scheduler.entities.lease import Lease
from sired.scheduler.entities.model import Model
from sired.scheduler.entities.queue import due
from sired.scheduler.entities.request import Request
from sired.scheduler.handling.state import State
from sired.scheduler.instructions import Fail, LeaseGranted, LeaseLost


class LeaseHandler:
    """Every lease that has an instance, or was lost and not released yet."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._queues = state.queues
        self._fleet = state.fleet
        self._held: dict[int, Lease[Request]] = {}
        self._lost: dict[int, SireError] = {}

    def request(self, event: events.LeaseRequested, model: Model, now: float) -> None:
        """Queue a lease request."""
        when = due(now, "normal", self._state.rules.ageing)
        lease: Lease[Request] = Lease(event.lease, model.name, when, event.destroy_after_use)
        self._queues.add_lease(lease, model, event.deadline)
        self._state.timer.schedule(event.deadline)

    def find(self, number: int, model: str) -> Lease[Request] | SireError:
        """The lease of that number, or the error for requests for the model under it."""
        lease = self._held.get(number)
        if lease is not None and lease.granted and lease.model == model:
            return lease
        return self._lost.get(number) or Cancelled(
            f"Lease {number} of {model} is not held.", hint="Acquire a new lease."
        )

    def reserve(self, model: Model) -> Instance | None:
        """Reserve an instance for the first lease that waits, if it is due and one can be had."""
        if not model.leases:
            return None
        lease = model.leases[0]
        if model.queue and model.queue.first.order < (lease.due, lease.id):
            return None
        able = [
            instance
            for instance in self._fleet.of(model)
            if isinstance(instance.state, Ready) and instance.accepting and not instance.lease
        ]
        if not able:
            return None
        instance = min(able, key=lambda instance: (len(instance.in_flight), instance.id))
        model.leases.remove(lease)
        self._held[lease.id] = lease
        lease.instance, instance.lease = instance.id, lease
        return instance

    def grant(self, instance: Instance) -> None:
        """Grant the lease of an instance once the instance is idle."""
        lease = instance.lease
        if lease is not None and not lease.granted and not instance.at_work:
            lease.granted = True
            del self._queues.leases[lease.id]
            self._state.out.append(LeaseGranted(lease.id, instance.id))

    def release(self, number: int, now: float) -> Instance | None:
        """End a lease, granted or not; return the instance that others may use now, if any."""
        self._lost.pop(number, None)
        if waiting := self._queues.leases.pop(number, None):
            model = self._state.models[waiting.model]
            model.leases = [lease for lease in model.leases if lease is not waiting]
        lease = self._held.pop(number, None)
        if lease is None or lease.instance is None:
            return None
        error = Cancelled("The lease was released before this request was processed.")
        self._queues.fail_queue(lease.queue, error)
        instance = self._fleet.instances[lease.instance]
        instance.lease = None
        if lease.granted and isinstance(instance.state, Ready):
            instance.state.last_used = now
        if lease.granted and lease.destroy:
            self._fleet.drain(instance, now)
        return instance

    def revoke(self, instance: Instance, error: SireError) -> None:
        """End the lease of an instance that is ending or has ended."""
        lease, instance.lease = instance.lease, None
        if lease is None:
            return
        del self._held[lease.id]
        lease.instance = None
        self._queues.fail_queue(lease.queue, error)
        if lease.granted:
            self._lost[lease.id] = error
            self._state.out.append(LeaseLost(lease.id, error))
        elif model := self._state.models.get(lease.model):
            model.leases.append(lease)
            model.leases.sort(key=lambda waiting: (waiting.due, waiting.id))
        else:
            del self._queues.leases[lease.id]
            self._state.out.append(Fail(lease.id, error))

    def revoke_ending(self) -> None:
        """End the leases of instances that are ending; leases not granted yet wait again."""
        for lease in list(self._held.values()):
            instance = self._fleet.instances[lease.instance or 0]
            if not instance.accepting:
                error = Cancelled(
                    f"{lease.model} was unloaded; the lease of its instance has ended.",
                    hint="Acquire a new lease.",
                )
                self.revoke(instance, error)
