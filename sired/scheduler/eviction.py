"""Which instances to end so that another fits."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """An instance that may be ended: its memory in bytes and when it was last used."""

    instance: int
    memory: int
    last_used: float


def choose_victims(candidates: Sequence[Candidate], need: int) -> tuple[int, ...] | None:
    """The least recently used instances that together free ``need`` bytes.

    Returns:
        Their ids, least recently used first; none too many: each one is needed for the sum.
        None when all of them together do not suffice.
    """
    by_age = sorted(candidates, key=lambda candidate: (candidate.last_used, candidate.instance))
    chosen: list[Candidate] = []
    freed = 0
    for candidate in by_age:
        if freed >= need:
            break
        chosen.append(candidate)
        freed += candidate.memory
    if freed < need:
        return None
    # A large one chosen last may have made smaller ones unnecessary: spare the most recent first.
    for candidate in reversed(chosen):
        if freed - candidate.memory >= need:
            chosen.remove(candidate)
            freed -= candidate.memory
    return tuple(candidate.instance for candidate in chosen)
