"""A scheduler with devices of round sizes, driven event by event."""

import heapq
import itertools
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

import pytest

from sire.errors import SireError, WorkerCrashed
from sired.scheduler import events
from sired.scheduler.brain import Brain
from sired.scheduler.entities.instance import Instance
from sired.scheduler.entities.ledger import Account
from sired.scheduler.entities.model import Model
from sired.scheduler.instructions import Dispatch, Fail, Instruction, StartWorker, StopWorker
from sired.scheduler.policies.placement import BUILT_IN
from sired.scheduler.policies.routing import BUILT_IN as ROUTERS
from sired.scheduler.rules import Rules

Kind = TypeVar("Kind")
# The number of an operation, and the instructions that answer its event.
Operation = tuple[int, list[Instruction]]


class Driver:
    """Feeds events to a scheduler; time passes only when a test says so."""

    def __init__(
        self,
        devices: Iterable[tuple[str, str, int]] = (("cpu", "cpu", 100),),
        strategy: str = "least-memory-used",
        router: str = "least-loaded",
        dram: int = 0,
        **rules: Any,
    ) -> None:
        accounts = [Account(name, kind, capacity) for name, kind, capacity in devices]
        self.strategy = BUILT_IN[strategy]
        self.brain = Brain(accounts, self.strategy, self.rules(**rules), ROUTERS[router], dram)
        self.now = 0.0
        self._operations_by_client = itertools.count(1)

    @staticmethod
    def rules(**given: Any) -> Rules:
        return Rules(**{"overhead": {"cpu": 0, "cuda": 0}, "file_factor": 1.0, **given})

    def add(self, name: str, weights: int, **attributes: Any) -> Model:
        model = Model(name, weights=weights, **attributes)
        self.handle(events.ModelAdded(model))
        return model

    def handle(self, event: events.Event) -> list[Instruction]:
        return self.brain.handle(event, self.now)

    def request(self, model: str, timeout: float = 60.0, **how: Any) -> Operation:
        """Send a request; return its number and the instructions."""
        number = next(self._operations_by_client)
        return number, self.handle(events.RequestArrived(number, model, self.now + timeout, **how))

    def operation(self, model: str, device: str | None = None, timeout: float = 60.0) -> Operation:
        number = next(self._operations_by_client)
        return number, self.handle(events.LoadRequested(number, model, device, self.now + timeout))

    def to_dram(self, model: str, timeout: float = 60.0) -> Operation:
        number = next(self._operations_by_client)
        return number, self.handle(events.SleepRequested(number, model, self.now + timeout))

    def slept(
        self, instance: int, device: int | None = None, dram: int | None = None
    ) -> list[Instruction]:
        """An instance fell asleep; by default all of its ``sleep_memory`` is in main memory."""
        here = self.instances[instance]
        dram = here.sleep_memory if dram is None else dram
        device = self.brain.fleet.ledger.charge(instance) - dram if device is None else device
        return self.handle(events.WorkerSlept(instance, device, dram))

    def unload(self, model: str) -> Operation:
        number = next(self._operations_by_client)
        return number, self.handle(events.UnloadRequested(number, model))

    def acquire(self, model: str, timeout: float = 60.0, **how: Any) -> Operation:
        number = next(self._operations_by_client)
        return number, self.handle(events.LeaseRequested(number, model, self.now + timeout, **how))

    def give_back(self, lease: int) -> list[Instruction]:
        return self.handle(events.LeaseReturned(lease))

    def shrink(self, model: str | None, keep: int | None = None) -> Operation:
        number = next(self._operations_by_client)
        return number, self.handle(events.ShrinkRequested(number, model, keep))

    def ready(
        self, instance: int, memory: int | None = None, sleep_memory: int | None = None
    ) -> list[Instruction]:
        """An instance has loaded or woken; nine tenths of it can sleep if tiers are enabled."""
        ledger = self.brain.fleet.ledger
        if memory is None:
            memory = ledger.charge(instance)
        if sleep_memory is None:
            sleep_memory = memory * 9 // 10 if ledger.dram.capacity else 0
        return self.handle(events.WorkerReady(instance, memory, sleep_memory))

    def finish(self, request: int, **how: Any) -> list[Instruction]:
        instance = next(
            i for i in self.instances.values() if request in [r.id for r in i.in_flight]
        )
        return self.handle(events.RequestFinished(instance.id, request, **how))

    def gone(self, instance: int, error: WorkerCrashed | None = None) -> list[Instruction]:
        return self.handle(events.WorkerGone(instance, error or WorkerCrashed("it died")))

    def wait(self, seconds: float) -> list[Instruction]:
        self.now += seconds
        return self.handle(events.TimerFired())

    def load(self, name: str) -> int:
        """Load a model completely; return the id of its instance."""
        _, instructions = self.operation(name)
        (start,) = [do for do in instructions if isinstance(do, StartWorker)]
        self.ready(start.instance)
        return start.instance

    @property
    def instances(self) -> dict[int, Instance]:
        return self.brain.fleet.instances

    def loaded(self) -> list[str]:
        return sorted(i.model.name for i in self.instances.values() if i.accepting)


class Machine:
    """Executes instructions: loads, serves one request after the other, ends at once.

    ``served`` lists the models whose requests were answered, ``loads`` those that were loaded.
    """

    def __init__(self, driver: Driver, load: float = 1.0, service: float = 0.1) -> None:
        self.d = driver
        self.load, self.service = load, service
        self.served: list[str] = []
        self.loads: list[str] = []
        self.failed: dict[int, SireError] = {}
        self._agenda: list[tuple[float, int, Callable[[], list[Instruction]]]] = []
        self._order = itertools.count()
        self._lines: dict[int, list[int]] = {}

    def ask(self, model: str, timeout: float = 1e6, **how: Any) -> int:
        number, instructions = self.d.request(model, timeout, **how)
        self._do(instructions)
        return number

    def run(self, until: float = math.inf, done: Callable[[], object] = lambda: False) -> None:
        """Let time pass until ``until``, until ``done``, or until nothing happens any more."""
        while not done():
            wakeup = self.d.brain.wakeup
            when = min(self._agenda[0][0] if self._agenda else math.inf, wakeup)
            if when > until or when == math.inf:
                break
            self.d.now = max(self.d.now, when)
            if wakeup <= when:
                self._do(self.d.handle(events.TimerFired()))
            else:
                self._do(heapq.heappop(self._agenda)[2]())
        if until < math.inf:
            self.d.now = max(self.d.now, until)

    def _later(self, seconds: float, what: Callable[[], list[Instruction]]) -> None:
        heapq.heappush(self._agenda, (self.d.now + seconds, next(self._order), what))

    def _do(self, instructions: list[Instruction]) -> None:
        for do in instructions:
            match do:
                case StartWorker():
                    self.loads.append(do.model.name)
                    self._lines[do.instance] = []
                    self._later(self.load, partial(self._ready, do.instance))
                case StopWorker():
                    self._later(0, partial(self.d.gone, do.instance))
                case Dispatch():
                    idle = not self._lines[do.instance]
                    self._lines[do.instance] += do.requests
                    if idle:
                        self._later(self.service, partial(self._answer, do.instance))
                case Fail():
                    self.failed[do.operation] = do.error

    def _ready(self, instance: int) -> list[Instruction]:
        here = self.d.instances.get(instance)
        return self.d.ready(instance) if here and here.state_name == "loading" else []

    def _answer(self, instance: int) -> list[Instruction]:
        if instance not in self.d.instances:
            return []
        line = self._lines[instance]
        request = line.pop(0)
        if line:
            self._later(self.service, partial(self._answer, instance))
        self.served.append(self.d.instances[instance].model.name)
        return self.d.handle(events.RequestFinished(instance, request, seconds=self.service))


@pytest.fixture
def driver() -> type[Driver]:
    return Driver


@pytest.fixture
def machine() -> type[Machine]:
    return Machine


def of_kind(kind: type[Kind], instructions: Iterable[Instruction]) -> list[Kind]:
    return [do for do in instructions if isinstance(do, kind)]


def failures(instructions: Iterable[Instruction]) -> dict[int, SireError]:
    return {do.operation: do.error for do in of_kind(Fail, instructions)}


def dispatched(instructions: Iterable[Instruction]) -> list[int]:
    return [request for do in of_kind(Dispatch, instructions) for request in do.requests]
