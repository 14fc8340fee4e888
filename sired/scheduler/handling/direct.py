"""Direct connections: clients that send requests to an instance without the scheduler.

1. Clients may connect directly to the only instance of a model while nothing has to be decided
   about it: no request or lease waits for the model, no load waits for memory of its device, and
   the instance is neither leased, nor draining, nor ended after each use.
2. As soon as one of these conditions fails, the connections are closed. Requests that have reached
   the worker by then are answered; later ones come to the scheduler and are queued.
3. The use of direct connections is reported in samples: before any decision that depends on it,
   and a few times a second while there is something to report. An instance that serves such a
   client is busy.
4. An instance that works only on requests whose clients are gone hangs, as with other requests.
"""

from sired.scheduler import events
from sired.scheduler.entities.instance import Instance, Ready
from sired.scheduler.handling import wait_time
from sired.scheduler.handling.dispatch import RequestHandler
from sired.scheduler.handling.state import State
from sired.scheduler.instructions import CloseDirect


class DirectHandler:
    """Decides which instances may have direct connections."""

    def __init__(self, state: State, requests: RequestHandler) -> None:
        self._state = state
        self._requests = requests
        self._fleet = state.fleet
        self._loader = state.loader
        self._instances: set[Instance] = set()

    def instance(self, name: str) -> Instance | None:
        """The instance of a model that clients may connect to directly now, if there is one."""
        model = self._state.models.get(name)
        found = self._fleet.of(model) if model is not None else []
        return next(filter(self._allowed, found), None)

    def opened(self, event: events.DirectOpened, now: float) -> None:
        """Record that a client has connected to an instance directly."""
        instance = self._fleet.instances[event.instance]
        instance.model.history.arrived(now)
        self._instances.add(instance)

    def used(self, event: events.DirectUsed, now: float) -> None:
        """Apply a report of what an instance did for direct connections."""
        instance = self._fleet.instances[event.instance]
        was_busy, instance.direct_busy = instance.direct_busy, event.busy
        if event.abandoned and instance.abandoned_since is None:
            instance.abandoned_since = now
            self._state.timer.schedule(self._fleet.hung_at(instance))
        elif not event.abandoned:
            instance.abandoned_since = None
        # The end of the work may be reported after answers that were seen while it went on.
        if isinstance(instance.state, Ready):
            instance.state.last_used = max(instance.state.last_used, event.last_used)
        if event.served:
            self._served(instance, event, now)
        if was_busy or event.served:
            self._requests.after_work(instance, now)

    def _served(self, instance: Instance, event: events.DirectUsed, now: float) -> None:
        model = instance.model
        instance.served += event.served
        instance.keep_alive = None
        model.backoff.answered()
        model.history.arrived(now)
        model.service_seconds = wait_time.average(
            model.service_seconds, event.seconds / event.served
        )
        self._loader.record_peak(instance, event.peak, now)
        self._loader.answered(instance, now)

    def close(self) -> None:
        """Close the direct connections to instances that may no longer have any."""
        closing = [instance for instance in self._instances if not self._allowed(instance)]
        for instance in sorted(closing, key=lambda instance: instance.id):  # as a replay does
            self._instances.remove(instance)
            if instance.id in self._fleet.instances:
                self._state.out.append(CloseDirect(instance.id))

    @property
    def awaited(self) -> bool:
        """Whether an instance is finishing direct work that something else waits for."""
        instances = self._fleet.instances.values()
        return any(i.direct_busy and not self._allowed(i) for i in instances)

    def _allowed(self, instance: Instance) -> bool:
        model, state = instance.model, instance.state
        return (
            self._fleet.instances.get(instance.id) is instance
            and isinstance(state, Ready)
            and not state.draining
            and instance.lease is None
            and model.max_instances == 1
            and not model.queue
            and not model.leases
            and self._state.models.get(model.name) is model
            and self._fleet.keep_alive(model) > 0
            and not any(instance.device in load.lane for load in self._loader.pending)
        )
