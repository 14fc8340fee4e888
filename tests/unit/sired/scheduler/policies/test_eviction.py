"""Which instances are evicted so that another one fits."""

from collections.abc import Iterable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.policies.replay import load_time
from benchmarks.policies.traces import models, record
from sired.scheduler.instructions import Evicted, StartWorker, StopWorker
from sired.scheduler.policies.eviction import BUILT_IN, Candidate, choose_victims, cost, lru
from sired.scheduler.policies.reuse import ReuseHistory
from tests.unit.sired.scheduler.conftest import Driver, of_kind


def history(load_seconds: float, gap: float = 60.0, requests: int = 10) -> Any:
    """An instance of a model that was requested every ``gap`` seconds until time 0."""
    found = ReuseHistory()
    found.loaded(load_seconds)
    for number in reversed(range(requests)):
        found.arrived(-number * gap)
    return found


# Examples


def test_nothing_is_evicted_if_all_candidates_do_not_suffice() -> None:
    assert choose_victims([Candidate(1, 10, 0.0), Candidate(2, 20, 1.0)], 31, lru, 2) is None


def test_no_unnecessary_victim_is_chosen() -> None:
    small, large = Candidate(1, 10, 0.0), Candidate(2, 50, 1.0)
    assert choose_victims([small, large], 45, lru, 2) == (2,)


def test_lru_ends_the_least_recently_used() -> None:
    candidates = [Candidate(1, 10, 5.0), Candidate(2, 10, 3.0), Candidate(3, 10, 4.0)]
    assert choose_victims(candidates, 20, lru, 6) == (2, 3)


def test_cost_prefers_to_end_models_that_load_fast() -> None:
    slow = Candidate(1, 10, -30.0, history(load_seconds=60))
    fast = Candidate(2, 10, 0.0, history(load_seconds=2))
    assert choose_victims([slow, fast], 10, lru, 1) == (1,)
    assert choose_victims([slow, fast], 10, cost, 1) == (2,)


def test_cost_prefers_to_end_models_that_free_more_for_the_same_load_time() -> None:
    large = Candidate(1, 100, 0.0, history(10))
    small = Candidate(2, 50, 0.0, history(10))
    assert choose_victims([large, small], 50, cost, 1) == (1,)


def test_cost_keeps_frequently_used_models_over_recently_used_ones() -> None:
    rare = Candidate(1, 10, 0.0, history(10, gap=7200))
    popular = Candidate(2, 10, -60.0, history(10, gap=60))
    assert choose_victims([rare, popular], 10, cost, 1) == (1,)


def test_cost_falls_back_to_last_use_if_nothing_was_measured() -> None:
    candidates = [Candidate(1, 10, 5.0), Candidate(2, 99, 3.0), Candidate(3, 10, 4.0)]
    assert choose_victims(candidates, 10, cost, 6) == (2,)


def test_the_cost_policy_keeps_models_that_load_slowly(driver: type[Driver]) -> None:
    evicted = {}
    for name, policy in BUILT_IN.items():
        d = driver(eviction=policy)
        for model in ("slow", "fast", "third"):
            d.add(model, 40)
        for model, seconds in (("slow", 30), ("fast", 1)):
            _, instructions = d.operation(model)
            d.now += seconds
            d.ready(of_kind(StartWorker, instructions)[0].instance)
        d.now += 5
        _, instructions = d.request("third")
        (evicted[name],) = [do.model for do in of_kind(Evicted, instructions)]
    assert evicted == {"lru": "slow", "cost": "fast"}


def test_excess_memory_is_evicted_by_the_policy_and_no_more_than_needed(
    driver: type[Driver],
) -> None:
    d = driver(eviction=cost)
    for name in ("small", "large", "grows"):
        d.add(name, 30)
    _, small = d.operation("small")
    d.now += 10
    d.ready(of_kind(StartWorker, small)[0].instance)
    large = d.load("large")
    d.now += 1
    _, instructions = d.operation("grows")
    instructions = d.ready(of_kind(StartWorker, instructions)[0].instance, memory=65)
    assert of_kind(StopWorker, instructions) == [StopWorker(large)]


# Properties of every policy


@st.composite
def histories(draw: Any) -> Any:
    found = ReuseHistory()
    now = -draw(st.floats(0, 1e6))
    for gap in draw(st.lists(st.floats(0, 1e5), max_size=8)):
        found.arrived(now)
        now += gap
    if seconds := draw(st.floats(0, 1e4)):
        found.loaded(seconds)
    return found


@st.composite
def some_candidates(draw: Any) -> list[Candidate]:
    count = draw(st.integers(0, 8))
    return [
        Candidate(n, draw(st.integers(0, 100)), draw(st.floats(0, 1e6)), draw(histories()))
        for n in range(count)
    ]


def total(candidates: Iterable[Candidate]) -> int:
    return sum(candidate.memory for candidate in candidates)


@pytest.mark.parametrize("policy", BUILT_IN.values(), ids=BUILT_IN)
@given(candidates=some_candidates(), need=st.integers(1, 400))
def test_victims_suffice_and_each_of_them_is_needed(
    policy: Any, candidates: list[Candidate], need: int
) -> None:
    chosen = choose_victims(candidates, need, policy, now=1e6)
    if total(candidates) < need:
        assert chosen is None
        return
    assert chosen is not None
    victims = [candidate for candidate in candidates if candidate.instance in chosen]
    assert len(victims) == len(chosen) == len(set(chosen))
    assert total(victims) >= need
    assert all(total(victims) - victim.memory < need for victim in victims)


@given(found=histories(), idle=st.floats(0, 1e8))
def test_a_reuse_rate_is_finite_and_positive(found: Any, idle: Any) -> None:
    assert 0 < found.reuse_rate(idle) < float("inf")


def test_simultaneous_requests_do_not_make_the_rate_infinite() -> None:
    history = ReuseHistory()
    for now in (0.0, 1e-206, 2e-206):
        history.arrived(now)
    assert 0 < history.reuse_rate(0.0) < float("inf")


resident = st.tuples(
    st.integers(1, 40), st.booleans(), st.sampled_from(["loading", "idle", "busy"])
)


@pytest.mark.parametrize("policy", BUILT_IN.values(), ids=BUILT_IN)
@given(residents=st.lists(resident, min_size=1, max_size=6), need=st.integers(1, 100))
def test_pinned_busy_and_loading_instances_are_not_evicted(
    policy: Any, residents: Any, need: Any
) -> None:
    d = Driver(eviction=policy, patience=1000)
    spared = set()
    for number, (memory, pinned, doing) in enumerate(residents):
        d.now += 1
        if memory > 100 - d.brain.fleet.ledger.accounts["cpu"].charged:
            continue
        d.add(f"m{number}", memory, pinned=pinned)
        _, instructions = d.operation(f"m{number}")
        instance = of_kind(StartWorker, instructions)[0].instance
        if doing != "loading":
            d.ready(instance)
        if doing == "busy":
            d.request(f"m{number}", timeout=1e6)
        if pinned or doing != "idle":
            spared.add(instance)
    d.add("new", need)
    _, instructions = d.request("new", timeout=1e6)
    assert spared.isdisjoint(do.instance for do in of_kind(StopWorker, instructions))


def test_cost_causes_less_loading_than_lru() -> None:
    draw = Random("a fixed trace")
    known = models(draw)
    requests = record("zipf with scans", draw, 1000)
    by_lru, by_cost = (load_time(requests, known, 60 * 10**9, policy) for policy in (lru, cost))
    assert by_cost < 0.8 * by_lru
