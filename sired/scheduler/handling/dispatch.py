"""Requests on their way through instances: dispatching them, handling results, retrying."""

from sire.errors import Cancelled, SireError
from sired.scheduler import events
from sired.scheduler.entities.instance import Instance, Ready
from sired.scheduler.entities.model import Model
from sired.scheduler.entities.queue import RequestQueue, due
from sired.scheduler.entities.request import Request
from sired.scheduler.handling import wait_time
from sired.scheduler.handling.batching import Batcher, split
from sired.scheduler.handling.errors import inputs_full, queue_full, removed
from sired.scheduler.handling.leases import LeaseHandler
from sired.scheduler.handling.state import State
from sired.scheduler.instructions import Dispatch, Fail

# A load or an inference that runs out of memory is retried once.
ATTEMPTS = 2


class RequestHandler:
    """Queues requests, dispatches them to instances, and handles their results."""

    def __init__(self, state: State, leases: LeaseHandler) -> None:
        self._state = state
        self._leases = leases
        self._queues = state.queues
        self._fleet = state.fleet
        self._loader = state.loader
        self._batcher = Batcher(state.timer)

    def arrived(self, event: events.RequestArrived, now: float) -> None:
        """Queue a request, and dispatch it if an instance is free."""
        model = self._state.loadable_model(event.model, event.request, now)
        if model is None:
            return
        model.history.arrived(now)
        lease = None
        if event.lease is not None:
            found = self._leases.find(event.lease, model.name)
            if isinstance(found, SireError):
                self._state.out.append(Fail(event.request, found))
                return
            lease = found
        if setting := self._queues.full(model, event.client, event.size):
            self._reject(event, model, setting)
            return
        priority = event.priority or model.priority
        when_due = due(now, priority, self._state.rules.ageing)
        request = Request(
            event.request,
            event.model,
            now,
            event.deadline,
            when_due,
            lease,
            event.batch_key,
            event.rows,
            event.keep_alive,
            event.size,
            event.client,
            slot=event.slot,
        )
        self._queues.admit(request, self._queues.queue_of(request, model))
        self._state.timer.schedule(request.deadline)
        if lease is not None and lease.instance is not None:
            self._dispatch_leased(self._fleet.instances[lease.instance], now)
        else:
            self.dispatch(model, now)

    def _reject(self, event: events.RequestArrived, model: Model, setting: str) -> None:
        """Fail a request because what ``setting`` limits is full."""
        if setting == "memory":
            queues, limit = self._queues, self._state.rules.queue_memory
            error = inputs_full(event, queues.held, len(queues.requests), limit)
            self._state.out.append(Fail(event.request, error))
            return
        depth = len(model.queue) if setting == "per_model" else self._queues.waiting
        wait = wait_time.wait(model, len(model.queue), self._fleet)
        self._state.out.append(Fail(event.request, queue_full(model, setting, depth, wait)))

    def dispatch(self, model: Model, now: float) -> None:
        """Dispatch waiting requests to instances that can take them, and request a load if needed.

        A lease that waits gets an instance reserved when it is first in the queue.
        """
        while True:
            if reserved := self._leases.reserve(model):
                self._leases.grant(reserved)
                continue
            instance = self._fleet.free_instance(model) if model.queue else None
            batch = self._batcher.next(model.queue, model, now) if instance else []
            if instance is None or not batch:
                break
            self._dispatch_batch(model.queue, batch, instance)
        if model.needed:
            self._loader.request(model, None, now)
        else:
            self._loader.cancel_unneeded(model, now)
        self._state.pools.grow(model, now)

    def _dispatch_leased(self, instance: Instance, now: float) -> None:
        """Dispatch the requests that come under the lease of an instance to it."""
        lease = instance.lease
        while lease and instance.takes_more(self._state.rules.pipeline):
            batch = self._batcher.next(lease.queue, instance.model, now)
            if not batch:
                break
            self._dispatch_batch(lease.queue, batch, instance)

    def _dispatch_batch(
        self, queue: RequestQueue[Request], batch: list[Request], instance: Instance
    ) -> None:
        self._queues.assign(queue, batch, instance.id)
        instance.in_flight += batch
        instance.last_dispatched = batch[0].batch
        numbers = tuple(request.id for request in batch)
        self._state.out.append(Dispatch(instance.id, numbers))

    def batches_due(self, now: float) -> None:
        """Dispatch the requests whose batch delay has passed."""
        for model in self._batcher.due(now):
            for instance in self._fleet.of(model):
                if isinstance(instance.state, Ready) and not instance.state.draining:
                    self._dispatch_leased(instance, now)
            self.dispatch(model, now)

    def finished(self, event: events.RequestFinished, now: float) -> None:
        """Handle the result of a request; run it again if it ran out of memory."""
        instance = self._fleet.instances[event.instance]
        request = next(r for r in instance.in_flight if r.id == event.request)
        instance.in_flight.remove(request)
        instance.served += 1
        instance.keep_alive = request.keep_alive
        if event.seconds is not None:
            model = instance.model
            model.service_seconds = wait_time.average(model.service_seconds, event.seconds)
        if isinstance(instance.state, Ready):
            instance.state.last_used = now
        instance.model.backoff.answered()
        self._loader.record_peak(instance, event.peak, now)
        if event.error is None:
            self._loader.answered(instance, now)
            self._queues.answered(request)
        elif event.out_of_memory and self._may_run_alone(request, instance):
            self._run_alone([request], instance)
            # If this instance drains, another one runs the request.
            self.dispatch(self._state.models[request.model], now)
        elif event.out_of_memory and self._may_retry(request, instance):
            wanted = event.peak + event.requested if event.requested else None
            self._run_again(instance, request, wanted, now)
        else:
            self._queues.fail(request, event.error)
        self.after_work(instance, now)

    def _run_alone(self, requests: list[Request], instance: Instance) -> None:
        """Requeue the members of a failed batch to run one by one."""
        split(requests)
        for request in requests:
            model = self._state.models.get(request.model, instance.model)
            request.attempts -= 1
            self._queues.requeue(request, self._queues.queue_of(request, model))

    def _may_run_alone(self, request: Request, instance: Instance) -> bool:
        registered = request.model in self._state.models
        held = request.lease is None or request.lease is instance.lease
        return request.together and registered and held and not request.answered

    def _may_retry(self, request: Request, instance: Instance) -> bool:
        registered = self._state.models.get(request.model) is instance.model
        free = registered and instance.lease is None and request.lease is None
        return free and not request.answered and request.attempts < ATTEMPTS

    def _run_again(
        self, instance: Instance, request: Request, wanted: int | None, now: float
    ) -> None:
        """Run a request that ran out of memory again, in a fresh process with enough memory.

        ``wanted`` bytes would have sufficed; None if that is unknown.
        """
        self._requeue(instance.in_flight, instance.model, _ended_for_memory(request))
        self._queues.requeue(request, instance.model.queue)
        instance.in_flight.clear()
        self._fleet.stop(instance, now, kill=True)
        self._loader.retry(instance, now, wanted)
        self.dispatch(instance.model, now)

    def requeue_all(self, instance: Instance, model: Model, error: SireError) -> None:
        """Requeue everything that an instance works on, for another instance."""
        self._requeue(instance.in_flight, model, error)
        instance.in_flight.clear()

    def _requeue(self, requests: list[Request], model: Model, error: SireError) -> None:
        for request in requests:
            if request.model not in self._state.models:
                self._queues.fail(request, removed(request.model))
            elif request.lease is None and not request.slot:
                request.attempts -= 1
                self._queues.requeue(request, model.queue)
            else:  # the only instance that may answer it is gone
                self._queues.fail(request, error)

    def after_work(self, instance: Instance, now: float) -> None:
        """Give an instance that has finished work more, or let it make room for pending loads."""
        if instance.turn_served:
            self._loader.place(now)
        if not isinstance(instance.state, Ready):
            return
        if not instance.state.draining:
            self._leases.grant(instance)
            self._dispatch_leased(instance, now)
            self.dispatch(instance.model, now)
        self._state.timer.schedule(self._fleet.hung_at(instance))
        if not instance.at_work:
            expiry = self._fleet.expiry(instance)
            if instance.state.draining or expiry <= now:
                self._fleet.retire(instance, now)
            self._state.timer.schedule(expiry)
            self._loader.place(now)

    def cancelled(self, event: events.RequestCancelled, now: float) -> None:
        """Cancel a request, an operation that loads a model, or a lease request."""
        if self._queues.is_open(event.request):
            error = Cancelled("The request was cancelled.")
            self.resume(*self.fail_waiting(event.request, error, now), now)

    def fail_waiting(
        self, number: int, error: SireError, now: float
    ) -> tuple[Model, Instance | None]:
        """Fail a request, an operation or a lease request that has no answer yet.

        Returns:
            The arguments for ``resume``: its model, and the instance that it occupied or None.
        """
        if model := self._queues.operations.get(number):
            self._queues.fail_operation(number, error)
            return model, None
        if lease := self._queues.leases.get(number):
            self._state.out.append(Fail(number, error))
            instance = self._leases.release(number, now)
            return self._state.models[lease.model], instance
        request = self._queues.requests[number]
        model = self._state.model_of(request)
        self._queues.withdraw(request, model)
        self._queues.fail(request, error)
        # A worker that still works on it hangs if it does so for too long from now on.
        request.deadline = min(request.deadline, now)
        occupied = request.instance or (request.lease.instance if request.lease else None)
        return model, self._fleet.instances.get(occupied or 0)

    def resume(self, model: Model, instance: Instance | None, now: float) -> None:
        """Go on after something stopped waiting: let others have what it waited for."""
        if instance is not None:
            self.after_work(instance, now)
        elif self._state.models.get(model.name) is model:
            self.dispatch(model, now)
        self._loader.cancel_unneeded(model, now)
        self._loader.place(now)

    def lease_requested(self, event: events.LeaseRequested, now: float) -> None:
        """Queue a lease request."""
        if model := self._state.loadable_model(event.model, event.lease, now):
            self._leases.request(event, model, now)
            self.dispatch(model, now)

    def lease_returned(self, event: events.LeaseReturned, now: float) -> None:
        """Release a lease: its instance serves all requests. Cancel it if not granted yet."""
        if event.lease in self._queues.leases:
            self.cancelled(events.RequestCancelled(event.lease), now)
        elif instance := self._leases.release(event.lease, now):
            self.after_work(instance, now)

    def worker_gone(self, event: events.WorkerGone) -> Instance:
        """Remove an instance whose process has exited; requeue the requests it had not begun."""
        instance = self._fleet.remove(event.instance)
        if instance.in_flight:
            # Workers take batches in order: the first ones were running, the others never began.
            running = [] if event.worked_directly else instance.running
            model = self._state.models.get(instance.model.name, instance.model)
            self._requeue(instance.in_flight[len(running) :], model, event.error)
            alone = running and running[0].together and running[0].lease is None
            if alone and model.name in self._state.models:
                self._run_alone(running, instance)
            else:
                for request in running:
                    self._queues.fail(request, event.error)
        self._leases.revoke(instance, event.error)
        return instance


def _ended_for_memory(request: Request) -> Cancelled:
    return Cancelled(
        f"The process of {request.model} was restarted because another request needs more memory.",
        hint="Try again.",
    )
