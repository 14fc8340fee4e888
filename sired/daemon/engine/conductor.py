"""Between the brain and the world: carries out instructions, turns what happens into events."""

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Callable
from functools import partial

from sire.errors import Cancelled, DaemonUnavailable, SireError
from sire.paths import Paths
from sire.protocol.content import Buffer
from sire.protocol.requests import Acquire, Predict, Shrink
from sire.protocol.runs import RunPart, RunResult
from sire.spec import keep_alive_seconds
from sire.units import FOREVER
from sired.daemon.direct.connections import DirectConnections
from sired.daemon.engine.direct_broker import DirectBroker
from sired.daemon.engine.instances import Instances, grant
from sired.daemon.engine.pending import PendingOperation, PendingPrediction
from sired.daemon.engine.predictions import Predictions
from sired.daemon.engine.replies import ReplySink, asked_by_daemon
from sired.daemon.engine.worker_events import WorkerEvents
from sired.daemon.supervisor.supervisor import WorkerSupervisor
from sired.daemon.telemetry.counters import AllCounters
from sired.devices.inventory import Inventory
from sired.scheduler import events, instructions
from sired.scheduler.brain import Brain
from sired.scheduler.events import Event
from sired.server.front import Client
from sired.store.footprints import Footprints
from sired.store.registry import Registry
from sired.workers.messages import (
    FreeDram,
    FromWorker,
    Sleep,
    Wake,
)
from sired.workers.zygote.zygote import Zygote

log = logging.getLogger(__name__)

# After these the drivers are asked how full the devices are before the brain decides.
MEMORY_CHANGES = (
    events.WorkerGone,
    events.WorkerReady,
    events.WorkerSlept,
    events.SleepFailed,
    events.WorkerLoadFailed,
    events.LoadRequested,
    events.SleepRequested,
)


class Conductor:
    """Owns the brain and the crew, and keeps both in step.

    Attributes:
        instances: the processes, and what is known of them.
        predictions: those that have no answer yet.
        direct: the clients that talk to workers themselves, and
        usher: leads them there.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        brain: Brain,
        front: ReplySink,
        inventory: Inventory,
        registry: Registry,
        footprints: Footprints,
        zygote: Zygote,
        paths: Paths,
    ) -> None:
        self.brain = brain
        stand_by = {grant(device, paths): device.standby for device in inventory.devices}
        self.supervisor = WorkerSupervisor(
            loop, zygote, self._heard, self._worker_gone, stand_by, paths.standby_log
        )
        self.statistics = AllCounters()
        self.instances = Instances(
            self.supervisor, inventory, registry, footprints, self.statistics, paths
        )
        self.predictions = Predictions(
            loop, brain, front, self.supervisor, self.instances, self.statistics
        )
        self.direct = DirectConnections(loop, self.statistics, self.supervisor.pass_on)
        self.direct_broker = DirectBroker(loop, brain, self.instances, self.direct, self.feed)
        self._loop = loop
        self._worker_events = WorkerEvents(brain, self.instances)
        self._front = front
        self._inventory = inventory
        self._operations: dict[int, PendingOperation] = {}
        self._operations_by_client: dict[Client, int] = {}
        self._next_ticket = 1
        self._events: deque[Event] = deque()
        self._handling = False
        self._ending = False
        self._sample = events.MemorySampled({})
        self._timer: asyncio.TimerHandle | None = None
        self._carry_out: dict[type, Callable[..., None]] = {
            instructions.Dispatch: self.predictions.dispatch,
            instructions.Fail: self._fail,
            instructions.StartWorker: self._start,
            instructions.StopWorker: lambda do: self.supervisor.stop(do.instance, kill=do.kill),
            instructions.SleepWorker: lambda do: self.supervisor.send(do.instance, Sleep(), ()),
            instructions.WakeWorker: lambda do: self.supervisor.send(do.instance, Wake(), ()),
            instructions.FreeWorkerDram: lambda do: self.supervisor.send(
                do.instance, FreeDram(), ()
            ),
            instructions.Complete: lambda do: self._complete(do.operation, do),
            instructions.LeaseGranted: lambda do: self._complete(do.lease, do),
            instructions.LeaseLost: self._lease_lost,
            instructions.CloseDirect: self.direct_broker.close,
            instructions.ReloadModel: self._load_again,
            instructions.Learn: self.instances.learn,
            instructions.Evicted: self.instances.evicted,
        }

    # What clients want

    def predict(
        self, client: Client, request: Predict, payload: tuple[Buffer, ...], timeout: float
    ) -> None:
        """Have a prediction made; its answer goes to the client when it is there."""
        question, answered = self.predictions.from_memory(client, request, payload)
        if answered:
            return
        now = self._loop.time()
        operation = self._new_operation(client)
        waiting = PendingPrediction(client, request, payload, now, question)
        self.predictions.waiting[operation] = waiting
        deadline = now + timeout
        batch_key, rows = self.predictions.fit(request)
        self.feed(
            events.RequestArrived(
                operation,
                request.model,
                deadline,
                request.priority,
                request.lease,
                batch_key,
                rows,
                keep_alive=keep_alive_seconds(request.keep_alive),
            )
        )

    def acquire(
        self,
        client: Client,
        request: Acquire,
        timeout: float,
        granted: Callable[[instructions.LeaseGranted], None],
    ) -> None:
        """Have an instance leased; ``granted`` is called once it is."""
        operation = self._new_operation(client)
        self._operations[operation] = PendingOperation(client, request.name, granted)
        deadline = self._loop.time() + timeout
        destroy = request.destroy_after_use
        self.feed(events.LeaseRequested(operation, request.name, deadline, destroy))

    def shrink(
        self, client: Client, request: Shrink, completed: Callable[[instructions.Complete], None]
    ) -> None:
        """Have idle instances ended; ``completed`` is called once their memory is free."""
        operation = self._new_operation(client)
        self._operations[operation] = PendingOperation(client, request.name or "", completed)
        self.feed(events.ShrinkRequested(operation, request.name, request.keep))

    def load(
        self,
        client: Client,
        model: str,
        device: str | None,
        timeout: float,
        completed: Callable[[instructions.Complete], None],
        failed: Callable[[SireError], None] | None = None,
        *,
        patient: bool = False,
    ) -> None:
        """Have a model loaded; ``completed`` is called once it is, or ``failed``.

        With ``patient`` a load that goes on is waited for beyond the timeout.
        """
        operation = self._new_operation(client)
        self._operations[operation] = PendingOperation(client, model, completed, failed)
        deadline = self._loop.time() + timeout
        self.feed(events.LoadRequested(operation, model, device, deadline, patient))

    def sleep(
        self,
        client: Client,
        model: str,
        timeout: float,
        completed: Callable[[instructions.Complete], None],
    ) -> None:
        """Have a model sleep in main memory; ``completed`` is called once it does."""
        operation = self._new_operation(client)
        self._operations[operation] = PendingOperation(client, model, completed)
        self.feed(events.SleepRequested(operation, model, self._loop.time() + timeout))

    def unload(
        self, client: Client, model: str, completed: Callable[[instructions.Complete], None]
    ) -> None:
        """Have a model unloaded; ``completed`` is called once its memory is free."""
        operation = self._new_operation(client)
        self._operations[operation] = PendingOperation(client, model, completed)
        self.feed(events.UnloadRequested(operation, model))

    def cancel(self, client: Client) -> None:
        """Withdraw a request; nothing happens when it was answered already."""
        if (operation := self._operations_by_client.get(client)) is not None:
            self.feed(events.RequestCancelled(operation))

    def cancel_all_from(self, connections: frozenset[bytes]) -> None:
        """Withdraw whatever was asked for over these connections."""
        for client in [
            client for client in self._operations_by_client if client.connection in connections
        ]:
            self.cancel(client)

    def expected_wait(self, client: Client) -> float | None:
        """Seconds until this prediction is begun; None where nobody can tell, or it has ended."""
        operation = self._operations_by_client.get(client)
        place = None if operation is None else self.brain.position(operation)
        return None if place is None else place[1]

    def _new_operation(self, client: Client) -> int:
        operation = self._next_ticket
        self._next_ticket += 1
        self._operations_by_client[client] = operation
        return operation

    @property
    def unanswered(self) -> int:
        """Predictions and wishes that wait for their answer."""
        self.direct_broker.catch_up()
        return len(self.predictions.waiting) + len(self._operations) + self.direct.busy

    def memory_by_model(self) -> dict[str, int]:
        """Bytes that the instances of each loaded model are charged on their devices."""
        fleet, charged = self.brain.fleet, Counter[str]()
        for number, instance in fleet.instances.items():
            charged[instance.model.name] += fleet.ledger.charge(number)
        return charged

    # Events

    def feed(self, event: Event) -> None:
        """Tell the brain what happened, and do what it says."""
        self._events.append(event)
        if self._handling:  # an instruction made something happen at once: it has its turn next
            return
        self._handling = True
        try:
            while self._events:
                event = self._events.popleft()
                if self.direct and not isinstance(event, events.RequestFinished):
                    for used in list(self.direct.news()):
                        self._handle(used)
                if isinstance(event, MEMORY_CHANGES):
                    self._handle(self._sampled())
                self._handle(event)
        finally:
            self._handling = False
        self._set_timer()

    def _handle(self, event: Event) -> None:
        for instruction in self.brain.handle(event, self._loop.time()):
            self._carry_out[type(instruction)](instruction)

    def end_workers(self) -> None:
        """End every worker, whatever it is doing, and tell those who waited for an answer."""
        self._ending = True
        self.supervisor.standby.close()
        for operation in [*self.predictions.waiting, *self._operations]:
            error = DaemonUnavailable("The daemon was stopped before this was done.")
            self._fail(instructions.Fail(operation, error))
        for instance in self.brain.fleet.instances:
            self.supervisor.stop(instance, kill=True)

    def sample(self) -> None:
        """Tell the brain how full the devices are."""
        self.feed(self._sampled())

    def _sampled(self) -> events.MemorySampled:
        # Where even that cannot be read, out of descriptors perhaps, it is as it was: what this
        # is asked for has happened all the same.
        with contextlib.suppress(OSError):
            free, main = self._inventory.free(), self._inventory.main_memory_free()
            self._sample = events.MemorySampled(free, main, self._inventory.lost)
        return self._sample

    def _set_timer(self) -> None:
        wakeup = self.brain.wakeup
        if self._timer is not None:
            if self._timer.when() <= wakeup and not self._timer.cancelled():
                return
            self._timer.cancel()
        self._timer = None if wakeup == FOREVER else self._loop.call_at(wakeup, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.feed(events.TimerFired())

    # What workers say

    def _heard(self, instance: int, message: FromWorker, payload: tuple[Buffer, ...]) -> None:
        if isinstance(message, RunPart):
            self.predictions.pass_on(message, payload)
            return
        if isinstance(message, RunResult):
            client, finished = self.predictions.answered(instance, message, payload)
            if client is not None:
                self._operations_by_client.pop(client, None)
            self.feed(finished)
        elif (event := self._worker_events.event(instance, message)) is not None:
            self.feed(event)
        self.predictions.begin_next(instance)

    def _worker_gone(self, instance: int, error: SireError) -> None:
        known = self.brain.fleet.instances[instance]
        expected = known.state_name == "stopping" or self._ending
        self.predictions.worker_gone(instance)
        worked_directly = self.direct.gone(instance, error, expected=expected)
        self.instances.gone(instance, known.device, error, expected=expected)
        self.feed(events.WorkerGone(instance, error, worked_directly))

    # Instructions

    def _start(self, do: instructions.StartWorker) -> None:
        if not self._ending:  # the brain sees a pool shrink, and wants it filled again
            self.instances.start(do)

    def _free_dram(self, do: instructions.FreeWorkerDram) -> None:
        self.supervisor.send(do.instance, FreeDram(), ())

    def _fail(self, do: instructions.Fail) -> None:
        waiting: PendingPrediction | PendingOperation | None = self.predictions.forget(do.request)
        waiting = waiting or self._operations.pop(do.request, None)
        if waiting is None:  # the daemon is ending, and has told them
            return
        model = waiting.predict.model if isinstance(waiting, PendingPrediction) else waiting.model
        self._operations_by_client.pop(waiting.client, None)
        if not isinstance(do.error, Cancelled) and model in self.brain.models:
            self.statistics.of(model).failed(do.error.code, str(do.error))
        if isinstance(waiting, PendingOperation) and waiting.failed is not None:
            waiting.failed(do.error)
        else:
            self._front.fail(waiting.client, do.error)

    def _complete(self, number: int, do: instructions.Complete | instructions.LeaseGranted) -> None:
        operation = self._operations.pop(number, None)
        if operation is None:
            return
        self._operations_by_client.pop(operation.client, None)
        # The brain's state is whole only after all its instructions: answer then.
        self._loop.call_soon(partial(operation.completed, do))

    def _load_again(self, do: instructions.ReloadModel) -> None:
        log.warning("%s was lost with its device and is loaded elsewhere", do.model)
        client, seconds = asked_by_daemon(do.model), self.brain.rules.load_timeout
        self.load(client, do.model, None, seconds, lambda _: None, lambda _: None, patient=True)

    def _lease_lost(self, do: instructions.LeaseLost) -> None:
        log.info("lease %d is lost: %s", do.lease, do.error.message)
