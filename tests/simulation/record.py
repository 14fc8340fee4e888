"""The open operations, as the simulation records them independently of the scheduler."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from sire.units import FOREVER
from sired.scheduler.entities.queue import due


class Violation(AssertionError):
    """The scheduler did something that it must never do."""


def ensure(holds: object, problem: str, *facts: Any) -> None:
    """Raise Violation with these facts unless a condition holds."""
    if not holds:
        raise Violation(" · ".join([problem, *map(str, facts)]))


@dataclass(slots=True, eq=False)
class Operation:
    """A request, load, unload, shrink, sleep or lease that a client has begun.

    Attributes:
        model: "" for a shrink of all models.
        worker: the worker that runs a request; None while it waits.
        destroy: a lease whose instance ends on release.
        patient: a load that waits beyond its deadline while it makes progress.
        slot: a request that lasts until its client ends it, once it is dispatched.
    """

    number: int
    kind: str
    model: str
    at: float
    deadline: float = FOREVER
    priority: str = "normal"
    due: float = 0.0
    key: str | None = None
    rows: int = 1
    lease: int | None = None
    destroy: bool = False
    worker: int | None = None
    patient: bool = False
    slot: bool = False

    @property
    def order(self) -> tuple[float, int]:
        return self.due, self.number


@dataclass(slots=True, eq=False)
class Record:
    """The open operations, and the leases that are held.

    Attributes:
        open: operations without an answer, by number.
        held: leases that were granted and not released, by number.
        answers: number of answers by kind and outcome, which shows what a run covered.
    """

    open: dict[int, Operation] = field(default_factory=dict)
    held: dict[int, Operation] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    last: int = 0

    def begin(
        self,
        kind: str,
        model: str,
        now: float,
        deadline: float = FOREVER,
        priority: str = "normal",
        ageing: float = 0.0,
        **how: Any,
    ) -> Operation:
        """Record a new operation and give it a number."""
        self.last += 1
        when = due(now, priority, ageing)
        operation = Operation(self.last, kind, model, now, deadline, priority, when, **how)
        self.open[operation.number] = operation
        return operation

    def answer(self, number: int, outcome: str) -> Operation:
        """Record an answer; each operation gets exactly one."""
        ensure(number in self.open, "answered twice, or never begun", number, outcome)
        operation = self.open.pop(number)
        outcome_of_kind = f"{operation.kind} {outcome}"
        self.answers[outcome_of_kind] = self.answers.get(outcome_of_kind, 0) + 1
        return operation

    def numbers(self, *kinds: str) -> set[int]:
        """The numbers of the open operations of these kinds."""
        return {number for number, operation in self.open.items() if operation.kind in kinds}

    def by_kind(self) -> defaultdict[str, set[int]]:
        """The numbers of the open operations, by kind."""
        found: defaultdict[str, set[int]] = defaultdict(set)
        for number, operation in self.open.items():
            found[operation.kind].add(number)
        return found

    def waiting(self, model: str, lease: int | None = None) -> list[Operation]:
        """The requests for a model that no worker runs, in the order in which they are served."""
        them = [
            operation
            for operation in self.open.values()
            if operation.kind == "request"
            and operation.worker is None
            and operation.model == model
            and operation.lease == lease
        ]
        return sorted(them, key=lambda operation: operation.order)

    def needed(self, model: str) -> bool:
        """Whether anything waits for a model to be loaded."""
        kinds = ("request", "load", "lease")
        return any(
            operation.model == model and operation.kind in kinds and operation.worker is None
            for operation in self.open.values()
        )

    def requeue(self, worker: int) -> None:
        """Let the requests of a worker wait again."""
        for operation in self.open.values():
            if operation.worker == worker:
                operation.worker = None
