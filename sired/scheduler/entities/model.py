"""What the brain knows of a model."""

from dataclasses import dataclass, field

from sired.scheduler.entities.backoff import Backoff
from sired.scheduler.entities.lease import Lease
from sired.scheduler.entities.queue import RequestQueue
from sired.scheduler.policies.reuse import ReuseHistory
from sired.scheduler.rules import Rules


@dataclass(slots=True, eq=False)
class Model:
    """A registered model, the requests that wait for it, and what it is known to need.

    Attributes:
        declared: bytes the user says it needs at most, if they said so.
        learned: bytes measured on devices of a kind.
        weights: bytes of the weights as the file states them.
        priority: the class of requests that ask for none: high, normal or low.
        weight: its share, against other models' weights, of a device they compete for.
        keep_alive: seconds it may idle; None for the rule's default.
        min_instances: how many there are at least, while it is loaded and memory is free.
        max_instances: how many there are at most; None for as many as the rules allow.
        batch_size: rows of requests that run together at most.
        batch_delay: seconds a request waits for others to run with, while there are fewer rows.
        concurrency: batches that an instance works on at the same time.
        service_seconds: what a request keeps a worker busy, on average; None until measured.
        history: when it was asked for and how long it took to load.
        trouble: what it has been failing with.
        wishes: ids of the askings to load it that are not fulfilled yet.
        leases: those for which no instance is kept yet, in the order they came.
    """

    name: str
    device: str = "auto"
    declared: int | None = None
    weights: int = 0
    learned: dict[str, int] = field(default_factory=dict)
    keep_alive: float | None = None
    pinned: bool = False
    priority: str = "normal"
    weight: float = 1.0
    min_instances: int = 1
    max_instances: int | None = 1
    batch_size: int = 1
    batch_delay: float = 0.0
    concurrency: int = 1
    service_seconds: float | None = None
    history: ReuseHistory = field(default_factory=ReuseHistory)
    backoff: Backoff = field(default_factory=Backoff)
    queue: RequestQueue = field(default_factory=RequestQueue)
    operations: set[int] = field(default_factory=set)
    leases: list[Lease] = field(default_factory=list)

    @property
    def needed(self) -> bool:
        """Whether anybody waits for it."""
        return bool(self.queue or self.operations or self.leases)

    def footprint(self, kind: str, rules: Rules) -> tuple[int, str]:
        """Bytes to reserve for a load on a device of this kind, and by what right.

        The best knowledge wins: what the user declared, what an earlier load was measured to
        need, what the file's size suggests.
        """
        if self.declared is not None:
            return self.declared, "declared"
        if kind in self.learned:
            return self.learned[kind], "learned"
        return int(self.weights * rules.file_factor) + rules.overhead[kind], "estimated"
