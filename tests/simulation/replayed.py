"""The simulation's invariants over a recording: ``check(lines)``.

A recording has no world of its own, so one is rebuilt from it: events report what processes hold
and what clients ask for, instructions say what became of both.
"""

from typing import Any

from sire.units import FOREVER
from sired.scheduler import events, instructions
from sired.scheduler.events import Event, RequestFinished
from sired.scheduler.instructions import Instruction
from sired.scheduler.recording import Recording, difference
from sired.scheduler.replay import built_in
from tests.simulation.invariants import Invariants
from tests.simulation.record import Record, ensure
from tests.simulation.world import Worker


class ReplayedWorld:
    """The processes behind a recording; it changes by what is recorded, never by itself."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.now = 0.0
        self.workers: dict[int, Worker] = {}
        self.progressed_at: dict[str, float] = {}
        self._event: Event | None = None

    # Before an event is handled: what it reports

    def observe(self, event: Event) -> None:  # noqa: C901 (a table of events)
        self._event = event
        match event:
            case events.RequestArrived():
                how = {"lease": event.lease, "key": event.batch_key, "rows": event.rows}
                how["slot"] = event.slot
                self._begin(event.request, "request", event.model, event.deadline, **how)
            case events.LoadRequested():
                self._begin(
                    event.operation, "load", event.model, event.deadline, patient=event.patient
                )
            case events.SleepRequested():
                self._begin(event.operation, "sleep", event.model, event.deadline)
            case events.LeaseRequested():
                self._begin(event.lease, "lease", event.model, event.deadline)
            case events.UnloadRequested():
                self._begin(event.operation, "unload", event.model)
            case events.ShrinkRequested():
                self._begin(event.operation, "shrink", event.model or "")
            case events.LeaseReturned():
                self.record.held.pop(event.lease, None)
            case events.MemorySampled():
                for instance, told in event.loading:
                    self.workers[instance].told = told
            case events.RequestFinished():
                self._finished(event)
            case events.WorkerGone():
                del self.workers[event.instance]
                self.record.requeue(event.instance)
            case _ if hasattr(event, "instance"):
                self._changed(self.workers[event.instance], event)

    def _begin(
        self, number: int, kind: str, model: str, deadline: float = FOREVER, **how: Any
    ) -> None:
        self.record.last = number - 1
        self.record.begin(kind, model, self.now, deadline, **how)

    def _finished(self, event: RequestFinished) -> None:
        worker = self.workers[event.instance]
        worker.measured = max(worker.measured, event.peak)
        if event.request in self.record.open:
            self.record.open[event.request].worker = None
            if event.error is None:
                self.record.answer(event.request, "answered")

    def _changed(self, worker: Worker, event: Event) -> None:
        match event:
            case events.LoadProgressed():
                worker.alive_at = self.progressed_at[worker.model.name] = self.now
            case events.WorkerReady():
                worker.state, worker.loaded = "ready", True
                worker.measured, worker.sleep_memory = event.memory, event.sleep_memory
                worker.dram, worker.in_dram = event.dram_memory, event.dram_memory > 0
            case events.WorkerSlept():
                worker.state, worker.measured = "asleep", event.device_memory
                worker.dram, worker.in_dram = event.dram_memory, True
            case events.WorkerDramFreed():
                worker.dram, worker.in_dram, worker.freeing = 0, False, False
            case events.DirectOpened():
                worker.direct = True
            case events.DirectUsed():
                worker.direct_busy = event.busy
                worker.measured = max(worker.measured, event.peak)
                abandoned_at = min(worker.abandoned_at, self.now)
                worker.abandoned_at = abandoned_at if event.abandoned else FOREVER

    def _requests_wait_again(self, instance: int) -> bool:
        """Whether the event ends an instance whose requests run again elsewhere.

        One of them ran out of memory, or its device was lost.
        """
        match self._event:
            case events.RequestFinished(out_of_memory=True, instance=ran_out):
                return ran_out == instance
            case events.MemorySampled(lost=lost):
                return self.workers[instance].device in lost
        return False

    # After it was handled: what became of processes and operations

    def execute(self, do: Instruction) -> None:  # noqa: C901 (a table of instructions)
        match do:
            case instructions.StartWorker():
                self.workers[do.instance] = Worker(
                    do.instance, do.model, do.device, do.memory, self.now
                )
                self.progressed_at[do.model.name] = self.now
            case instructions.StopWorker():
                self.workers[do.instance].state = "ending"
                if self._requests_wait_again(do.instance):
                    self.record.requeue(do.instance)
            case instructions.SleepWorker() | instructions.WakeWorker():
                worker = self.workers[do.instance]
                worker.in_dram, worker.alive_at, worker.state = True, self.now, "moving"
            case instructions.FreeWorkerDram():
                self.workers[do.instance].freeing = True
            case instructions.CloseDirect():
                self.workers[do.instance].direct = False
            case instructions.Dispatch():
                for number in do.requests:
                    self.record.open[number].worker = do.instance
            case instructions.Fail():
                self.record.answer(do.operation, do.error.code)
            case instructions.Complete():
                self.record.answer(do.operation, "completed")
            case instructions.LeaseGranted():
                lease = self.record.answer(do.lease, "granted")
                lease.worker = do.instance
                self.record.held[do.lease] = lease


def check(lines: list[str]) -> dict[str, int]:
    """Replay a recording; returns the answers by kind and outcome.

    Raises:
        Violation: an instruction differs from the recorded one, or an invariant does not hold.
    """
    recording = Recording(lines, built_in)
    record = Record()
    world = ReplayedWorld(record)
    invariants = Invariants(recording.brain, world, record)
    for step in recording.steps():
        world.now = step.now
        world.observe(step.event)
        invariants.prepare(step.event)
        given = recording.brain.handle(step.event, step.now)
        ensure(not (found := difference(step, given)), found)
        for do in given:
            world.execute(do)
        invariants.check(step.event, given)
    return record.answers
