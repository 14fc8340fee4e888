"""Routing strategies, by name: which instance of a model gets the next request.

A strategy chooses among the instances that can take one more request. Other packages add
strategies through the entry point group ``sire.routing``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Choice:
    """An instance as a strategy sees it.

    Attributes:
        instance: its id.
        device: the device that it runs on.
        in_flight: number of requests dispatched to it and not answered yet.
        last_dispatched: a counter that increases with every batch; the highest value marks the
            instance that got the most recent one. 0 if it never got any.
    """

    instance: int
    device: str
    in_flight: int
    last_dispatched: int


class Router(Protocol):
    """Chooses an instance for the next request."""

    def __call__(self, choices: Sequence[Choice]) -> Choice:
        """Return one of ``choices``; there are at least two."""


def least_loaded(choices: Sequence[Choice]) -> Choice:
    """The instance with the fewest requests; of equals the oldest, so that others become idle."""
    return min(choices, key=lambda choice: (choice.in_flight, choice.instance))


def round_robin(choices: Sequence[Choice]) -> Choice:
    """The instance whose last request is the longest ago."""
    return min(choices, key=lambda choice: (choice.last_dispatched, choice.instance))


BUILT_IN: dict[str, Router] = {"least-loaded": least_loaded, "round-robin": round_robin}
