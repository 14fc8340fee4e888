"""Which instructions are allowed, one at a time; any other is a violation.

The simulation's own record decides, not the scheduler's state.
"""

from collections.abc import Callable
from typing import Any

from sire.errors import DeadlineExceeded
from sire.units import FOREVER
from sired.scheduler import events
from sired.scheduler.brain import Brain
from sired.scheduler.entities.model import Model
from sired.scheduler.events import Event
from sired.scheduler.instructions import (
    Complete,
    Dispatch,
    Evicted,
    Fail,
    FreeWorkerDram,
    Instruction,
    LeaseGranted,
    LeaseLost,
    SleepWorker,
    StartWorker,
    StopWorker,
    WakeWorker,
)
from tests.simulation.record import Operation, Record, ensure
from tests.simulation.world import Worker, World

ForInstance = (
    Dispatch | Evicted | FreeWorkerDram | LeaseGranted | SleepWorker | StopWorker | WakeWorker
)


class Allowed:
    """Checks each instruction just before it is executed."""

    def __init__(self, brain: Brain, world: World, record: Record) -> None:
        self.brain, self.world, self.record = brain, world, record
        self._event: Event | None = None
        self._leased: set[int] = set()
        self._evicted: set[int] = set()
        self._ending: dict[int, set[int]] = {}
        self._checks: dict[type, Callable[[Any], None]] = {
            StartWorker: self._start,
            StopWorker: self._stop,
            SleepWorker: self._sleep,
            WakeWorker: self._wake,
            FreeWorkerDram: self._free_dram,
            Dispatch: self._dispatch,
            Evicted: self._evict,
            Fail: self._fail,
            Complete: self._complete,
            LeaseGranted: self._granted,
            LeaseLost: self._lost,
        }

    def prepare(self, event: Event) -> None:
        """Record what the instructions for this event will be checked against."""
        self._event = event
        self._evicted.clear()
        instances = self.brain.fleet.instances.values()
        self._leased = {instance.id for instance in instances if instance.lease}
        for worker in self._to_be_ended(event):
            worker.to_be_ended = True
        if isinstance(event, events.UnloadRequested):
            self._ending[event.operation] = {worker.instance for worker in self._of(event.model)}

    def check(self, do: Instruction) -> None:
        """Raise Violation unless this instruction is allowed now."""
        if type(do) in self._checks:
            self._checks[type(do)](do)

    def _to_sleep(self) -> set[str]:
        """The models that open operations put to sleep."""
        return {self.record.open[number].model for number in self.record.numbers("sleep")}

    def _of(self, model: str | None) -> list[Worker]:
        return [w for w in self.world.workers.values() if model in (None, w.model.name)]

    def _to_be_ended(self, event: Event) -> list[Worker]:
        """The workers that an event ends explicitly, although they may be pinned or leased."""
        match event:
            case events.ModelAdded():
                return self._of(event.model.name)
            case events.ModelRemoved() | events.UnloadRequested() | events.SleepRequested():
                return self._of(event.model)
            case events.ModelPinned():  # too late for those that are ending already
                instances = self.brain.fleet.instances
                return [w for w in self._of(event.model) if not instances[w.instance].accepting]
            case events.WorkerReady():  # it may have been loaded to sleep, and find no room then
                worker = self.world.workers[event.instance]
                return [worker] if worker.model.name in self._to_sleep() else []
            case events.LoadRequested() if event.device not in (None, "auto"):
                return [w for w in self._of(event.model) if w.device != event.device]
            case events.ShrinkRequested():
                return [w for w in self._of(event.model) if w.instance not in self._leased]
            case events.LeaseReturned():
                used = self.brain._leases._held.get(event.lease)
                if used is None or not used.destroy or not used.granted:
                    return []
                assert used.instance is not None, "a lease that was granted has an instance"
                return [self.world.workers[used.instance]]
        return []

    # Starting and ending

    def _start(self, do: StartWorker) -> None:
        rules, name = self.brain.rules, do.model.name
        ensure(do.instance not in self.world.workers, "started twice", do)
        self._responds(do.device, do)
        ensure(
            self.brain.models.get(name) is do.model, "started a model that is not registered", do
        )
        there = [w for w in self._of(name) if w.model is do.model and w.state != "ending"]
        ensure(there or self.needed(name), "loads a model that nothing waits for", do)
        loaded = {worker.model for worker in self.world.workers.values()}
        most = rules.max_models
        ensure(not most or do.model in loaded or len(loaded) < most, "too many models", do)
        accepting = sum(i.accepting for i in self.brain.fleet.of(do.model))
        ensure(accepting <= self.brain.fleet.max_instances(do.model), "too many instances", do)

    def _stop(self, do: StopWorker) -> None:
        worker = self._known(do)
        if worker.device in self.world.lost and isinstance(self._event, events.MemorySampled):
            ensure(do.kill, "did not kill what a lost device ran", do)
            self.record.requeue(worker.instance)
        elif not worker.loaded:
            self._stop_loading(do, worker)
        elif self._ran_out(worker):
            self.record.requeue(worker.instance)
        elif worker.unanswered or worker.direct_busy:
            ensure(do.kill and self._hangs(worker), "ended a busy worker", do, worker)
        else:
            self._stop_idle(do, worker)

    def _responds(self, device: str, do: StartWorker | WakeWorker) -> None:
        world = self.world
        there = device not in world.lost | world.silent
        ensure(there, "placed on a device that does not respond", do)
        rests_until = world.failed_at.get(device, -FOREVER) + self.brain.rules.retry_after
        ensure(rests_until <= world.now, "placed on a device that has to rest", do)

    def _failed(self, do: StopWorker, worker: Worker) -> bool:
        """Whether it failed to load, fall asleep or wake, or takes too long."""
        failures = (events.WorkerLoadFailed, events.SleepFailed)
        failed = isinstance(self._event, failures) and self._event.instance == do.instance
        return failed or self.world.now - worker.alive_at >= self.brain.rules.load_timeout

    def _stop_loading(self, do: StopWorker, worker: Worker) -> None:
        unneeded = not self.needed(worker.model.name)
        reason = self._failed(do, worker) or unneeded or worker.to_be_ended
        ensure(reason, "ended a load that something waits for", do, worker)

    def _stop_idle(self, do: StopWorker, worker: Worker) -> None:
        leased = any(lease.worker == do.instance for lease in self.record.held.values())
        ensure(worker.to_be_ended or not leased, "ended a leased instance", do, worker)
        # Idle instances of a pinned model beyond its minimum may expire.
        others = any(i.accepting for i in self.brain.fleet.of(worker.model))
        changes = worker.state in ("falling asleep", "waking", "dead")
        failed = changes and self._failed(do, worker)
        failed = failed or self._exceeds(do, worker)
        may_end = not worker.model.pinned or worker.to_be_ended or failed
        ensure(
            may_end or (others and do.instance not in self._evicted), "ended a pinned instance", do
        )

    def _exceeds(self, do: StopWorker, worker: Worker) -> bool:
        """Whether its load has just exceeded the memory declared for its model."""
        event, most = self._event, worker.model.declared
        if (
            not isinstance(event, events.WorkerReady)
            or event.instance != do.instance
            or most is None
        ):
            return False
        return event.memory > most

    # Tiers

    def _sleep(self, do: SleepWorker) -> None:
        worker = self._known(do)
        ensure(
            worker.state in ("ready", "dead") and worker.loaded,
            "suspended a worker that is not ready",
            worker,
        )
        ensure(not worker.unanswered, "suspended a busy worker", worker)
        ensure(not worker.direct_busy, "suspended a busy worker", worker)
        ensure(
            worker.sleep_memory and not worker.freeing,
            "suspended a worker that cannot sleep",
            worker,
        )
        leased = any(lease.worker == do.instance for lease in self.record.held.values())
        requested = worker.to_be_ended or worker.model.name in self._to_sleep()
        kept = leased or worker.model.pinned
        ensure(requested or not kept, "suspended a leased or pinned instance", worker)
        dram = self.brain.fleet.ledger.dram
        ensure(dram.charged <= dram.capacity, "suspended beyond main memory", worker)

    def _free_dram(self, do: FreeWorkerDram) -> None:
        worker = self._known(do)
        awake = worker.state in ("ready", "dead") and worker.in_dram
        ensure(awake and not worker.freeing, "freed main memory that is not kept", worker)

    def _wake(self, do: WakeWorker) -> None:
        worker = self._known(do)
        ensure(
            worker.state in ("asleep", "dead") and worker.in_dram,
            "woke a worker that is not asleep",
            worker,
        )
        self._responds(worker.device, do)
        there = [w for w in self._of(worker.model.name) if w.model is worker.model]
        pool = any(w.state in ("ready", "dead") and w is not worker for w in there)
        ensure(
            pool or self.needed(worker.model.name), "woke a model that nothing waits for", worker
        )
        accepting = sum(i.accepting for i in self.brain.fleet.of(worker.model))
        ensure(accepting <= self.brain.fleet.max_instances(worker.model), "too many instances", do)

    def _evict(self, do: Evicted) -> None:
        worker = self._known(do)
        self._evicted.add(do.instance)
        ensure(not worker.model.pinned, "evicted a pinned instance", do, worker)
        frees = (
            events.LeaseReturned,
            events.RequestCancelled,
            events.TimerFired,
            events.ModelRemoved,
        )
        kept = do.instance in self._leased and not isinstance(self._event, frees)
        ensure(not kept, "evicted a leased instance", do, worker)
        loading = not worker.loaded and self.needed(worker.model.name)
        ensure(not loading, "evicted a load that something waits for", do, worker)

    def _ran_out(self, worker: Worker) -> bool:
        event = self._event
        if not isinstance(event, events.RequestFinished):
            return False
        return event.out_of_memory and event.instance == worker.instance

    def _hangs(self, worker: Worker) -> bool:
        """Whether nothing waits any more for what it works on."""
        if worker.abandoned_at + self.brain.rules.hung_after <= self.world.now:
            return True
        at_work = worker.batches[0] if worker.batches else ()
        return bool(at_work) and not any(number in self.record.open for number in at_work)

    # Requests

    def _dispatch(self, do: Dispatch) -> None:
        worker, name = self._known(do), self._known(do).model.name
        ensure(self.record.open.keys() >= {*do.requests}, "dispatched an answered request", do)
        requests = [self.record.open[number] for number in do.requests]
        ensure(not any(r.worker for r in requests), "dispatched twice", do)
        ready = worker.state in ("ready", "dead") and worker.loaded
        ensure(ready, "dispatched to a worker that is not ready", worker, do)
        ensure(all(r.model == name for r in requests), "dispatched to another model", do)
        most = self.brain.rules.pipeline if worker.model.pipelined else 1
        ensure(len(worker.batches) < most, "exceeded the pipeline", do)
        self._check_lease(do, requests)
        self._check_batch(do, worker.model, requests)
        first = self.record.waiting(requests[0].model, requests[0].lease)[0]
        ensure(requests[0] is first, "dispatched out of order", do, first)

    def _check_lease(self, do: Dispatch, requests: list[Operation]) -> None:
        held = [n for n, lease in self.record.held.items() if lease.worker == do.instance]
        lease = held[0] if held else None
        ensure(all(r.lease == lease for r in requests), "dispatched past a lease", do, lease)

    def _check_batch(self, do: Dispatch, model: Model, requests: list[Operation]) -> None:
        if len(requests) > 1:
            keys = {r.key for r in requests}
            ensure(len(keys) == 1 and None not in keys, "mixed keys in one batch", do, keys)
            ensure(sum(r.rows for r in requests) <= model.batch_size, "too large a batch", do)
            order = [r.order for r in requests]
            ensure(order == sorted(order), "a batch out of order", do)

    # Answers

    def _fail(self, do: Fail) -> None:
        operation = self.record.open.get(do.operation)
        expired = operation is None or operation.deadline <= self.world.now
        late = not isinstance(do.error, DeadlineExceeded) or expired
        ensure(late, "failed before its deadline", do, operation)
        taken = operation is not None and operation.slot and operation.worker is not None
        ensure(not taken or not isinstance(do.error, DeadlineExceeded), "ended a slot", do)
        if "models in memory at once" in do.error.message:
            pinned = {worker.model for worker in self.world.workers.values() if worker.model.pinned}
            ensure(
                len(pinned) >= self.brain.rules.max_models, "rejected although a slot is free", do
            )

    def _complete(self, do: Complete) -> None:
        operation = self.record.open.get(do.operation)
        ensure(
            operation is None or operation.kind in ("load", "unload", "shrink", "sleep"),
            "completed something that is no operation",
            do,
        )
        left = self._ending.pop(do.operation, set()) & self.world.workers.keys()
        ensure(not left, "completed before the memory is free", do, left)
        worker = None if do.instance is None else self.world.workers.get(do.instance)
        if operation and operation.kind == "load":
            ensure(worker is not None and worker.state in ("ready", "dead"), "not loaded", do)
        if operation and operation.kind == "sleep":
            ensure(worker is not None and worker.state in ("asleep", "dead"), "not asleep", do)

    def _granted(self, do: LeaseGranted) -> None:
        worker = self._known(do)
        ensure(worker.state in ("ready", "dead"), "leased a worker that is not ready", do)
        ensure(not worker.unanswered, "leased a busy worker", do, worker)
        ensure(not worker.direct_busy, "leased a busy worker", do, worker)
        taken = any(lease.worker == do.instance for lease in self.record.held.values())
        ensure(not taken, "leased twice", do)

    def _lost(self, do: LeaseLost) -> None:
        lease = self.record.held.get(do.lease)
        ensure(lease is not None and lease.worker is not None, "lost a lease that is not held", do)

    # The record

    def _known(self, do: ForInstance) -> Worker:
        ensure(do.instance in self.world.workers, "an instruction for an instance that is gone", do)
        worker = self.world.workers[do.instance]
        ensure(worker.state != "ending", "an instruction for an instance that is ending", do)
        return worker

    def needed(self, model: str) -> bool:
        """Whether anything waits for an instance of a model."""
        leases = self.brain.queues.leases.values()
        unserved = {lease.id for lease in leases if lease.instance is None}
        return any(
            operation.model == model
            and operation.worker is None
            and (
                (operation.kind == "request" and operation.lease is None)
                or operation.kind == "load"
                or (operation.kind == "sleep" and operation.number in self.brain.queues.operations)
                or (operation.kind == "lease" and operation.number in unserved)
            )
            for operation in self.record.open.values()
        )
