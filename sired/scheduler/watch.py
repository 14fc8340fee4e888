"""What is due because time has passed: deadlines, processes that hang, models nobody uses."""

from sired.scheduler import words
from sired.scheduler.instance import Instance, Loading
from sired.scheduler.serving import Serving
from sired.scheduler.state import State
from sired.units import FOREVER


class Watch:
    """Looks at everything that waits for time, and sets the alarm for what is next."""

    def __init__(self, state: State, serving: Serving) -> None:
        self._state = state
        self._serving = serving
        self._queues = state.queues
        self._fleet = state.fleet

    def woken(self, now: float) -> None:
        """Do what is due, and nothing that is not: waking too early does no harm."""
        for number in self._queues.overdue(now):
            self._too_late(number, now)
        alarm = self._state.alarm
        alarm.silence()
        alarm.by(self._queues.next_deadline())
        self._serving.batches_due(now)
        for instance in list(self._fleet.instances.values()):
            hung_at, expiry = self._hung_at(instance), self._fleet.expiry(instance)
            if hung_at <= now:
                self._end_hung(instance, now)
            elif expiry <= now:
                self._fleet.stop(instance, now)
            else:
                alarm.by(min(hung_at, expiry))
        self._fleet.place(now)

    def _hung_at(self, instance: Instance) -> float:
        """When an instance that loads, or works on what nobody waits for any more, is killed."""
        if isinstance(instance.state, Loading):
            return instance.state.since + self._state.rules.load_timeout
        running = instance.running
        if not running or not all(request.answered for request in running):
            return FOREVER
        return max(request.deadline for request in running) + self._state.rules.hung_after

    def _end_hung(self, instance: Instance, now: float) -> None:
        loads = isinstance(instance.state, Loading)
        if loads and not self._state.pools.failed(instance, now):
            error = words.load_hung(instance.model, now - instance.state.since)
            self._queues.fail_all(instance.model, error)
        self._fleet.stop(instance, now, kill=True)

    def _too_late(self, number: int, now: float) -> None:
        if wished := self._queues.wishes.get(number):
            self._queues.fail_wish(number, words.not_loaded_in_time(wished, self._fleet))
            self._fleet.forget_unwanted(wished)
            return
        if lease := self._queues.leases.get(number):
            error = words.not_leased_in_time(self._state.models[lease.model], self._fleet)
            self._serving.give_up_lease(number, error, now)
            return
        request = self._queues.requests[number]
        model = self._state.model_of(request)
        error = words.not_answered_in_time(request, model, self._fleet, now)
        self._queues.withdraw(request, model)
        self._queues.fail(request, error)
        self._fleet.forget_unwanted(model)
