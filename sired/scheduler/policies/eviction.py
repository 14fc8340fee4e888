"""Eviction policies, by name: which instances to end so that another one fits.

A policy states the cost of ending an instance, and ``choose_victims`` selects the cheapest
instances that suffice. A policy therefore cannot end too few instances, too many, or any that it
was not offered. Other packages add policies through the entry point group ``sire.eviction``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sired.scheduler.policies.reuse import ReuseHistory


@dataclass(frozen=True, slots=True)
class Candidate:
    """An instance that may be ended.

    Attributes:
        instance: its id.
        memory: bytes that ending it frees.
        last_used: when it was last used, in seconds of the scheduler's clock.
        history: when its model was requested and how long it takes to load.
    """

    instance: int
    memory: int
    last_used: float
    history: ReuseHistory = field(default_factory=ReuseHistory)


class Policy(Protocol):
    """Returns the cost, per byte freed, of ending an instance; the cheapest is ended first."""

    def __call__(self, candidate: Candidate, now: float) -> float:
        """Return any number; only the order of the numbers matters."""


def lru(candidate: Candidate, now: float) -> float:  # noqa: ARG001
    """End the least recently used instance first."""
    return candidate.last_used


def cost(candidate: Candidate, now: float) -> float:
    """Expected load time to spend per second and byte: load time x reuse rate / memory.

    This is the measure of GreedyDual-Size-Frequency (Cherkasova 1998), with the expected reuse
    rate (estimated in ``sired.scheduler.policies.reuse``) in place of a count and an ageing
    offset. Where nothing has been measured all costs are equal, and the least recently used
    instance is ended first.
    """
    history = candidate.history
    rate = history.reuse_rate(max(0.0, now - candidate.last_used))
    return history.load_seconds * rate / max(candidate.memory, 1)


BUILT_IN: dict[str, Policy] = {"lru": lru, "cost": cost}


def choose_victims(
    candidates: Sequence[Candidate], need: int, policy: Policy, now: float
) -> tuple[int, ...] | None:
    """Select the cheapest instances that together free ``need`` bytes.

    They are selected one by one, the cheapest per byte first. (The set with the lowest total cost,
    a knapsack problem, does worse in the long run: it ends many instances where a larger one of
    hardly higher cost would have left room for the next load, too.)

    Returns:
        The ids of a minimal set, cheapest first: without any of them the rest do not suffice.
        None when all candidates together do not suffice.
    """
    by_cost = sorted(candidates, key=lambda c: (policy(c, now), c.last_used, c.instance))
    chosen: list[Candidate] = []
    freed = 0
    for candidate in by_cost:
        if freed >= need:
            break
        chosen.append(candidate)
        freed += candidate.memory
    if freed < need:
        return None
    # A large one chosen last may make smaller ones unnecessary: drop the most expensive first.
    for candidate in reversed(chosen):
        if freed - candidate.memory >= need:
            chosen.remove(candidate)
            freed -= candidate.memory
    return tuple(candidate.instance for candidate in chosen)
