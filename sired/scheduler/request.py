"""What the brain knows of a request."""

from dataclasses import dataclass

from sired.scheduler.lease import Lease


@dataclass(slots=True, eq=False)
class Request:
    """One request while it waits or runs; gone from the brain once answered.

    Attributes:
        due: orders those that wait (see ``line``).
        lease: the one under which it came; None when any instance will do.
        attempts: counts how often it was handed to a worker.
    """

    id: int
    model: str
    arrived: float
    deadline: float
    due: float
    lease: Lease | None = None
    attempts: int = 0
    instance: int | None = None
    answered: bool = False

    @property
    def order(self) -> tuple[float, int]:
        """Where it stands among those that wait: the smaller, the further in front."""
        return self.due, self.id
