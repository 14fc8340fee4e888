"""Compare the eviction policies with each other and with one that knows the future."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from benchmarks.policies.replay import load_time, offline_load_time
from benchmarks.policies.traces import TRACES, models, record
from benchmarks.report import Figure, save, table
from sired.scheduler.policies.eviction import cost, lru

GB = 10**9
CAPACITIES = (40 * GB, 80 * GB)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Seconds of loading that one trace on one device took under each policy."""

    trace: str
    capacity: int
    offline: float
    lru: float
    cost: float


def main() -> None:
    """Replay every trace with every seed; about half a minute."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.policies", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--seeds", type=int, default=10, help="traces of each kind (default 10)")
    parser.add_argument("--first-seed", type=int, default=0, help="where to begin (default 0)")
    parser.add_argument("--requests", type=int, default=12_000, help="in a trace (default 12000)")
    given = parser.parse_args()
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    outcomes = [
        outcome
        for trace in TRACES
        for seed in seeds
        for outcome in _measure(trace, seed, given.requests)
    ]
    goals = _goals(outcomes)
    console = Console(width=100)
    console.print(_table(outcomes))
    print(table(goals))
    if given.json:
        save(_figures(outcomes) + goals, given.json)


def _measure(trace: str, seed: int, requests: int) -> list[Outcome]:
    random = Random(f"{trace} {seed}")
    known = models(random)
    recorded = record(trace, random, requests)
    return [
        Outcome(
            trace,
            capacity,
            offline=offline_load_time(recorded, known, capacity),
            lru=load_time(recorded, known, capacity, lru),
            cost=load_time(recorded, known, capacity, cost),
        )
        for capacity in CAPACITIES
    ]


RATIOS: dict[str, Callable[[Outcome], float]] = {
    "lru / offline": lambda outcome: outcome.lru / outcome.offline,
    "cost / offline": lambda outcome: outcome.cost / outcome.offline,
    "cost / lru": lambda outcome: outcome.cost / outcome.lru,
}


def _table(outcomes: Sequence[Outcome]) -> Table:
    """The mean ratios of each trace and device, and the worst of the last one."""
    shown = Table("trace", "memory", "offline", *RATIOS, "worst", box=MARKDOWN)
    for column in shown.columns[1:]:
        column.justify = "right"
    for trace in TRACES:
        for capacity in CAPACITIES:
            these = [o for o in outcomes if (o.trace, o.capacity) == (trace, capacity)]
            hours = fmean(outcome.offline for outcome in these) / 3600
            means = (f"{fmean(map(ratio, these)):.2f}" for ratio in RATIOS.values())
            worst = max(map(RATIOS["cost / lru"], these))
            shown.add_row(trace, f"{capacity // GB} GB", f"{hours:.1f} h", *means, f"{worst:.2f}")
    return shown


def _goals(outcomes: Sequence[Outcome]) -> list[Figure]:
    def mean(ratio: str, trace: str) -> float:
        return fmean(RATIOS[ratio](outcome) for outcome in outcomes if outcome.trace == trace)

    by_trace = [mean("cost / lru", trace) for trace in TRACES]
    return [
        Figure("zipf: cost / offline", mean("cost / offline", "zipf"), "x", goal=1.25),
        Figure("cron mix: cost / offline", mean("cost / offline", "cron mix"), "x", goal=1.25),
        Figure("all traces: cost / lru", fmean(by_trace), "x", goal=0.8),
        Figure("trace it suits least: cost / lru", max(by_trace), "x", goal=1.05),
    ]


def _figures(outcomes: Sequence[Outcome]) -> list[Figure]:
    """Mean seconds of loading, with those of the policy that knows the future as the floor."""
    figures = []
    for trace in TRACES:
        for capacity in CAPACITIES:
            these = [o for o in outcomes if (o.trace, o.capacity) == (trace, capacity)]
            floor = fmean(outcome.offline for outcome in these)
            name = f"{trace}, {capacity // GB} GB"
            figures += [
                Figure(f"{name}: lru", fmean(o.lru for o in these), "s", floor),
                Figure(f"{name}: cost", fmean(o.cost for o in these), "s", floor),
            ]
    return figures


if __name__ == "__main__":
    main()
