"""What the brain knows of a request."""

from collections.abc import Hashable
from dataclasses import dataclass

from sired.scheduler.entities.lease import Lease


@dataclass(slots=True, eq=False)
class Request:
    """One request while it waits or runs; gone from the brain once answered.

    Attributes:
        due: orders those that wait (see ``line``).
        lease: the one under which it came; None when any instance will do.
        batch_key: what it has in common with those it can run with; None when it runs alone.
        rows: how much of a batch it takes.
        keep_alive: how long its instance may idle after it; None for as long as the model says.
        batch: the batch in which it was handed to a worker; together with others if ``together``.
        attempts: counts how often it was handed to a worker.
    """

    id: int
    model: str
    arrived: float
    deadline: float
    due: float
    lease: Lease | None = None
    batch_key: Hashable = None
    rows: int = 1
    keep_alive: float | None = None
    batch: int = 0
    together: bool = False
    attempts: int = 0
    instance: int | None = None
    answered: bool = False

    @property
    def order(self) -> tuple[float, int]:
        """Where it stands among those that wait: the smaller, the further in front."""
        return self.due, self.id
