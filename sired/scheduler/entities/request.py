"""What the brain knows of a request."""

from collections.abc import Hashable
from dataclasses import dataclass

from sired.scheduler.entities.lease import Lease


@dataclass(slots=True, eq=False)
class Request:
    """One request while it waits or runs. The brain forgets it once it is answered.

    Attributes:
        due: the time that orders waiting requests (see ``queue``).
        lease: the lease it came under; None when any instance of the model can answer.
        batch_key: requests of a model with equal keys can run together; None for one that runs
            alone.
        rows: how much of a batch it takes.
        keep_alive: seconds its instance may idle after it; None for the model's setting.
        size: bytes of its input.
        client: the connection that it came over, if its input counts.
        batch: the number of the batch it was dispatched in; ``together`` says whether that batch
            had other members.
        attempts: how often it was dispatched to a worker.
        slot: once dispatched, it lasts until its client ends it.
    """

    id: int
    model: str
    arrived: float
    deadline: float
    due: float
    lease: "Lease[Request] | None" = None
    batch_key: Hashable = None
    rows: int = 1
    keep_alive: float | None = None
    size: int = 0
    client: str = ""
    batch: int = 0
    together: bool = False
    attempts: int = 0
    instance: int | None = None
    answered: bool = False
    slot: bool = False

    @property
    def order(self) -> tuple[float, int]:
        """The sort key among waiting requests: the smaller, the sooner it is served."""
        return self.due, self.id
