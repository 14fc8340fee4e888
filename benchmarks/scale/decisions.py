"""Time per event of the scheduler alone, with a growing number of models and waiting requests."""

import gc
import itertools
import math
from collections.abc import Callable, Iterator

from benchmarks.report import Figure
from benchmarks.timing import in_turns, median
from sire.errors import WorkerCrashed
from sired.scheduler import events
from sired.scheduler.brain import Brain
from sired.scheduler.entities.ledger import Account
from sired.scheduler.entities.model import Model
from sired.scheduler.instructions import Dispatch, Instruction, StartWorker, StopWorker
from sired.scheduler.policies.placement import least_memory_used
from sired.scheduler.rules import Rules

SIZES = (10, 100, 1_000, 10_000)
# Models that fit the device at once; all others wait for one of them to be unloaded.
FIT = 5
ROUNDS, CALLS = 40, 50
EVENTS_OF_A_SWAP = 4
EVENTS_OF_A_SERVICE = 2
# No request waits longer than this, so no deadline passes.
LONG = 1e9


def measure() -> Iterator[Figure]:
    """Median time per event, of two kinds of traffic.

    *Serving*: one ready model has all the requests; each answer hands out the next one, and
    another request comes. *Swapping*: as many models as requests; each answer leaves a model idle,
    which is evicted for the next one that waits, and is asked for again.
    """
    brains = {size: _Crowd(size) for size in SIZES}
    queues = {size: _Queue(size) for size in SIZES}
    gc.collect()
    gc.freeze()  # as the daemon does: what is here stays, and is not looked at again
    yield from _figures("serving", {n: q.serve for n, q in queues.items()}, EVENTS_OF_A_SERVICE)
    yield from _figures("swapping", {n: b.swap for n, b in brains.items()}, EVENTS_OF_A_SWAP)


def _figures(
    kind: str, actions: dict[int, Callable[[], object]], events_each: int
) -> Iterator[Figure]:
    named = {str(size): action for size, action in actions.items()}
    seconds = in_turns(named, rounds=ROUNDS, calls=CALLS)
    each = {size: median(seconds[str(size)]) / events_each for size in SIZES}
    for size in SIZES:
        yield Figure(f"{kind}: an event with {size:,} waiting, p50", each[size], "s")
    yield Figure(
        f"{kind}: {SIZES[-1]:,} against {SIZES[0]:,} waiting",
        each[SIZES[-1]] / each[SIZES[0]],
        "x",
        # Whatever grows with the logarithm grows by this; a scan would grow a thousandfold.
        goal=math.log(SIZES[-1]) / math.log(SIZES[0]),
    )


class _Crowd:
    """A brain with that many models, each with a request; few of them fit on the device at once."""

    def __init__(self, models: int) -> None:
        self.brain = _brain(capacity=FIT)
        self.now = 0.0
        self._numbers = itertools.count(1)
        self._running: list[tuple[int, int, str]] = []
        self._started: list[tuple[int, str]] = []
        self._asked: dict[int, str] = {}
        for number in range(models):
            self._tell(events.ModelAdded(Model(f"m{number}", weights=1)))
        for number in range(models):
            self.ask(f"m{number}")
        while self._started:
            self._ready()

    def ask(self, model: str) -> None:
        request = next(self._numbers)
        self._asked[request] = model
        self._tell(events.RequestArrived(request, model, LONG))

    def swap(self) -> None:
        """Answer the oldest request: its model is evicted for the next one, and requested again."""
        instance, request, model = self._running.pop(0)
        del self._asked[request]
        self._tell(events.RequestFinished(instance, request, seconds=0.01))
        self._tell(events.WorkerGone(instance, WorkerCrashed("it was ended")))
        self._ready()
        self.ask(model)

    def _ready(self) -> None:
        instance, _ = self._started.pop(0)
        self._tell(events.WorkerReady(instance, 1))

    def _tell(self, event: events.Event) -> None:
        self.now += 0.001
        for do in self.brain.handle(event, self.now):
            self._carry_out(do)

    def _carry_out(self, do: Instruction) -> None:
        match do:
            case StartWorker():
                self._started.append((do.instance, do.model.name))
            case Dispatch(requests=(request,)):
                self._running.append((do.instance, request, self._asked[request]))
            case StopWorker():
                pass  # its end is told as part of the swap
            case _:
                pass


class _Queue:
    """A brain whose one ready model has that many requests waiting, among as many idle models."""

    def __init__(self, requests: int) -> None:
        self.brain = _brain(capacity=1)
        self.now = 0.0
        self._numbers = itertools.count(1)
        for number in range(requests):
            self._tell(events.ModelAdded(Model(f"m{number}", weights=1)))
        self._tell(events.LoadRequested(0, "m0", None, LONG))
        self._tell(events.WorkerReady(1, 1))
        self._handed: list[int] = []
        for _ in range(requests):
            self._ask()

    def serve(self) -> None:
        """Answer the oldest request; another one arrives."""
        self._tell(events.RequestFinished(1, self._handed.pop(0), seconds=0.01))
        self._ask()

    def _ask(self) -> None:
        self._tell(events.RequestArrived(next(self._numbers), "m0", LONG))

    def _tell(self, event: events.Event) -> None:
        self.now += 0.001
        for do in self.brain.handle(event, self.now):
            if isinstance(do, Dispatch):
                self._handed += do.requests


def _brain(capacity: int) -> Brain:
    rules = Rules(
        queue_per_model=10**6,
        queue_total=10**6,
        file_factor=1.0,
        overhead={"cpu": 0, "cuda": 0},
        patience=0.0,
    )
    return Brain([Account("cpu", "cpu", capacity)], least_memory_used, rules)
