"""Which instance of a model gets the next request: strategies by name.

A strategy chooses among the instances that can take one more. Other packages add strategies by
the entry point group ``sire.routing``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Choice:
    """An instance as a strategy sees it.

    Attributes:
        in_flight: requests it has been handed and not answered yet.
        last_handed: counts up with every request of the model: the higher, the more recently this
            instance got one; 0 for never.
    """

    instance: int
    device: str
    in_flight: int
    last_handed: int


class Router(Protocol):
    """Chooses an instance."""

    def __call__(self, choices: Sequence[Choice]) -> Choice:
        """Return one of these; there are at least two."""


def least_loaded(choices: Sequence[Choice]) -> Choice:
    """The one with the least to do; of equals the oldest, so that the others can fall idle."""
    return min(choices, key=lambda choice: (choice.in_flight, choice.instance))


def round_robin(choices: Sequence[Choice]) -> Choice:
    """The one that has gone longest without a request."""
    return min(choices, key=lambda choice: (choice.last_handed, choice.instance))


BUILT_IN: dict[str, Router] = {"least-loaded": least_loaded, "round-robin": round_robin}
