"""What the brain knows of a model and of a request."""

from collections import deque
from dataclasses import dataclass, field

from sired.scheduler.history import History
from sired.scheduler.rules import Rules


@dataclass(slots=True, eq=False)
class Request:
    """One request while it waits or runs; gone from the brain once answered.

    ``attempts`` counts how often it was handed to a worker.
    """

    id: int
    model: str
    arrived: float
    deadline: float
    attempts: int = 0
    instance: int | None = None
    answered: bool = False


@dataclass(slots=True, eq=False)
class Model:
    """A registered model, the requests that wait for it, and what it is known to need.

    Attributes:
        declared: bytes the user says it needs at most, if they said so.
        learned: bytes measured on devices of a kind.
        weights: bytes of the weights as the file states them.
        keep_alive: seconds it may idle; None for the rule's default.
        history: when it was asked for and how long it took to load.
        wishes: ids of the askings to load it that are not fulfilled yet.
    """

    name: str
    device: str = "auto"
    declared: int | None = None
    weights: int = 0
    learned: dict[str, int] = field(default_factory=dict)
    keep_alive: float | None = None
    pinned: bool = False
    history: History = field(default_factory=History)
    queue: deque[Request] = field(default_factory=deque)
    wishes: set[int] = field(default_factory=set)

    @property
    def wanted(self) -> bool:
        """Whether anybody waits for it."""
        return bool(self.queue or self.wishes)

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
