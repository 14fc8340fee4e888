"""Replay a trace on a device with limited memory, and add up the load times."""

from bisect import bisect
from collections import defaultdict
from collections.abc import Callable, Sequence

from benchmarks.policies.traces import TracedModel
from sired.scheduler.policies.eviction import Candidate, Policy, choose_victims
from sired.scheduler.policies.reuse import ReuseHistory

Requests = Sequence[tuple[float, int]]
# Names the models to end, of those loaded, so that this many bytes become free now.
Choice = Callable[[set[int], int, float], Sequence[int]]


def load_time(
    requests: Requests, models: Sequence[TracedModel], capacity: int, policy: Policy
) -> float:
    """Return the seconds of loading under one of sire's eviction policies."""
    histories = [ReuseHistory() for _ in models]
    last_used = [0.0] * len(models)

    def used(model: int, now: float, load_seconds: float) -> None:
        histories[model].arrived(now)
        last_used[model] = now
        if load_seconds:
            histories[model].loaded(load_seconds)

    def choose(loaded: set[int], need: int, now: float) -> Sequence[int]:
        candidates = [
            Candidate(model, models[model].memory, last_used[model], histories[model])
            for model in loaded
        ]
        victims = choose_victims(candidates, need, policy, now)
        assert victims is not None
        return victims

    return _replay(requests, models, capacity, choose, used)


def offline_load_time(requests: Requests, models: Sequence[TracedModel], capacity: int) -> float:
    """Return the seconds of loading under a greedy policy that knows the future.

    One after another ends what has the least reload cost per byte over the time to its next use,
    until there is room.
    """
    uses: defaultdict[int, list[float]] = defaultdict(list)
    for now, model in requests:
        uses[model].append(now)

    def worth(model: int, now: float) -> float:
        following = bisect(uses[model], now)
        if following == len(uses[model]):
            return 0.0
        wait = uses[model][following] - now
        return models[model].load_seconds / models[model].memory / wait

    def choose(loaded: set[int], need: int, now: float) -> Sequence[int]:
        victims = []
        for model in sorted(loaded, key=lambda model: (worth(model, now), model)):
            if need <= 0:
                break
            victims.append(model)
            need -= models[model].memory
        return victims

    return _replay(requests, models, capacity, choose)


def _replay(
    requests: Requests,
    models: Sequence[TracedModel],
    capacity: int,
    choose: Choice,
    used: Callable[[int, float, float], None] | None = None,
) -> float:
    loaded: set[int] = set()
    free = capacity
    total = 0.0
    for now, model in requests:
        load_seconds = 0.0
        if model not in loaded:
            load_seconds = models[model].load_seconds
            if (need := models[model].memory - free) > 0:
                for victim in choose(loaded, need, now):
                    loaded.remove(victim)
                    free += models[victim].memory
            loaded.add(model)
            free -= models[model].memory
        total += load_seconds
        if used:
            used(model, now, load_seconds)
    return total
