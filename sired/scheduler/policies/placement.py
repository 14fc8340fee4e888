"""Placement strategies, by name: which device to load a model on.

A strategy orders the devices of one kind that can hold the model, best first. The scheduler uses
the first device on which the model fits now, else the first on which ending idle models makes
room. Other packages add strategies through the entry point group ``sire.placement``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Place:
    """A device as a strategy sees it; sizes in bytes.

    Attributes:
        device: its name.
        capacity: memory that models may use there.
        used: memory that instances are charged.
        usable: memory that a new load could have now.
        instances: number of instances on the device.
        last_placed: a counter that increases with every load; the highest value marks the device
            of the most recent load.
    """

    device: str
    capacity: int
    used: int
    usable: int
    instances: int
    last_placed: int


class Strategy(Protocol):
    """Orders devices for a model that needs ``need`` bytes."""

    def __call__(self, places: Sequence[Place], need: int) -> list[Place]:
        """Return the same places, best first."""


def least_memory_used(places: Sequence[Place], need: int) -> list[Place]:  # noqa: ARG001
    """Prefer the device with the least memory in use, by sire and by other programs."""
    return sorted(places, key=lambda place: -place.usable / place.capacity)


def best_fit(places: Sequence[Place], need: int) -> list[Place]:
    """Prefer the device with the least memory left over, so that large gaps stay large."""
    return sorted(places, key=lambda place: (place.usable < need, place.usable))


def spread(places: Sequence[Place], need: int) -> list[Place]:  # noqa: ARG001
    """Prefer the device with the fewest instances, then the one with the most usable memory."""
    return sorted(places, key=lambda place: (place.instances, -place.usable))


def round_robin(places: Sequence[Place], need: int) -> list[Place]:  # noqa: ARG001
    """Prefer the device whose last load is the longest ago."""
    return sorted(places, key=lambda place: (place.last_placed, place.device))


BUILT_IN: dict[str, Strategy] = {
    "least-memory-used": least_memory_used,
    "best-fit": best_fit,
    "spread": spread,
    "round-robin": round_robin,
}
