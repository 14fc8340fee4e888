"""Clients that talk to an instance without asking the brain about every request.

1. A model's only instance may be talked to directly while nothing has to be decided about it:
   nobody waits in the model's queue or for a lease of it, no load waits for memory of its device,
   it is neither leased, draining nor ended after each use.
2. As soon as one of these is no longer so, its connections are closed. What has reached the worker
   by then is answered; everything after it comes here, and is queued by the rules.
3. What such clients do is told in samples: before anything is decided that depends on it, and a
   few times a second while there is something to tell. Who is at work for them is busy.
4. An instance that works on what nobody waits for any more hangs, as with any other request.
"""

from sired.scheduler import events
from sired.scheduler.entities.instance import Instance, Ready
from sired.scheduler.handling import wait_time
from sired.scheduler.handling.dispatch import RequestHandler
from sired.scheduler.handling.state import State
from sired.scheduler.instructions import CloseDirect


class DirectHandler:
    """Which instances are talked to directly."""

    def __init__(self, state: State, requests: RequestHandler) -> None:
        self._state = state
        self._requests = requests
        self._fleet = state.fleet
        self._loader = state.loader
        self._instances: set[Instance] = set()

    def instance(self, name: str) -> Instance | None:
        """The instance of a model that a client may talk to directly now, if there is one."""
        model = self._state.models.get(name)
        found = self._fleet.of(model) if model is not None else []
        return next(filter(self._allowed, found), None)

    def opened(self, event: events.DirectOpened, now: float) -> None:
        """Somebody talks to an instance directly from now on."""
        instance = self._fleet.instances[event.instance]
        instance.model.history.arrived(now)
        self._instances.add(instance)

    def used(self, event: events.DirectUsed, now: float) -> None:
        """Take in what an instance did for those who talk to it directly."""
        instance = self._fleet.instances[event.instance]
        was_busy, instance.direct_busy = instance.direct_busy, event.busy
        if event.abandoned and instance.abandoned_since is None:
            instance.abandoned_since = now
            self._state.timer.schedule(self._fleet.hung_at(instance))
        elif not event.abandoned:
            instance.abandoned_since = None
        # Its end may be told after its answers, which were seen while it was still at work.
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

    def close(self) -> None:
        """Have connections closed where there may be none any more."""
        for instance in [one for one in self._instances if not self._allowed(one)]:
            self._instances.remove(instance)
            if instance.id in self._fleet.instances:
                self._state.out.append(CloseDirect(instance.id))

    @property
    def awaited(self) -> bool:
        """Whether somebody waits until an instance has answered what came to it directly."""
        instances = self._fleet.instances.values()
        return any(one.direct_busy and not self._allowed(one) for one in instances)

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
