"""The state machine: ``handle(event, now)`` returns the instructions for an event.

Everything that waits has a deadline and one owner: a request waits in the queue of its model or
lease, or is in flight at an instance; a load waits in ``loader.pending`` or has an instance. After
every event the same two questions are asked again: which waiting requests can be dispatched, and
which pending loads can start.

``handling.dispatch`` handles requests, ``operations`` explicit loads and unloads, ``sleep`` sleep
operations, ``leases`` leased instances, ``direct`` direct connections, ``deadlines`` what is due,
``lost_devices`` devices that stop responding. ``memory`` decides which models hold memory.
"""

from collections.abc import Callable, Sequence
from typing import Any

from sire.errors import SireError, WorkerCrashed
from sired.scheduler import events
from sired.scheduler.entities.instance import Loading, Stopping
from sired.scheduler.entities.ledger import Account, Ledger
from sired.scheduler.entities.model import Model
from sired.scheduler.events import Event
from sired.scheduler.handling import wait_time
from sired.scheduler.handling.admission import Queues
from sired.scheduler.handling.deadlines import DeadlineHandler
from sired.scheduler.handling.direct import DirectHandler
from sired.scheduler.handling.dispatch import RequestHandler
from sired.scheduler.handling.errors import removed
from sired.scheduler.handling.leases import LeaseHandler
from sired.scheduler.handling.lost_devices import LostDeviceHandler
from sired.scheduler.handling.operations import OperationHandler
from sired.scheduler.handling.sleep import SleepHandler
from sired.scheduler.handling.state import State
from sired.scheduler.instructions import Instruction
from sired.scheduler.memory.fit import Fit, fit_by_device
from sired.scheduler.memory.fleet import Fleet
from sired.scheduler.memory.loading import Loader
from sired.scheduler.memory.pools import Pool, Pools, count
from sired.scheduler.policies.placement import Strategy
from sired.scheduler.policies.routing import Router, least_loaded
from sired.scheduler.rules import Rules
from sired.scheduler.timer import Timer


class Brain:
    """Every decision about models, requests and memory.

    Args:
        devices: the devices on which models can be loaded.
        strategy: orders the devices for a load.
        rules: limits and delays.
        router: chooses the instance that gets the next request.
        dram: bytes of main memory reserved for sleeping models.

    Attributes:
        models: every registered model, by name.
        fleet: the instances and the ledger.
        loader: the loads that wait for memory.
        queues: everything that has no answer yet.
        direct: which instances may have direct connections.
    """

    def __init__(
        self,
        devices: Sequence[Account],
        strategy: Strategy,
        rules: Rules,
        router: Router = least_loaded,
        dram: int = 0,
    ) -> None:
        self._out: list[Instruction] = []
        self._timer = Timer()
        self.models: dict[str, Model] = {}
        self._kept: frozenset[str] = frozenset()
        self.queues = Queues(rules, self._out)
        self.fleet = Fleet(devices, rules, router, self._out, self._timer, dram)
        self.loader = Loader(self.fleet, strategy, rules, self._timer, self.queues.fail_all)
        self._state = State(
            self.models,
            self.queues,
            self.fleet,
            self.loader,
            Pools(self.fleet, self.loader),
            self._timer,
            rules,
            self._out,
        )
        self._leases = LeaseHandler(self._state)
        self._requests = RequestHandler(self._state, self._leases)
        self._sleep = SleepHandler(self._state)
        self._operations = OperationHandler(self._state, self._requests, self._sleep)
        self._deadlines = DeadlineHandler(self._state, self._requests)
        self._lost_devices = LostDeviceHandler(self._state, self._requests)
        self.direct = DirectHandler(self._state, self._requests)
        self._handlers = self._handlers_by_event()

    def _handlers_by_event(self) -> dict[type[Any], Callable[[Any, float], None]]:
        return {
            events.RequestArrived: self._requests.arrived,
            events.RequestFinished: self._requests.finished,
            events.RequestCancelled: self._requests.cancelled,
            events.LoadRequested: self._operations.load,
            events.UnloadRequested: self._operations.unload,
            events.LeaseRequested: self._requests.lease_requested,
            events.LeaseReturned: self._requests.lease_returned,
            events.ShrinkRequested: self._operations.shrink,
            events.DirectOpened: self.direct.opened,
            events.DirectUsed: self.direct.used,
            events.ModelAdded: self._model_added,
            events.ModelPinned: self._model_pinned,
            events.ModelsKept: self._models_kept,
            events.ModelEstimated: self._model_estimated,
            events.ModelRunsAlone: self._model_runs_alone,
            events.ModelRemoved: self._model_removed,
            events.LoadProgressed: self._operations.progressed,
            events.WorkerReady: self._operations.loaded,
            events.SleepRequested: self._sleep.requested,
            events.WorkerSlept: self._worker_slept,
            events.WorkerDramFreed: self._sleep.freed,
            events.SleepFailed: self._sleep.failed,
            events.WorkerLoadFailed: self._operations.load_failed,
            events.WorkerGone: self._worker_gone,
            events.MemorySampled: self._memory_sampled,
            events.DeviceAdded: self._device_added,
            events.TimerFired: lambda _, now: self._deadlines.timer_fired(now),
        }

    @property
    def rules(self) -> Rules:
        """The limits and delays in use."""
        return self._state.rules

    @property
    def ledger(self) -> Ledger:
        """What instances are charged on each device. Read only."""
        return self.fleet.ledger

    @property
    def wakeup(self) -> float:
        """When ``TimerFired`` is due; ``FOREVER`` when nothing waits for a time."""
        return self._timer.at

    def adopt(self, rules: Rules, strategy: Strategy, router: Router = least_loaded) -> None:
        """Use these rules and strategies from now on."""
        self._state.rules = rules
        self.queues.adopt(rules)
        self.fleet.adopt(rules, router)
        self.loader.adopt(rules, strategy)

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """Handle an event and return the instructions, in order.

        Args:
            event: the event.
            now: seconds of a monotonic clock.
        """
        self._handlers[type(event)](event, now)
        self._leases.revoke_ending()
        self.direct.close()
        instructions = self._out.copy()
        self._out.clear()
        return instructions

    def position(self, request: int) -> tuple[int, float | None] | None:
        """The position of a request in its queue, and the seconds until it begins.

        Returns:
            Position 0 if it was dispatched, 1 at the head of its queue; the seconds are None while
            nothing has been measured. None for a request that is unknown or was answered.
        """
        found = self.queues.requests.get(request)
        if found is None:
            return None
        if found.instance is not None:
            return 0, 0.0
        model = self.models[found.model]
        ahead = self.queues.queue_of(found, model).ahead_of(found)
        return ahead + 1, wait_time.wait(model, ahead, self.fleet)

    def expected_wait(self, model: Model, behind: int = 0) -> float | None:
        """Seconds until a request that arrived now would begin; None while that is unknown.

        Args:
            model: the model of the request.
            behind: number of requests that would precede it and are not queued here yet.
        """
        return wait_time.wait(model, len(model.queue) + behind, self.fleet)

    def fit_by_device(self, model: Model, now: float) -> list[Fit]:
        """How a model, registered or not, would fit on each device."""
        return fit_by_device(model, self.fleet, self.rules, now)

    def never_fits(self, model: Model) -> SireError | None:
        """Why a model can never be loaded as things are; None if it can."""
        try:
            self.loader.check_device(model, None)
        except SireError as error:
            return error
        return None

    def memory_by_model(self) -> dict[str, int]:
        """Bytes charged on devices for the instances of each loaded model."""
        charged: dict[str, int] = {}
        for number, instance in self.fleet.instances.items():
            name = instance.model.name
            charged[name] = charged.get(name, 0) + self.ledger.charge(number)
        return charged

    def pool(self, model: Model) -> Pool:
        """Count the instances of a model by what they do."""
        return count(model, self.fleet)

    def _model_added(self, event: events.ModelAdded, now: float) -> None:
        model = event.model
        old = self.models.get(model.name)
        self.models[model.name] = model
        model.kept = model.name in self._kept
        if old is not None:
            self.queues.transfer(old, model)
            model.history = old.history
            self._retire(old, now)
            self._requests.dispatch(model, now)

    def _model_pinned(self, event: events.ModelPinned, now: float) -> None:
        self.models[event.model].pinned = event.pinned
        # It expires at another time now, and loads that wait may have its memory.
        self._deadlines.timer_fired(now)

    def _models_kept(self, event: events.ModelsKept, now: float) -> None:
        self._kept = event.kept
        for model in self.models.values():
            model.kept = model.name in event.kept
        self._deadlines.timer_fired(now)

    def _model_estimated(self, event: events.ModelEstimated, _: float) -> None:
        model = self.models[event.model]
        model.weights, model.everything = event.weights, event.everything

    def _model_runs_alone(self, event: events.ModelRunsAlone, now: float) -> None:
        model = self.models[event.model]
        model.batch_size, model.batch_delay = 1, 0.0
        # Requests that wait for others to fill their batch wait no longer.
        self._requests.dispatch(model, now)

    def _model_removed(self, event: events.ModelRemoved, now: float) -> None:
        model = self.models.pop(event.model)
        self.queues.fail_all(model, removed(model.name))
        self._retire(model, now)

    def _retire(self, model: Model, now: float) -> None:
        """End the instances of a model that is no longer registered."""
        self._state.pools.forget(model)
        self.loader.cancel_unneeded(model, now)
        for instance in self.fleet.of(model):
            self.fleet.drain(instance, now)
        self.loader.place(now)

    def _worker_gone(self, event: events.WorkerGone, now: float) -> None:
        instance = self._requests.worker_gone(event)
        model = instance.model
        if isinstance(instance.state, Loading):
            if not self._state.pools.failed(instance, now):
                if isinstance(event.error, WorkerCrashed):  # otherwise no process could be started
                    model.backoff.load_failed(event.error, now, self.rules)
                self.queues.fail_all(model, event.error)
        elif not isinstance(instance.state, Stopping):
            model.backoff.crashed(now, self.rules)
        self._operations.complete_unloads()
        self._sleep.gone(instance, event.error)
        if current := self.models.get(model.name):
            self._requests.dispatch(current, now)
        else:
            self.queues.fail_all(model, event.error)
        self.loader.place(now)

    def _worker_slept(self, event: events.WorkerSlept, now: float) -> None:
        model = self._sleep.slept(event, now).model
        if self.models.get(model.name) is model:  # its waiting requests wake it
            self._requests.dispatch(model, now)
        self.loader.place(now)

    def _memory_sampled(self, event: events.MemorySampled, now: float) -> None:
        for device, free in event.free.items():
            self.fleet.ledger.accounts[device].reported_free = free
        self.fleet.ledger.dram.reported_free = event.dram
        for instance, memory in event.loading:
            self.fleet.note_allocated(instance, memory)
        self._lost_devices.update(event.lost, event.silent, now)
        # Also without pending loads: an instance may wait to sleep for the memory that is free now.
        self.loader.place(now)

    def _device_added(self, event: events.DeviceAdded, now: float) -> None:
        self.fleet.ledger.add(
            Account(event.name, event.kind, event.capacity, bounded_by=event.bounded_by)
        )
        self.loader.place(now)
