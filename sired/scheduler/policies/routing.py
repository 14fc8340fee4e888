"""Routing strategies, by name: which instance of a model, or model of an alias, gets a request.

A strategy chooses among those that can take one more request. Other packages add strategies through
the entry point group ``sire.routing``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Choice:
    """An instance of a model, or a model of an alias, as a strategy sees it.

    Attributes:
        instance: its id; of a model, its place among the choices, from 1.
        device: the device that it runs on; "" for a model that is not loaded.
        in_flight: number of requests dispatched to it and not answered yet; of a model, also of
            those that are queued.
        last_dispatched: a counter that increases with every batch; the highest value marks the
            instance that got the most recent one. 0 if it never got any. Of a model, it increases
            with every request, by less the greater its weight.
        weight: its share in relation to others; always 1 for instances.
        model: its name; "" for an instance.
    """

    instance: int
    device: str
    in_flight: int
    last_dispatched: int
    weight: float = 1.0
    model: str = ""


class Router(Protocol):
    """Chooses an instance for the next request."""

    def __call__(self, choices: Sequence[Choice]) -> Choice:
        """Return one of ``choices``; there are at least two."""


def least_loaded(choices: Sequence[Choice]) -> Choice:
    """The one with the fewest requests for its weight; of equals the oldest: others become idle."""
    return min(choices, key=lambda one: ((one.in_flight + 1) / one.weight, one.instance))


def round_robin(choices: Sequence[Choice]) -> Choice:
    """The instance whose last request is the longest ago."""
    return min(choices, key=lambda choice: (choice.last_dispatched, choice.instance))


BUILT_IN: dict[str, Router] = {"least-loaded": least_loaded, "round-robin": round_robin}
