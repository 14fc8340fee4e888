"""What the brain knows of a lease."""

from dataclasses import dataclass, field
from typing import Generic

from sired.scheduler.entities.queue import Item, RequestQueue


@dataclass(slots=True, eq=False)
class Lease(Generic[Item]):
    """One instance reserved for one holder, from the request for it until it is returned.

    It is generic in what its queue holds, because a request names the lease it came under.

    Attributes:
        due: the time at which it is due, as for a request of normal priority.
        destroy: end the instance after use.
        instance: the instance reserved for it; None while there is none.
        granted: the holder has been told. Before that, the instance finishes what it has.
        queue: requests of the holder that have not been dispatched to the instance yet.
    """

    id: int
    model: str
    due: float
    destroy: bool = False
    instance: int | None = None
    granted: bool = False
    queue: RequestQueue[Item] = field(default_factory=RequestQueue)
