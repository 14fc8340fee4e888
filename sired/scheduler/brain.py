"""The state machine: ``handle(event, now)`` says what to do about an event.

Everything that waits has a deadline and one owner: a request waits in its model's queue or is in
flight at an instance; a load waits in ``fleet.pending`` or has an instance. After every event the
same two questions are asked again: which waiting requests can be handed to a worker, and which
waiting loads can start.
"""

from collections.abc import Callable, Sequence
from typing import Any

from sired.errors import (
    Cancelled,
    DeadlineExceeded,
    InsufficientMemory,
    LoadFailed,
    ModelNotFound,
    SireError,
)
from sired.scheduler import events
from sired.scheduler.events import Event
from sired.scheduler.fleet import Fleet
from sired.scheduler.instance import Instance, Loading, Ready
from sired.scheduler.instructions import Dispatch, Fail, Fulfil, Instruction
from sired.scheduler.ledger import Account
from sired.scheduler.model import Model, Request
from sired.scheduler.placement import Strategy
from sired.scheduler.queues import Queues
from sired.scheduler.rules import Rules
from sired.units import FOREVER, format_bytes, format_duration

# A load or an inference that ran out of memory is tried once more.
ATTEMPTS = 2


class Brain:
    """All that is decided about models, requests and memory.

    Attributes:
        models: every registered model, by name.
        fleet: the instances and the ledger.
        queues: what has no answer yet.
        wakeup: when ``Woken`` has to come at the latest; ``FOREVER`` when nothing waits for time.
    """

    def __init__(self, devices: Sequence[Account], strategy: Strategy, rules: Rules) -> None:
        self._out: list[Instruction] = []
        self.models: dict[str, Model] = {}
        self.queues = Queues(rules, self._out)
        self.fleet = Fleet(devices, strategy, rules, self._out, hopeless=self.queues.fail_all)
        self.wakeup = FOREVER
        self.rules = rules
        self._unloads: dict[int, tuple[set[int], int]] = {}
        self._handlers: dict[type[Any], Callable[[Any, float], None]] = {
            events.RequestArrived: self._request_arrived,
            events.RequestFinished: self._request_finished,
            events.RequestCancelled: self._request_cancelled,
            events.LoadWanted: self._load_wanted,
            events.UnloadWanted: self._unload_wanted,
            events.ModelAdded: self._model_added,
            events.ModelRemoved: self._model_removed,
            events.WorkerReady: self._worker_ready,
            events.LoadFailed: self._load_failed,
            events.WorkerGone: self._worker_gone,
            events.MemorySampled: self._memory_sampled,
            events.Woken: self._woken,
        }

    def adopt(self, rules: Rules, strategy: Strategy) -> None:
        """Decide by these rules and this strategy from now on."""
        self.rules = rules
        self.queues.adopt(rules)
        self.fleet.adopt(rules, strategy)

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """Take in what happened and return what to do, in order.

        Args:
            event: what happened.
            now: seconds of a clock that never goes back.
        """
        self._handlers[type(event)](event, now)
        self.wakeup = min(self.wakeup, self.fleet.retry_at, self.fleet.hung_loads_at)
        self.fleet.hung_loads_at = FOREVER
        instructions = self._out.copy()
        self._out.clear()
        return instructions

    # Requests

    def _request_arrived(self, event: events.RequestArrived, now: float) -> None:
        model = self._model(event.model, event.request)
        if model is None:
            return
        request = Request(event.request, event.model, now, event.deadline)
        model.history.arrived(now)
        if self.queues.admit(request, model):
            self.wakeup = min(self.wakeup, request.deadline)
            self._pump(model, now)

    def _model(self, name: str, asked_by: int) -> Model | None:
        """The model of that name; who asked is told if there is none."""
        model = self.models.get(name)
        if model is None:
            error = ModelNotFound(
                f"No model {name!r} is registered.", hint="See: sire ls", model=name
            )
            self._out.append(Fail(asked_by, error))
        return model

    def _pump(self, model: Model, now: float) -> None:
        """Hand waiting requests to workers that can take them; want one if there is none."""
        while model.queue and (instance := self.fleet.free_instance(model)):
            request = self.queues.take(model, instance.id)
            instance.in_flight.append(request)
            self._out.append(Dispatch(instance.id, request.id))
        if model.wanted:
            self.fleet.want(model, None, now)

    def _request_finished(self, event: events.RequestFinished, now: float) -> None:
        instance = self.fleet.instances[event.instance]
        request = next(r for r in instance.in_flight if r.id == event.request)
        instance.in_flight.remove(request)
        instance.served += 1
        if isinstance(instance.state, Ready):
            instance.state.last_used = now
        self.fleet.note_peak(instance, event.peak, now)
        if event.error is None:
            self.queues.answered(request)
        elif event.out_of_memory and self._may_retry(request, instance):
            self._run_again(instance, request, now)
        else:
            self.queues.fail(request, event.error)
        self._after_work(instance, now)

    def _may_retry(self, request: Request, instance: Instance) -> bool:
        registered = self.models.get(request.model) is instance.model
        return registered and not request.answered and request.attempts < ATTEMPTS

    def _run_again(self, instance: Instance, request: Request, now: float) -> None:
        """An inference ran out of memory: once more, in a fresh process with more room."""
        self._put_back_unbegun(instance.in_flight, instance.model)
        self.queues.put_back([request], instance.model)
        instance.in_flight.clear()
        self.fleet.stop(instance, now, kill=True)
        self.fleet.load_again(instance, now)

    def _put_back_unbegun(self, requests: list[Request], model: Model) -> None:
        for request in requests:
            request.attempts -= 1
        self.queues.put_back(requests, model)

    def _after_work(self, instance: Instance, now: float) -> None:
        """An instance has nothing to do, or less: give it more, or see who wants its place."""
        if not isinstance(instance.state, Ready):
            return
        if not instance.state.draining:
            self._pump(instance.model, now)
        if not instance.in_flight:
            expiry = self.fleet.expiry(instance)
            if instance.state.draining or expiry <= now:
                self.fleet.stop(instance, now)
            self.wakeup = min(self.wakeup, expiry)
            if self.fleet.pending:
                self.fleet.place(now)

    def _request_cancelled(self, event: events.RequestCancelled, now: float) -> None:
        error = Cancelled("The request was cancelled.")
        if request := self.queues.requests.get(event.request):
            self.queues.withdraw(request, self.models[request.model])
            self.queues.fail(request, error)
        elif event.request in self.queues.wishes:
            self.queues.fail_wish(event.request, error)
        self.fleet.place(now)

    # Loading and unloading

    def _load_wanted(self, event: events.LoadWanted, now: float) -> None:
        model = self._model(event.model, event.wish)
        if model is None:
            return
        device = None if event.device == "auto" else event.device
        for instance in self.fleet.of(model):
            fits = device in {None, instance.device}
            if fits and isinstance(instance.state, Ready) and instance.accepting:
                instance.state.last_used = now
                self._out.append(Fulfil(event.wish, instance.id))
                return
        self.queues.wish(event.wish, model, event.deadline)
        self.wakeup = min(self.wakeup, event.deadline)
        if device is None:
            self.fleet.want(model, None, now)
        else:
            self.fleet.want_elsewhere(model, device, now)

    def _unload_wanted(self, event: events.UnloadWanted, now: float) -> None:
        model = self._model(event.model, event.wish)
        if model is None:
            return
        error = Cancelled(f"{model.name} was unloaded before it was loaded.")
        self.queues.fail_wishes(model, error)
        ending = {instance.id for instance in self.fleet.of(model)}
        self._unloads[event.wish] = (ending, len(ending))
        for instance in self.fleet.of(model):
            self.fleet.drain(instance, now)
        self._settle_unloads()

    def _settle_unloads(self) -> None:
        """Answer the wishes to unload whose instances have all ended."""
        for wish, (left, ended) in list(self._unloads.items()):
            if left.isdisjoint(self.fleet.instances):
                del self._unloads[wish]
                self._out.append(Fulfil(wish, ended=ended))

    # Models

    def _model_added(self, event: events.ModelAdded, now: float) -> None:
        model = event.model
        old = self.models.get(model.name)
        self.models[model.name] = model
        if old is not None:
            self.queues.move(old, model)
            model.history = old.history
            self._retire(old, now)
            self._pump(model, now)

    def _model_removed(self, event: events.ModelRemoved, now: float) -> None:
        model = self.models.pop(event.model)
        error = Cancelled(f"{model.name} was removed while this waited for it.")
        self.queues.fail_all(model, error)
        self._retire(model, now)

    def _retire(self, model: Model, now: float) -> None:
        """End what runs of a model that nobody can ask for any more."""
        for instance in self.fleet.of(model):
            self.fleet.drain(instance, now)
        self.fleet.place(now)

    # Workers

    def _worker_ready(self, event: events.WorkerReady, now: float) -> None:
        instance = self.fleet.instances[event.instance]
        if not isinstance(instance.state, Loading):
            return
        self.fleet.loaded(instance, event.memory, now)
        for wish in sorted(instance.model.wishes):
            del self.queues.wishes[wish]
            self._out.append(Fulfil(wish, instance.id))
        instance.model.wishes.clear()
        self._after_work(instance, now)

    def _load_failed(self, event: events.LoadFailed, now: float) -> None:
        instance = self.fleet.instances[event.instance]
        if not isinstance(instance.state, Loading):
            return
        attempt = instance.state.attempt
        self.fleet.stop(instance, now)
        if event.out_of_memory and attempt + 1 < ATTEMPTS and instance.model.wanted:
            self.fleet.load_again(instance, now)
        else:
            error = self._ran_out(instance, event.error) if event.out_of_memory else event.error
            self.queues.fail_all(instance.model, error)

    def _ran_out(self, instance: Instance, error: SireError) -> InsufficientMemory:
        """Why a load failed for want of memory although it was granted enough."""
        account = self.fleet.ledger.accounts[instance.device]
        granted = self.fleet.ledger.charge(instance.id)
        return InsufficientMemory(
            f"{instance.model.name} ran out of memory on {instance.device} with "
            f"{format_bytes(granted)} granted of {format_bytes(account.capacity)}: "
            f"{error.message}",
            hint="Close other programs that use the device, or put the model on another one.",
            model=instance.model.name,
            device=instance.device,
            granted_bytes=granted,
        )

    def _worker_gone(self, event: events.WorkerGone, now: float) -> None:
        instance = self.fleet.gone(event.instance)
        model = instance.model
        if instance.in_flight:
            # Requests are worked on in order: the first was running, the others never began.
            self.queues.fail(instance.in_flight[0], event.error)
            self._put_back_unbegun(instance.in_flight[1:], self.models.get(model.name, model))
        if isinstance(instance.state, Loading):
            self.queues.fail_all(model, event.error)
        self._settle_unloads()
        if current := self.models.get(model.name):
            self._pump(current, now)
        else:
            self.queues.fail_all(model, event.error)
        self.fleet.place(now)

    # Time and memory

    def _memory_sampled(self, event: events.MemorySampled, now: float) -> None:
        for device, free in event.free.items():
            self.fleet.ledger.accounts[device].reported_free = free
        if self.fleet.pending:
            self.fleet.place(now)

    def _woken(self, event: events.Woken, now: float) -> None:  # noqa: ARG002
        for number in self.queues.overdue(now):
            self._too_late(number, now)
        wakeups = [self.queues.next_deadline() or FOREVER]
        for instance in list(self.fleet.instances.values()):
            hung_at = self._hung_at(instance)
            expiry = self.fleet.expiry(instance)
            if hung_at <= now:
                self._end_hung(instance, now)
            elif expiry <= now:
                self.fleet.stop(instance, now)
            else:
                wakeups += [hung_at, expiry]
        self.wakeup = min(wakeups)
        self.fleet.place(now)

    def _hung_at(self, instance: Instance) -> float:
        """When an instance that loads, or works on what nobody waits for any more, is killed."""
        if isinstance(instance.state, Loading):
            return instance.state.since + self.rules.load_timeout
        first = instance.in_flight[0] if instance.in_flight else None
        if first is None or not first.answered:
            return FOREVER
        return first.deadline + self.rules.hung_after

    def _end_hung(self, instance: Instance, now: float) -> None:
        if isinstance(instance.state, Loading):
            took = format_duration(now - instance.state.since)
            error = LoadFailed(
                f"{instance.model.name} had not loaded after {took}; its process was ended.",
                hint="Allow more with the setting daemon.load_timeout, or look at: sire logs "
                f"{instance.model.name}",
                model=instance.model.name,
            )
            self.queues.fail_all(instance.model, error)
        self.fleet.stop(instance, now, kill=True)

    def _too_late(self, number: int, now: float) -> None:
        if wished := self.queues.wishes.get(number):
            doing = self._not_ready_because(wished)
            error = DeadlineExceeded(
                f"{wished.name} was not loaded in the time allowed: {doing}.",
                hint="Allow more with --timeout, or look at: sire ps",
                model=wished.name,
            )
            self.queues.fail_wish(number, error)
            return
        request = self.queues.requests[number]
        model = self.models[request.model]
        running = request.instance is not None
        doing = "it was still computing" if running else self._not_ready_because(model)
        waited = now - request.arrived
        self.queues.withdraw(request, model)
        error = DeadlineExceeded(
            f"{model.name} gave no answer within {format_duration(waited)}: {doing}.",
            hint="Allow more with --timeout, or look at: sire ps",
            model=model.name,
            waited_seconds=waited,
        )
        self.queues.fail(request, error)

    def _not_ready_because(self, model: Model) -> str:
        """What those who wait for a model are waiting for, in words."""
        if any(isinstance(instance.state, Loading) for instance in self.fleet.of(model)):
            return "the model was still loading"
        if any(load.model is model for load in self.fleet.pending):
            return "it waited for memory that busy models or other programs hold"
        return f"{len(model.queue)} requests for it were waiting"
