"""What the brain knows of a lease."""

from dataclasses import dataclass, field

from sired.scheduler.entities.queue import RequestQueue


@dataclass(slots=True, eq=False)
class Lease:
    """One instance for one holder, from the asking to the giving back.

    Attributes:
        due: when it is due, like a request of normal priority.
        destroy: end the instance after use.
        instance: the one that is kept for it; None while there is none.
        granted: the holder has been told; before that, the instance finishes what it has.
        queue: requests of the holder that the instance has not been handed yet.
    """

    id: int
    model: str
    due: float
    destroy: bool = False
    instance: int | None = None
    granted: bool = False
    queue: RequestQueue = field(default_factory=RequestQueue)
