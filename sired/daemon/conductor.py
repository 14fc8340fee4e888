"""Between the brain and the world: carries out instructions, turns what happens into events."""

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from itertools import chain

from sired.daemon import batches
from sired.daemon.answers import Answering, asked_by_daemon
from sired.daemon.crew import Crew
from sired.daemon.direct import DirectLines
from sired.daemon.hearing import Hearing
from sired.daemon.instances import Instances, grant
from sired.daemon.result_cache import Answer, Question, ResultCache
from sired.daemon.stats import Statistics
from sired.daemon.usher import Usher
from sired.daemon.waiting import Waiting, Wish
from sired.devices.inventory import Inventory
from sired.errors import Cancelled, DaemonUnavailable, SireError
from sired.paths import Paths
from sired.protocol.content import Buffer, size_of
from sired.protocol.replies import Part, Prediction
from sired.protocol.requests import Acquire, Predict, Shrink
from sired.protocol.runs import RunModel, RunPart, RunResult
from sired.scheduler import events, instructions
from sired.scheduler.brain import Brain
from sired.scheduler.events import Event
from sired.server.front import Client
from sired.spec import keep_alive_seconds
from sired.store.footprints import Footprints
from sired.store.registry import Registry
from sired.units import FOREVER
from sired.workers.messages import (
    FreeDram,
    FromWorker,
    RunBatch,
    Sleep,
    StopStream,
    Wake,
)
from sired.workers.zygote import Zygote

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
        results: the answers kept for models that are cached.
        direct: the clients that talk to workers themselves, and
        usher: leads them there.
        begun: called with who asked for a prediction when a worker begins to work on it.
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
        self.results = ResultCache()
        self.direct = DirectLines(loop, self.statistics, self.crew.pass_on)
        self.usher = Usher(loop, brain, self.instances, self.direct, self.feed)
        self.begun: Callable[[Client], None] = lambda _: None
        self._loop = loop
        self._hearing = Hearing(brain, self.instances)
        self._front = front
        self._inventory = inventory
        self._waiting: dict[int, Waiting] = {}
        self._wishes: dict[int, Wish] = {}
        self._tickets: dict[Client, int] = {}
        # Answers that are being made in parts, and by which instance.
        self._streams: dict[int, int] = {}
        self._next_ticket = 1
        self._events: deque[Event] = deque()
        self._handling = False
        self._ending = False
        self._sample = events.MemorySampled({})
        self._timer: asyncio.TimerHandle | None = None
        self._carry_out: dict[type, Callable[..., None]] = {
            instructions.Dispatch: self._dispatch,
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
        # Who has leased an instance wants that one to work, and parts are not kept.
        alone = request.lease or request.stream
        question = None if alone else self.results.question(request, payload)
        if question is not None and self._answered_before(client, question):
            return
        now = self._loop.time()
        ticket = self._ticket(client)
        self._waiting[ticket] = Waiting(client, request, payload, now, question)
        deadline = now + timeout
        batch_key, rows = self._fit(request)
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

    def _fit(self, request: Predict) -> tuple[str | None, int]:
        """What the brain is told of which requests may run together."""
        model = self.brain.models.get(request.model)
        if model is None or model.batch_size == 1 or request.stream:
            return None, 1
        return batches.fit(request, self.instances.signature_of(request.model))

    def _answered_before(self, client: Client, question: Question) -> bool:
        """Answer from the cache, which wants no worker and no place in a queue, if it can."""
        counters = self.statistics.of(question.shelf.model)
        answer = self.results.find(question)
        if answer is None:
            counters.cache_misses += 1
            return False
        counters.cache_hits += 1
        reply = Prediction(
            id=client.request_id,
            content_type=answer.content_type,
            tensors=answer.tensors,
            cached=True,
        )
        self._front.reply(client, reply, answer.frames)
        return True

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
        return len(self._waiting) + len(self._wishes) + self.direct.busy

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
        for ticket in [*self._waiting, *self._wishes]:
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
            self._pass_on(message, payload)
            return
        if isinstance(message, RunResult):
            self._answered(instance, message, payload)
        elif (event := self._hearing.event(instance, message)) is not None:
            self.feed(event)
        self._begin_next(instance)

    def _begin_next(self, instance: int) -> None:
        """Tell whose request a worker is at; those behind it are only at hand."""
        worker = self.brain.fleet.instances.get(instance)
        for request in worker.running if worker is not None else ():
            waiting = self._waiting.get(request.id)
            if waiting is not None:
                self.begun(waiting.client)

    def _pass_on(self, part: RunPart, payload: tuple[Buffer, ...]) -> None:
        """Give a client a part of its answer; nobody hears of those of who has gone."""
        if (waiting := self._waiting.get(part.request)) is not None:
            reply = Part(
                id=waiting.client.request_id, content_type=part.content_type, tensors=part.tensors
            )
            self._front.reply(waiting.client, reply, payload)

    def _answered(self, instance: int, result: RunResult, payload: tuple[Buffer, ...]) -> None:
        waiting = self._waiting.pop(result.request, None)
        self._streams.pop(result.request, None)
        if waiting is not None:  # else it was cancelled or came too late
            self._tickets.pop(waiting.client, None)
            now = self._loop.time()
            latency = now - waiting.arrived
            wait = max(0.0, latency - result.compute_seconds)
            reply = Prediction(
                id=waiting.client.request_id,
                content_type=result.content_type,
                tensors=result.tensors,
                compute_seconds=result.compute_seconds,
                queue_seconds=wait,
            )
            self._front.reply(waiting.client, reply, payload)
            counters = self.statistics.of(waiting.predict.model)
            device = self.brain.fleet.instances[instance].device
            counters.answered(latency, result.compute_seconds, wait, device, now)
            counters.bytes_in += size_of(waiting.payload)
            counters.bytes_out += size_of(payload)
            if waiting.question is not None:
                answer = Answer(result.content_type, result.tensors, payload)
                self.results.keep(waiting.question, answer)
        self.feed(
            events.RequestFinished(
                instance,
                result.request,
                result.peak_memory_bytes,
                seconds=result.compute_seconds,
            )
        )

    def _worker_gone(self, instance: int, error: SireError) -> None:
        known = self.brain.fleet.instances[instance]
        expected = known.state_name == "stopping" or self._ending
        self._streams = {run: at for run, at in self._streams.items() if at != instance}
        worked_directly = self.direct.gone(instance, error, expected=expected)
        self.instances.gone(instance, known.device, error, expected=expected)
        self.feed(events.WorkerGone(instance, error, worked_directly))

    # Instructions

    def _start(self, do: instructions.StartWorker) -> None:
        if not self._ending:  # the brain sees a pool shrink, and wants it filled again
            self.instances.start(do)

    def _dispatch(self, do: instructions.Dispatch) -> None:
        runs = tuple(map(self._run, do.requests))
        for run in runs:
            if run.stream:
                self._streams[run.request] = do.instance
        payloads = [self._waiting[request].payload for request in do.requests]
        model = self.brain.fleet.instances[do.instance].model.name
        self.statistics.of(model).batches[len(runs)] += 1
        if len(runs) == 1:
            self.crew.send(do.instance, runs[0], payloads[0])
        else:
            together = RunBatch(runs, tuple(map(len, payloads)))
            self.crew.send(do.instance, together, tuple(chain.from_iterable(payloads)))
        self._begin_next(do.instance)

    def _run(self, request: int) -> RunModel:
        predict = self._waiting[request].predict
        return RunModel(
            request, predict.content_type, predict.tensors, predict.accept, stream=predict.stream
        )

    def _fail(self, do: instructions.Fail) -> None:
        if (instance := self._streams.pop(do.request, None)) is not None:
            self.crew.send(instance, StopStream(do.request), ())
        waiting: Waiting | Wish | None = self._waiting.pop(do.request, None)
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
