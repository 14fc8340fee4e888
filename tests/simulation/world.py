"""Simulated workers that take time and fail: executes instructions and produces events."""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Any

from sire.errors import InferenceError, InsufficientMemory, LoadFailed, SireError, WorkerCrashed
from sired.scheduler import events
from sired.scheduler.entities.model import Model
from sired.scheduler.events import Event
from sired.scheduler.instructions import (
    CloseDirect,
    Dispatch,
    FreeWorkerDram,
    SleepWorker,
    StartWorker,
    StopWorker,
    WakeWorker,
)
from tests.simulation.record import Record


@dataclass(frozen=True, slots=True)
class Conditions:
    """Probabilities of faults, from 0 to 1, and durations in seconds to choose from."""

    load_fails: float = 0.04
    load_runs_out: float = 0.04
    device_fails: float = 0.02
    load_dies: float = 0.04
    load_hangs: float = 0.01
    dies: float = 0.02
    hangs: float = 0.01
    fails: float = 0.03
    runs_out: float = 0.03
    grows: float = 0.2
    uses_no_gpu: float = 0.1
    cannot_sleep: float = 0.2
    sleep_fails: float = 0.03
    sleeps: float = 0.0005
    load_seconds: tuple[float, ...] = (0.01, 0.3, 1.0, 2.4)
    service_seconds: tuple[float, ...] = (0.001, 0.05, 0.2)
    tier_seconds: tuple[float, ...] = (0.01, 0.1, 0.3)
    end_seconds: tuple[float, ...] = (0.0, 0.1, 0.5)


def without_faults(conditions: Conditions) -> Conditions:
    """The same durations without any faults."""
    loading = ("load_fails", "load_runs_out", "load_dies", "load_hangs", "device_fails")
    later = ("dies", "hangs", "fails", "runs_out", "grows", "sleeps", "sleep_fails")
    none: dict[str, Any] = dict.fromkeys((*loading, *later), 0.0)
    return replace(conditions, **none)


@dataclass(slots=True, eq=False)
class Worker:
    """A process that is loading, ready, falling asleep, asleep, waking, ending or dead.

    Attributes:
        alive_at: when it last made progress.
        freed: its memory is free, just before its exit is reported.
        measured: bytes that it holds on its device; 0 while it loads, or if it does not use it.
        sleep_memory: bytes that would move to main memory if it slept; 0 if it cannot.
        dram: bytes that it holds in main memory.
        told: bytes that the driver said it holds while it loads.
        in_dram: it holds main memory or is about to.
        freeing: it was asked to free the main memory that it kept.
        batches: the batches dispatched to it, oldest first.
        to_be_ended: an explicit operation ends it, whatever its state.
        direct: clients may have direct connections to it.
        direct_busy: it serves a direct connection.
        abandoned_at: since when the client of that connection no longer waits.
    """

    instance: int
    model: Model
    device: str
    reserved: int
    alive_at: float
    state: str = "loading"
    loaded: bool = False
    freed: bool = False
    measured: int = 0
    sleep_memory: int = 0
    dram: int = 0
    in_dram: bool = False
    told: int = 0
    freeing: bool = False
    batches: list[list[int]] = field(default_factory=list)
    to_be_ended: bool = False
    direct: bool = False
    direct_busy: bool = False
    abandoned_at: float = float("inf")

    @property
    def unanswered(self) -> list[int]:
        return [number for batch in self.batches for number in batch]


class World:
    """All workers, and their future events by time.

    Attributes:
        feed: receives every event.
        foreign: bytes that other programs hold, by device.
        lost: GPUs that have vanished; ``silent`` those that their driver does not report on, and
            ``late`` those of which it reports what it did before.
        failed_at: when a load has shown that nothing can be loaded on a GPU, by its name; until
            another load succeeds there.
        lies: the driver makes up what loading processes hold.
        progressed_at: when the last load of a model began or made progress.
        slowest: the longest time to an answer, in seconds by model and priority.
    """

    def __init__(
        self,
        random: Random,
        conditions: Conditions,
        record: Record,
        devices: dict[str, int],
        dram: int = 0,
    ) -> None:
        self.now = 0.0
        self.random, self.conditions, self.record = random, conditions, record
        self.devices, self.dram = devices, dram
        self.workers: dict[int, Worker] = {}
        self.foreign = dict.fromkeys(devices, 0)
        self.foreign_dram = 0
        self.lost: set[str] = set()
        self.silent: set[str] = set()
        self.late: set[str] = set()
        self.failed_at: dict[str, float] = {}
        self.lies = False
        self._reported: dict[str, int] = {}
        self.slowest: dict[tuple[str, str], float] = {}
        self.progressed_at: dict[str, float] = {}
        self.feed: Callable[[Event], None] = lambda event: None
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    # Time

    @property
    def next_at(self) -> float:
        return self._agenda[0][0] if self._agenda else float("inf")

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self.now + seconds, next(self._order), action))

    def run_next(self) -> None:
        """Run the next scheduled event."""
        heapq.heappop(self._agenda)[2]()

    def chance(self, likelihood: float) -> bool:
        return self.random.random() < likelihood

    # Executing instructions

    def start(self, do: StartWorker) -> None:
        self.workers[do.instance] = worker = Worker(
            do.instance, do.model, do.device, do.memory, self.now
        )
        self.progressed_at[do.model.name] = self.now
        takes = self.random.choice(self.conditions.load_seconds)
        for part in (1, 2, 3):
            self.later(takes * part / 4, partial(self._read, worker, part))
        if not self.chance(self.conditions.load_hangs):
            self.later(takes, partial(self._loaded, worker))

    def stop(self, do: StopWorker) -> None:
        worker = self.workers[do.instance]
        if worker.state != "dead":
            worker.state = "ending"
            self.later(self.random.choice(self.conditions.end_seconds), partial(self._gone, worker))

    def sleep(self, do: SleepWorker) -> None:
        self._change_tier(self.workers[do.instance], "falling asleep", self._slept)

    def wake(self, do: WakeWorker) -> None:
        self._change_tier(self.workers[do.instance], "waking", self._woke)

    def free_dram(self, do: FreeWorkerDram) -> None:
        worker = self.workers[do.instance]
        worker.freeing = True
        self.later(
            self.random.choice(self.conditions.tier_seconds), partial(self._freed_dram, worker)
        )

    def _freed_dram(self, worker: Worker) -> None:
        if worker.state == "ready":
            worker.dram, worker.in_dram, worker.freeing = 0, False, False
            self.feed(events.WorkerDramFreed(worker.instance))

    def _change_tier(self, worker: Worker, state: str, done: Callable[[Worker], None]) -> None:
        worker.in_dram, worker.alive_at = True, self.now
        if worker.state != "dead":
            worker.state = state
            if not self.chance(self.conditions.load_hangs):
                self.later(self.random.choice(self.conditions.tier_seconds), partial(done, worker))

    def close_direct(self, do: CloseDirect) -> None:
        self.workers[do.instance].direct = False

    def dispatch(self, do: Dispatch) -> None:
        worker = self.workers[do.instance]
        worker.batches.append(list(do.requests))
        for number in do.requests:
            self.record.open[number].worker = do.instance
        if len(worker.batches) == 1:
            self._work_later(worker)

    # Producing events

    def kill(self, worker: Worker) -> None:
        """Kill a process from outside; its exit is reported a little later."""
        if worker.state != "dead":
            worker.state = "dead"
            self.later(self.random.choice((0.0, 0.02)), partial(self._gone, worker))

    def work_directly(self, worker: Worker) -> None:
        """Serve a request over a direct connection; its use is reported in samples."""
        if worker.state == "ready" and not worker.direct_busy:
            worker.direct_busy = True
            self._report_used(worker)
            if self.chance(self.conditions.hangs):
                self.later(0.5, partial(self._abandon, worker))
            else:
                seconds = self.random.choice(self.conditions.service_seconds)
                self.later(seconds, partial(self._worked_directly, worker))

    def _worked_directly(self, worker: Worker) -> None:
        if worker.state != "ready" or self.chance(self.conditions.dies):
            self.kill(worker)
            return
        if self.chance(self.conditions.grows):
            worker.measured = max(worker.measured, self._true_size(worker))
        worker.direct_busy = False
        self._report_used(worker, served=1)

    def _abandon(self, worker: Worker) -> None:
        if worker.state == "ready":
            worker.abandoned_at = self.now
            self._report_used(worker)

    def _report_used(self, worker: Worker, served: int = 0) -> None:
        busy, abandoned = worker.direct_busy, worker.abandoned_at <= self.now
        self.feed(
            events.DirectUsed(
                worker.instance, served, 0.05, self.now, busy, abandoned, worker.measured
            )
        )

    def measure(self) -> dict[str, int]:
        """The free memory that the drivers would report now."""
        taken = dict(self.foreign)
        for worker in self.workers.values():
            taken[worker.device] += 0 if worker.freed else worker.measured
        return {name: max(0, capacity - taken[name]) for name, capacity in self.devices.items()}

    def sample(self) -> None:
        """Report the free memory of the devices, as the daemon does before it reports a change."""
        held = sum(worker.dram for worker in self.workers.values() if not worker.freed)
        free = self.measure()
        free |= {name: self._reported[name] for name in self.late & self._reported.keys()}
        free |= dict.fromkeys(self.lost | self.silent, 0)
        self._reported = free
        dram = self.dram - self.foreign_dram - held
        lost, silent = frozenset(self.lost), frozenset(self.silent)
        self.feed(events.MemorySampled(dict(free), dram, lost, self._loading(), silent))

    def _loading(self) -> tuple[tuple[int, int], ...]:
        """What the driver claims that loading processes hold; the daemon asks for no others."""
        if not self.lies:
            return ()
        loading = [w for w in self.workers.values() if w.state == "loading" and w.device != "cpu"]
        for worker in loading:
            worker.told = self.random.randrange(2 * worker.reserved + 1)
        return tuple((worker.instance, worker.told) for worker in loading)

    def _read(self, worker: Worker, part: int) -> None:
        """Report the progress of a load; the second report repeats the first."""
        if worker.state == "loading":
            if part != 2:
                worker.alive_at = self.progressed_at[worker.model.name] = self.now
            self.feed(events.LoadProgressed(worker.instance, 1 if part < 3 else 2, 4))

    def _loaded(self, worker: Worker) -> None:
        if worker.state != "loading":
            return
        draw = self.random.random()
        for likelihood, happens in (
            (self.conditions.load_fails, partial(self._load_failed, worker, out_of_memory=False)),
            (self.conditions.load_runs_out, partial(self._load_failed, worker, out_of_memory=True)),
            (self.conditions.load_dies, partial(self.kill, worker)),
            (self.conditions.device_fails, partial(self._device_failed, worker)),
        ):
            if draw < likelihood:
                happens()
                return
            draw -= likelihood
        worker.measured = self._true_size(worker)
        if worker.device.startswith("cuda") and self.chance(self.conditions.uses_no_gpu):
            worker.measured = 0  # until it grows, perhaps
        self.sample()
        if worker.state == "loading":
            worker.state, worker.loaded = "ready", True
            if not self.chance(self.conditions.cannot_sleep):
                worker.sleep_memory = int(self.random.uniform(0.3, 1.0) * worker.measured)
            self._report_ready(worker)

    def _report_ready(self, worker: Worker) -> None:
        self.failed_at.pop(worker.device, None)
        size, can_sleep, kept = worker.measured, worker.sleep_memory, worker.dram
        self.feed(events.WorkerReady(worker.instance, size, can_sleep, kept))

    def _slept(self, worker: Worker) -> None:
        if worker.state != "falling asleep":
            return
        if self.chance(self.conditions.load_dies):
            self.kill(worker)
        elif self.chance(self.conditions.sleep_fails):
            self.sample()
            if worker.state == "falling asleep":
                self.feed(events.SleepFailed(worker.instance, LoadFailed("no")))
        else:
            grown = 1.3 if self.chance(self.conditions.grows) else 1.0
            worker.dram = worker.sleep_memory = int(worker.sleep_memory * grown)
            worker.measured = max(1, int(worker.measured * self.random.uniform(0.1, 0.5)))
            worker.state = "asleep"
            self.sample()
            if worker.state == "asleep":
                self.feed(events.WorkerSlept(worker.instance, worker.measured, worker.dram))

    def _woke(self, worker: Worker) -> None:
        if worker.state != "waking":
            return
        if self.chance(self.conditions.load_dies):
            self.kill(worker)
        elif self.chance(self.conditions.load_fails):
            self._load_failed(worker, self.chance(0.5), "waking")
        else:
            worker.measured = self._true_size(worker)
            if worker.device == "cpu" or self.chance(0.3):
                worker.dram = 0
            self.sample()
            if worker.state == "waking":
                worker.state, worker.in_dram = "ready", worker.dram > 0
                self._report_ready(worker)

    def _load_failed(self, worker: Worker, out_of_memory: bool, state: str = "loading") -> None:
        self.sample()
        if worker.state == state:
            self.feed(events.WorkerLoadFailed(worker.instance, LoadFailed("no"), out_of_memory))

    def _device_failed(self, worker: Worker) -> None:
        """A load shows that nothing can be loaded on its GPU; a CPU does not fail."""
        self.sample()
        if worker.state == "loading" and worker.device.startswith("cuda"):
            self.failed_at[worker.device] = self.now
            failed = events.WorkerLoadFailed(worker.instance, LoadFailed("no"), device_failure="no")
            self.feed(failed)
        elif worker.state == "loading":
            self._load_failed(worker, out_of_memory=False)

    def _true_size(self, worker: Worker) -> int:
        """A random size: mostly no more than was reserved, sometimes much more."""
        most = worker.reserved * (1.3 if self.chance(self.conditions.grows) else 1.0)
        return max(1, int(self.random.uniform(0.6, 1.0) * most))

    def _work_later(self, worker: Worker) -> None:
        if not self.chance(self.conditions.hangs):
            self.later(
                self.random.choice(self.conditions.service_seconds), partial(self._work, worker)
            )

    def _work(self, worker: Worker) -> None:
        """Answer one batch, member by member, unless an answer ends the worker."""
        if worker.state != "ready":
            return
        if self.chance(self.conditions.dies):
            self.kill(worker)
            return
        batch = worker.batches[0]
        while batch and worker.state == "ready":
            number = batch.pop(0)
            if not batch:
                worker.batches.pop(0)
                if worker.batches:
                    self._work_later(worker)
            self._answer(worker, number)

    def _answer(self, worker: Worker, number: int) -> None:
        if self.chance(self.conditions.grows):
            worker.measured = max(worker.measured, self._true_size(worker))
        error: SireError | None = None
        slot = number in self.record.open and self.record.open[number].slot
        out = not slot and self.chance(self.conditions.runs_out)
        if out:
            error = InsufficientMemory("out of memory")
        elif not slot and self.chance(self.conditions.fails):
            error = InferenceError("no")
        if number in self.record.open:
            self.record.open[number].worker = None
            if error is None:
                operation = self.record.answer(number, "answered")
                kind = operation.model, operation.priority
                self.slowest[kind] = max(self.slowest.get(kind, 0.0), self.now - operation.at)
        self.feed(
            events.RequestFinished(worker.instance, number, worker.measured, error, out, 0.05)
        )

    def _gone(self, worker: Worker) -> None:
        if not worker.freed:
            worker.state, worker.freed = "dead", True
            self.sample()
            del self.workers[worker.instance]
            self.record.requeue(worker.instance)
            died = WorkerCrashed("it died")
            self.feed(events.WorkerGone(worker.instance, died, worker.direct_busy))
