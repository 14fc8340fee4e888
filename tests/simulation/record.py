"""Who asked for what and has no answer yet; the world's own record, not the brain's."""

from collections import defaultdict
from dataclasses import dataclass, field

from sire.units import FOREVER
from sired.scheduler.entities.queue import due


class Broken(AssertionError):
    """The brain did what it never may do."""


def must(held, otherwise, *facts):
    """Raise Broken with these facts unless something held."""
    if not held:
        raise Broken(" · ".join([otherwise, *map(str, facts)]))


@dataclass(slots=True, eq=False)
class Asked:
    """Something that somebody asked for: a request, load, unload, shrink or lease.

    ``worker`` is who works on a request; None while it waits. A ``patient`` wish to load waits
    beyond its deadline for a load that goes on.
    """

    number: int
    kind: str
    model: str | None
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

    @property
    def order(self):
        return self.due, self.number


@dataclass(slots=True, eq=False)
class Record:
    """Everything that is asked and not answered, and the leases that are held.

    ``answers`` counts them by kind and outcome, to see what a run was about.
    """

    open: dict[int, Asked] = field(default_factory=dict)
    held: dict[int, Asked] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    last: int = 0

    def ask(self, kind, model, now, deadline=FOREVER, priority="normal", ageing=0.0, **how):
        """Note an asking and give it a number."""
        self.last += 1
        when = due(now, priority, ageing)
        asked = Asked(self.last, kind, model, now, deadline, priority, when, **how)
        self.open[asked.number] = asked
        return asked

    def answer(self, number, outcome):
        """Note an answer: there is exactly one."""
        must(number in self.open, "answered twice, or never asked", number, outcome)
        asked = self.open.pop(number)
        told = f"{asked.kind} {outcome}"
        self.answers[told] = self.answers.get(told, 0) + 1
        return asked

    def numbers(self, *kinds):
        """What is asked of these kinds and not answered."""
        return {number for number, asked in self.open.items() if asked.kind in kinds}

    def by_kind(self):
        """What is asked and not answered: its numbers, by kind."""
        found = defaultdict(set)
        for number, asked in self.open.items():
            found[asked.kind].add(number)
        return found

    def waiting(self, model, lease=None):
        """The requests for a model that no worker has, in the order they are to be served."""
        them = [
            asked
            for asked in self.open.values()
            if asked.kind == "request"
            and asked.worker is None
            and asked.model == model
            and asked.lease == lease
        ]
        return sorted(them, key=lambda asked: asked.order)

    def wanted(self, model):
        """Whether anybody waits for a model to be loaded."""
        kinds = ("request", "load", "lease")
        return any(
            asked.model == model and asked.kind in kinds and asked.worker is None
            for asked in self.open.values()
        )

    def put_back(self, worker):
        """Whatever a worker had waits again."""
        for asked in self.open.values():
            if asked.worker == worker:
                asked.worker = None
