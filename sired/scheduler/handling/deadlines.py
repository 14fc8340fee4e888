"""What is due because time has passed: deadlines, hung processes, unused models."""

from sire.errors import DeadlineExceeded
from sired.scheduler.entities.instance import Instance, Loading
from sired.scheduler.handling import errors
from sired.scheduler.handling.dispatch import RequestHandler
from sired.scheduler.handling.state import State


class DeadlineHandler:
    """Handles everything that is due, and schedules what is due next."""

    def __init__(self, state: State, requests: RequestHandler) -> None:
        self._state = state
        self._requests = requests
        self._queues = state.queues
        self._fleet = state.fleet
        self._loader = state.loader

    def timer_fired(self, now: float) -> None:
        """Do what is due, and nothing that is not: firing too early does no harm."""
        # All of them fail before anything else is dispatched: no overdue request is served.
        failed = [
            self._requests.fail_waiting(number, self._deadline_error(number, now), now)
            for number in self._queues.overdue(now)
            if not self._keeps_waiting(number, now)
        ]
        for model, instance in dict.fromkeys(failed):
            self._requests.resume(model, instance, now)
        timer = self._state.timer
        timer.clear()
        timer.schedule(self._queues.next_deadline())
        self._requests.batches_due(now)
        for instance in list(self._fleet.instances.values()):
            hung_at, expiry = self._fleet.hung_at(instance), self._fleet.expiry(instance)
            if hung_at <= now:
                self._end_hung(instance, now)
            elif expiry <= now:
                self._fleet.retire(instance, now)
            else:
                timer.schedule(min(hung_at, expiry))
        for model in self._loader.backoff_ended(now):
            self._requests.dispatch(model, now)
        self._loader.place(now)

    def _keeps_waiting(self, number: int, now: float) -> bool:
        """Whether something goes on after its deadline.

        A slot that is taken does, and a patient operation while its model is loading and makes
        progress.
        """
        request = self._queues.requests.get(number)
        if request is not None and request.slot:
            return request.instance is not None
        if number not in self._queues.patient:
            return False
        instances = self._fleet.of(self._queues.operations[number])
        loading = [instance for instance in instances if isinstance(instance.state, Loading)]
        if (until := max(map(self._fleet.hung_at, loading), default=now)) > now:
            self._queues.add_deadline(until, number)
        return bool(loading)

    def _end_hung(self, instance: Instance, now: float) -> None:
        if isinstance(instance.state, Loading) and not self._state.pools.failed(instance, now):
            error = errors.load_hung(instance, now, self._state.rules)
            instance.model.backoff.load_failed(error, now, self._state.rules)
            self._queues.fail_all(instance.model, error)
            self._loader.cancel_unneeded(instance.model, now)
        self._fleet.stop(instance, now, kill=True)

    def _deadline_error(self, number: int, now: float) -> DeadlineExceeded:
        """The error for a request, operation or lease request whose deadline has passed."""
        if model := self._queues.operations.get(number):
            return errors.not_loaded_in_time(model, self._state)
        if lease := self._queues.leases.get(number):
            return errors.not_leased_in_time(self._state.models[lease.model], self._state)
        request = self._queues.requests[number]
        model = self._state.model_of(request)
        return errors.not_answered_in_time(request, model, self._state, now)
