"""Which instances to end so that another fits: policies by name.

A policy says how dear an instance is, and ``choose_victims`` ends the cheapest that suffice; so no
policy can end too few or too many, nor anything it was not shown. Other packages add policies by
the entry point group ``sire.eviction``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sired.scheduler.policies.reuse import ReuseHistory


@dataclass(frozen=True, slots=True)
class Candidate:
    """An instance that may be ended: its memory in bytes, its last use, its model's history."""

    instance: int
    memory: int
    last_used: float
    history: ReuseHistory = field(default_factory=ReuseHistory)


class Policy(Protocol):
    """Says what is lost, per byte freed, by ending an instance: the least goes first."""

    def __call__(self, candidate: Candidate, now: float) -> float:
        """Return any number; only their order matters."""


def lru(candidate: Candidate, now: float) -> float:  # noqa: ARG001
    """The least recently used goes first."""
    return candidate.last_used


def cost(candidate: Candidate, now: float) -> float:
    """Seconds of loading per second and byte: load time x rate of reuse / memory.

    This is what GreedyDual-Size-Frequency (Cherkasova 1998) weighs, with the expected rate of
    reuse (estimated in ``sired.scheduler.policies.reuse``) in place of a count and an ageing
    offset. Where nothing was measured all are alike, and the least recently used goes first.
    """
    history = candidate.history
    rate = history.reuse_rate(max(0.0, now - candidate.last_used))
    return history.load_seconds * rate / max(candidate.memory, 1)


BUILT_IN: dict[str, Policy] = {"lru": lru, "cost": cost}


def choose_victims(
    candidates: Sequence[Candidate], need: int, policy: Policy, now: float
) -> tuple[int, ...] | None:
    """The cheapest instances that together free ``need`` bytes.

    They are taken one by one, the cheapest per byte first. (The set of the least total cost, which
    would be a knapsack problem, does worse in the long run: it ends many where one larger and
    scarcely dearer one would have left room for the next load, too.)

    Returns:
        Their ids, cheapest first; none too many: each one is needed for the sum.
        None when all of them together do not suffice.
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
    # A large one chosen last may have made smaller ones unnecessary: spare the dearest first.
    for candidate in reversed(chosen):
        if freed - candidate.memory >= need:
            chosen.remove(candidate)
            freed -= candidate.memory
    return tuple(candidate.instance for candidate in chosen)
