"""Workers that take their time and go wrong: executes instructions, makes what happens next."""

import heapq
import itertools
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random

from sire.errors import InferenceError, InsufficientMemory, LoadFailed, WorkerCrashed
from sired.scheduler import events
from sired.scheduler.entities.model import Model


@dataclass(frozen=True, slots=True)
class Fate:
    """How likely things go wrong, from 0 to 1, and how many seconds they take, to choose from."""

    load_fails: float = 0.04
    load_runs_out: float = 0.04
    load_dies: float = 0.04
    load_hangs: float = 0.01
    dies: float = 0.02
    hangs: float = 0.01
    fails: float = 0.03
    runs_out: float = 0.03
    grows: float = 0.2
    cannot_sleep: float = 0.2
    sleep_fails: float = 0.03
    sleeps: float = 0.0005
    load_seconds: tuple[float, ...] = (0.01, 0.3, 1.0, 2.4)
    service_seconds: tuple[float, ...] = (0.001, 0.05, 0.2)
    tier_seconds: tuple[float, ...] = (0.01, 0.1, 0.3)
    end_seconds: tuple[float, ...] = (0.0, 0.1, 0.5)


def all_goes_well(fate):
    """The same pace, and nothing goes wrong."""
    chances = ("load_fails", "load_runs_out", "load_dies", "load_hangs")
    chances += ("dies", "hangs", "fails", "runs_out", "grows", "sleeps", "sleep_fails")
    return replace(fate, **dict.fromkeys(chances, 0.0))


@dataclass(slots=True, eq=False)
class Worker:
    """A process. It is loading, ready, falling asleep, asleep, waking or ending; or dead, and the
    brain does not know yet.

    Its memory is ``freed`` just before the brain is told; ``sleep_memory`` would go to main memory
    if it slept, and ``dram`` is what it has there. ``in_dram`` tells that it has, or is about to. ``line`` holds its batches, oldest first; ``measured`` is what it holds, 0 while it loads.
    ``asked_to_end`` says that somebody wants it gone who may want that of any instance. ``direct``
    tells that clients may talk to it directly, ``direct_busy`` that it works for one of them, and
    ``abandoned_at`` since when that client has not waited any more.
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
    freeing: bool = False
    line: list[list[int]] = field(default_factory=list)
    asked_to_end: bool = False
    direct: bool = False
    direct_busy: bool = False
    abandoned_at: float = float("inf")

    @property
    def unanswered(self):
        return [number for batch in self.line for number in batch]


class World:
    """All workers, and what will happen to them, by time.

    ``tell`` hears every event; ``foreign`` is memory that others' processes hold, by device.
    ``progressed_at`` tells when the last load of a model began or came further.
    ``slowest`` tells how long an answer took at most, in seconds by model and priority.
    """

    def __init__(self, random: Random, fate: Fate, record, devices, dram=0):
        self.now = 0.0
        self.random, self.fate, self.record = random, fate, record
        self.devices, self.dram = devices, dram
        self.workers: dict[int, Worker] = {}
        self.foreign = dict.fromkeys(devices, 0)
        self.foreign_dram = 0
        self.slowest: dict[tuple[str, str], float] = {}
        self.progressed_at: dict[str, float] = {}
        self.tell = lambda event: None
        self._agenda = []
        self._order = itertools.count()

    # Time

    @property
    def next_at(self):
        return self._agenda[0][0] if self._agenda else float("inf")

    def later(self, seconds, action):
        heapq.heappush(self._agenda, (self.now + seconds, next(self._order), action))

    def happen(self):
        """Let the next thing happen."""
        heapq.heappop(self._agenda)[2]()

    def chance(self, likelihood):
        return self.random.random() < likelihood

    # What the brain has done

    def start(self, do):
        self.workers[do.instance] = worker = Worker(
            do.instance, do.model, do.device, do.memory, self.now
        )
        self.progressed_at[do.model.name] = self.now
        takes = self.random.choice(self.fate.load_seconds)
        for part in (1, 2, 3):
            self.later(takes * part / 4, partial(self._read, worker, part))
        if not self.chance(self.fate.load_hangs):
            self.later(takes, partial(self._loaded, worker))

    def stop(self, do):
        worker = self.workers[do.instance]
        if worker.state != "dead":
            worker.state = "ending"
            self.later(self.random.choice(self.fate.end_seconds), partial(self._gone, worker))

    def sleep(self, do):
        self._change_tier(self.workers[do.instance], "falling asleep", self._slept)

    def wake(self, do):
        self._change_tier(self.workers[do.instance], "waking", self._woke)

    def free_dram(self, do):
        worker = self.workers[do.instance]
        worker.freeing = True
        self.later(self.random.choice(self.fate.tier_seconds), partial(self._freed_dram, worker))

    def _freed_dram(self, worker):
        if worker.state == "ready":
            worker.dram, worker.in_dram, worker.freeing = 0, False, False
            self.tell(events.WorkerDramFreed(worker.instance))

    def _change_tier(self, worker, state, done):
        worker.in_dram, worker.alive_at = True, self.now
        if worker.state != "dead":
            worker.state = state
            if not self.chance(self.fate.load_hangs):
                self.later(self.random.choice(self.fate.tier_seconds), partial(done, worker))

    def close_direct(self, do):
        self.workers[do.instance].direct = False

    def dispatch(self, do):
        worker = self.workers[do.instance]
        worker.line.append(list(do.requests))
        for number in do.requests:
            self.record.open[number].worker = do.instance
        if len(worker.line) == 1:
            self._work_later(worker)

    # What happens

    def kill(self, worker):
        """End a process from outside; the brain hears of it a little later."""
        if worker.state != "dead":
            worker.state = "dead"
            self.later(self.random.choice((0.0, 0.02)), partial(self._gone, worker))

    def work_directly(self, worker):
        """A client asks it itself; what it is at the brain hears in samples."""
        if worker.state == "ready" and not worker.direct_busy:
            worker.direct_busy = True
            self._tell_used(worker)
            if self.chance(self.fate.hangs):
                self.later(0.5, partial(self._abandon, worker))
            else:
                seconds = self.random.choice(self.fate.service_seconds)
                self.later(seconds, partial(self._worked_directly, worker))

    def _worked_directly(self, worker):
        if worker.state != "ready" or self.chance(self.fate.dies):
            self.kill(worker)
            return
        if self.chance(self.fate.grows):
            worker.measured = max(worker.measured, self._true_size(worker))
        worker.direct_busy = False
        self._tell_used(worker, served=1)

    def _abandon(self, worker):
        if worker.state == "ready":
            worker.abandoned_at = self.now
            self._tell_used(worker)

    def _tell_used(self, worker, served=0):
        busy, abandoned = worker.direct_busy, worker.abandoned_at <= self.now
        self.tell(
            events.DirectUsed(
                worker.instance, served, 0.05, self.now, busy, abandoned, worker.measured
            )
        )

    def measure(self):
        """What the drivers would say now."""
        taken = dict(self.foreign)
        for worker in self.workers.values():
            taken[worker.device] += 0 if worker.freed else worker.measured
        return {name: max(0, capacity - taken[name]) for name, capacity in self.devices.items()}

    def sample(self):
        """Tell how full the devices are, as the daemon does before it tells of any change."""
        held = sum(worker.dram for worker in self.workers.values() if not worker.freed)
        self.tell(events.MemorySampled(self.measure(), self.dram - self.foreign_dram - held))

    def _read(self, worker, part):
        """A load has come further, or says once more how far it is."""
        if worker.state == "loading":
            if part != 2:
                worker.alive_at = self.progressed_at[worker.model.name] = self.now
            self.tell(events.LoadProgressed(worker.instance, 1 if part < 3 else 2, 4))

    def _loaded(self, worker):
        if worker.state != "loading":
            return
        fate = self.random.random()
        for likelihood, happens in (
            (self.fate.load_fails, partial(self._load_failed, worker, out_of_memory=False)),
            (self.fate.load_runs_out, partial(self._load_failed, worker, out_of_memory=True)),
            (self.fate.load_dies, partial(self.kill, worker)),
        ):
            if fate < likelihood:
                happens()
                return
            fate -= likelihood
        worker.measured = self._true_size(worker)
        self.sample()
        if worker.state == "loading":
            worker.state, worker.loaded = "ready", True
            if not self.chance(self.fate.cannot_sleep):
                worker.sleep_memory = int(self.random.uniform(0.3, 1.0) * worker.measured)
            self._tell_ready(worker)

    def _tell_ready(self, worker):
        size, can_sleep, kept = worker.measured, worker.sleep_memory, worker.dram
        self.tell(events.WorkerReady(worker.instance, size, can_sleep, kept))

    def _slept(self, worker):
        if worker.state != "falling asleep":
            return
        if self.chance(self.fate.load_dies):
            self.kill(worker)
        elif self.chance(self.fate.sleep_fails):
            self.sample()
            if worker.state == "falling asleep":
                self.tell(events.SleepFailed(worker.instance, LoadFailed("no")))
        else:
            grown = 1.3 if self.chance(self.fate.grows) else 1.0
            worker.dram = worker.sleep_memory = int(worker.sleep_memory * grown)
            worker.measured = max(1, int(worker.measured * self.random.uniform(0.1, 0.5)))
            worker.state = "asleep"
            self.sample()
            if worker.state == "asleep":
                self.tell(events.WorkerSlept(worker.instance, worker.measured, worker.dram))

    def _woke(self, worker):
        if worker.state != "waking":
            return
        if self.chance(self.fate.load_dies):
            self.kill(worker)
        elif self.chance(self.fate.load_fails):
            self._load_failed(worker, self.chance(0.5), "waking")
        else:
            worker.measured = self._true_size(worker)
            if worker.device == "cpu" or self.chance(0.3):
                worker.dram = 0
            self.sample()
            if worker.state == "waking":
                worker.state, worker.in_dram = "ready", worker.dram > 0
                self._tell_ready(worker)

    def _load_failed(self, worker, out_of_memory, state="loading"):
        self.sample()
        if worker.state == state:
            self.tell(events.WorkerLoadFailed(worker.instance, LoadFailed("no"), out_of_memory))

    def _true_size(self, worker):
        """Mostly no more than was reserved, and sometimes a good deal more."""
        most = worker.reserved * (1.3 if self.chance(self.fate.grows) else 1.0)
        return max(1, int(self.random.uniform(0.6, 1.0) * most))

    def _work_later(self, worker):
        if not self.chance(self.fate.hangs):
            self.later(self.random.choice(self.fate.service_seconds), partial(self._work, worker))

    def _work(self, worker):
        """Answer one batch, member by member, unless one of the answers ends the worker."""
        if worker.state != "ready":
            return
        if self.chance(self.fate.dies):
            self.kill(worker)
            return
        batch = worker.line[0]
        while batch and worker.state == "ready":
            number = batch.pop(0)
            if not batch:
                worker.line.pop(0)
                if worker.line:
                    self._work_later(worker)
            self._answer(worker, number)

    def _answer(self, worker, number):
        if self.chance(self.fate.grows):
            worker.measured = max(worker.measured, self._true_size(worker))
        error, out = None, self.chance(self.fate.runs_out)
        if out:
            error = InsufficientMemory("out of memory")
        elif self.chance(self.fate.fails):
            error = InferenceError("no")
        if number in self.record.open:
            self.record.open[number].worker = None
            if error is None:
                asked = self.record.answer(number, "answered")
                kind = asked.model, asked.priority
                self.slowest[kind] = max(self.slowest.get(kind, 0.0), self.now - asked.at)
        self.tell(
            events.RequestFinished(worker.instance, number, worker.measured, error, out, 0.05)
        )

    def _gone(self, worker):
        if not worker.freed:
            worker.state, worker.freed = "dead", True
            self.sample()
            del self.workers[worker.instance]
            self.record.put_back(worker.instance)
            died = WorkerCrashed("it died")
            self.tell(events.WorkerGone(worker.instance, died, worker.direct_busy))
