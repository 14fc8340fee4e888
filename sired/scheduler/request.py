"""What the brain knows of a request."""

from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Request:
    """One request while it waits or runs; gone from the brain once answered.

    ``due`` orders those that wait (see ``line``); ``attempts`` counts how often it was handed to a
    worker.
    """

    id: int
    model: str
    arrived: float
    deadline: float
    due: float
    attempts: int = 0
    instance: int | None = None
    answered: bool = False
