"""On which device to put a model: strategies by name.

A strategy orders the devices of one kind that could hold the model, best first. The brain takes
the first where it fits as things are, else the first where ending idle models makes room.
Other packages add strategies by the entry point group ``sire.placement``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Place:
    """A device as a strategy sees it; sizes in bytes.

    ``last_placed`` counts up with every load: the higher, the more recently one came here.
    """

    device: str
    capacity: int
    used: int
    usable: int
    instances: int
    last_placed: int


class Strategy(Protocol):
    """Orders places for a model that needs ``need`` bytes."""

    def __call__(self, places: Sequence[Place], need: int) -> list[Place]:
        """Return the same places, best first."""


def least_memory_used(places: Sequence[Place], need: int) -> list[Place]:  # noqa: ARG001
    """The device with the least memory in use, by sire and others alike."""
    return sorted(places, key=lambda place: -place.usable / place.capacity)


def best_fit(places: Sequence[Place], need: int) -> list[Place]:
    """The device where the least is left over, so that large gaps stay large."""
    return sorted(places, key=lambda place: (place.usable < need, place.usable))


def spread(places: Sequence[Place], need: int) -> list[Place]:  # noqa: ARG001
    """The device with the fewest models, then the one with the most room."""
    return sorted(places, key=lambda place: (place.instances, -place.usable))


def round_robin(places: Sequence[Place], need: int) -> list[Place]:  # noqa: ARG001
    """The device that has gone longest without a load."""
    return sorted(places, key=lambda place: (place.last_placed, place.device))


BUILT_IN: dict[str, Strategy] = {
    "least-memory-used": least_memory_used,
    "best-fit": best_fit,
    "spread": spread,
    "round-robin": round_robin,
}
