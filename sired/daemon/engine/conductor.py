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
from sired.daemon.direct.connections import DirectLines
from sired.daemon.engine.direct_broker import Usher
from sired.daemon.engine.instances import Instances, grant
from sired.daemon.engine.pending import Waiting, Wish
from sired.daemon.engine.predictions import Predictions
from sired.daemon.engine.replies import Answering, asked_by_daemon
from sired.daemon.engine.worker_events import Hearing
from sired.daemon.supervisor.supervisor import Crew
from sired.daemon.telemetry.counters import Statistics
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
    events.LoadFailed,
    events.LoadWanted,
    events.SleepWanted,
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
        front: Answering,
        inventory: Inventory,
        registry: Registry,
        footprints: Footprints,
        zygote: Zygote,
        paths: Paths,
    ) -> None:
        self.brain = brain
        stand_by = {grant(device, paths): device.standby for device in inventory.devices}
        self.crew = Crew(loop, zygote, self._heard, self._worker_gone, stand_by, paths.standby_log)
        self.statistics = Statistics()
        self.instances = Instances(
            self.crew, inventory, registry, footprints, self.statistics, paths
        )
        self.predictions = Predictions(
            loop, brain, front, self.crew, self.instances, self.statistics
        )
        self.direct = DirectLines(loop, self.statistics, self.crew.pass_on)
        self.usher = Usher(loop, brain, self.instances, self.direct, self.feed)
        self._loop = loop
        self._hearing = Hearing(brain, self.instances)
        self._front = front
        self._inventory = inventory
        self._wishes: dict[int, Wish] = {}
        self._tickets: dict[Client, int] = {}
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
            instructions.StopWorker: lambda do: self.crew.stop(do.instance, kill=do.kill),
            instructions.SleepWorker: lambda do: self.crew.send(do.instance, Sleep(), ()),
            instructions.WakeWorker: lambda do: self.crew.send(do.instance, Wake(), ()),
            instructions.FreeDram: lambda do: self.crew.send(do.instance, FreeDram(), ()),
            instructions.Fulfil: lambda do: self._fulfil(do.wish, do),
            instructions.LeaseGranted: lambda do: self._fulfil(do.lease, do),
            instructions.LeaseLost: self._lease_lost,
            instructions.CloseDirect: self.usher.close,
            instructions.LoadAgain: self._load_again,
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
        ticket = self._ticket(client)
        waiting = Waiting(client, request, payload, now, question)
        self.predictions.waiting[ticket] = waiting
        deadline = now + timeout
        batch_key, rows = self.predictions.fit(request)
        self.feed(
            events.RequestArrived(
                ticket,
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
        ticket = self._ticket(client)
        self._wishes[ticket] = Wish(client, request.name, granted)
        deadline = self._loop.time() + timeout
        destroy = request.destroy_after_use
        self.feed(events.LeaseWanted(ticket, request.name, deadline, destroy))

    def shrink(
        self, client: Client, request: Shrink, fulfilled: Callable[[instructions.Fulfil], None]
    ) -> None:
        """Have idle instances ended; ``fulfilled`` is called once their memory is free."""
        ticket = self._ticket(client)
        self._wishes[ticket] = Wish(client, request.name or "", fulfilled)
        self.feed(events.ShrinkWanted(ticket, request.name, request.keep))

    def load(
        self,
        client: Client,
        model: str,
        device: str | None,
        timeout: float,
        fulfilled: Callable[[instructions.Fulfil], None],
        failed: Callable[[SireError], None] | None = None,
        *,
        patient: bool = False,
    ) -> None:
        """Have a model loaded; ``fulfilled`` is called once it is, or ``failed``.

        With ``patient`` a load that goes on is waited for beyond the timeout.
        """
        ticket = self._ticket(client)
        self._wishes[ticket] = Wish(client, model, fulfilled, failed)
        deadline = self._loop.time() + timeout
        self.feed(events.LoadWanted(ticket, model, device, deadline, patient))

    def sleep(
        self,
        client: Client,
        model: str,
        timeout: float,
        fulfilled: Callable[[instructions.Fulfil], None],
    ) -> None:
        """Have a model sleep in main memory; ``fulfilled`` is called once it does."""
        ticket = self._ticket(client)
        self._wishes[ticket] = Wish(client, model, fulfilled)
        self.feed(events.SleepWanted(ticket, model, self._loop.time() + timeout))

    def unload(
        self, client: Client, model: str, fulfilled: Callable[[instructions.Fulfil], None]
    ) -> None:
        """Have a model unloaded; ``fulfilled`` is called once its memory is free."""
        ticket = self._ticket(client)
        self._wishes[ticket] = Wish(client, model, fulfilled)
        self.feed(events.UnloadWanted(ticket, model))

    def cancel(self, client: Client) -> None:
        """Withdraw a request; nothing happens when it was answered already."""
        if (ticket := self._tickets.get(client)) is not None:
            self.feed(events.RequestCancelled(ticket))

    def forsake(self, connections: frozenset[bytes]) -> None:
        """Withdraw whatever was asked for over these connections."""
        for client in [client for client in self._tickets if client.connection in connections]:
            self.cancel(client)

    def expected_wait(self, client: Client) -> float | None:
        """Seconds until this prediction is begun; None where nobody can tell, or it has ended."""
        ticket = self._tickets.get(client)
        place = None if ticket is None else self.brain.position(ticket)
        return None if place is None else place[1]

    def _ticket(self, client: Client) -> int:
        ticket = self._next_ticket
        self._next_ticket += 1
        self._tickets[client] = ticket
        return ticket

    @property
    def unanswered(self) -> int:
        """Predictions and wishes that wait for their answer."""
        self.usher.catch_up()
        return len(self.predictions.waiting) + len(self._wishes) + self.direct.busy

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
        self.crew.standby.close()
        for ticket in [*self.predictions.waiting, *self._wishes]:
            error = DaemonUnavailable("The daemon was stopped before this was done.")
            self._fail(instructions.Fail(ticket, error))
        for instance in self.brain.fleet.instances:
            self.crew.stop(instance, kill=True)

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
        self.feed(events.Woken())

    # What workers say

    def _heard(self, instance: int, message: FromWorker, payload: tuple[Buffer, ...]) -> None:
        if isinstance(message, RunPart):
            self.predictions.pass_on(message, payload)
            return
        if isinstance(message, RunResult):
            client, finished = self.predictions.answered(instance, message, payload)
            if client is not None:
                self._tickets.pop(client, None)
            self.feed(finished)
        elif (event := self._hearing.event(instance, message)) is not None:
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

    def _fail(self, do: instructions.Fail) -> None:
        waiting: Waiting | Wish | None = self.predictions.forget(do.request)
        waiting = waiting or self._wishes.pop(do.request, None)
        if waiting is None:  # the daemon is ending, and has told them
            return
        model = waiting.predict.model if isinstance(waiting, Waiting) else waiting.model
        self._tickets.pop(waiting.client, None)
        if not isinstance(do.error, Cancelled) and model in self.brain.models:
            self.statistics.of(model).failed(do.error.code, str(do.error))
        if isinstance(waiting, Wish) and waiting.failed is not None:
            waiting.failed(do.error)
        else:
            self._front.fail(waiting.client, do.error)

    def _fulfil(self, number: int, do: instructions.Fulfil | instructions.LeaseGranted) -> None:
        wish = self._wishes.pop(number, None)
        if wish is None:
            return
        self._tickets.pop(wish.client, None)
        # The brain's state is whole only after all its instructions: answer then.
        self._loop.call_soon(partial(wish.fulfilled, do))

    def _load_again(self, do: instructions.LoadAgain) -> None:
        log.warning("%s was lost with its device and is loaded elsewhere", do.model)
        client, seconds = asked_by_daemon(do.model), self.brain.rules.load_timeout
        self.load(client, do.model, None, seconds, lambda _: None, lambda _: None, patient=True)

    def _lease_lost(self, do: instructions.LeaseLost) -> None:
        log.info("lease %d is lost: %s", do.lease, do.error.message)
