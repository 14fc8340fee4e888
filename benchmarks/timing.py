"""Timing things in turns, so that a drift of the machine's speed meets all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping


def in_turns(
    actions: Mapping[str, Callable[[], object]], *, rounds: int, calls: int = 1
) -> dict[str, list[float]]:
    """Time every action ``rounds`` x ``calls`` times, in seconds, after one round to warm up.

    The first few calls of each turn are not counted: the threads of the action before may still
    be spinning, and the caches are full of its data.
    """
    seconds: dict[str, list[float]] = {}
    for turn in range(rounds + 1):
        for name, action in actions.items():
            taken = [timed(action) for _ in range(calls + calls // 4)][-calls:]
            if turn > 0:
                seconds.setdefault(name, []).extend(taken)
    return seconds


def timed(action: Callable[[], object]) -> float:
    """Seconds one call takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def percentile(values: list[float], percent: int) -> float:
    """The value that ``percent`` of 100 values do not exceed."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def median(values: list[float]) -> float:
    """The 50th percentile."""
    return statistics.median(values)
