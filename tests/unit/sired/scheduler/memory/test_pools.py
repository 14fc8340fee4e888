"""Several instances of one model: how many, where, and which of them serves a request."""

from collections.abc import Callable
from typing import Any

import pytest

from sire.errors import InsufficientMemory, LoadFailed, WorkerCrashed
from sired.scheduler import events
from sired.scheduler.instructions import Dispatch, Instruction, StartWorker, StopWorker
from sired.scheduler.policies.routing import BUILT_IN
from tests.unit.sired.scheduler.conftest import Driver, Machine, dispatched, failures, of_kind


def serving(
    driver: type[Driver],
    weights: int = 20,
    seconds: float = 1.0,
    load: float = 2.0,
    **attributes: Any,
) -> Driver:
    """A loaded model with measured times per request and per load."""
    d = driver(pipeline=1, **attributes.pop("rules", {}))
    d.add("a", weights, **attributes)
    d.operation("a")
    d.now += load
    d.ready(1)
    for _ in range(30):
        request, _ = d.request("a")
        d.finish(request, seconds=seconds)
    return d


def test_the_minimum_is_started_as_soon_as_the_first_instance_is_loaded(
    driver: type[Driver],
) -> None:
    d = driver()
    d.add("a", 20, min_instances=3, max_instances=3)
    assert len(of_kind(StartWorker, d.request("a")[1])) == 1
    assert len(of_kind(StartWorker, d.ready(1))) == 2
    assert of_kind(StartWorker, d.ready(2) + d.ready(3)) == []


def test_a_queue_that_takes_longer_than_a_load_starts_another_instance(
    driver: type[Driver],
) -> None:
    d = serving(driver, max_instances=3)
    instructions = [d.request("a")[1] for _ in range(4)]
    assert [len(of_kind(StartWorker, one)) for one in instructions] == [0, 0, 0, 1]


def test_a_queue_that_is_served_sooner_than_a_load_starts_no_instance(driver: type[Driver]) -> None:
    d = serving(driver, seconds=0.01, max_instances=3)
    for _ in range(100):
        assert of_kind(StartWorker, d.request("a")[1]) == []


def test_one_instance_loads_at_a_time_up_to_the_maximum(driver: type[Driver]) -> None:
    d = serving(driver, max_instances=2)
    for _ in range(20):
        d.request("a")
    assert len(d.instances) == 2
    d.ready(2)
    for _ in range(20):
        d.request("a")
    assert len(d.instances) == 2


def test_growing_a_pool_evicts_nothing(driver: type[Driver]) -> None:
    d = serving(driver, weights=40, max_instances=None)
    d.add("idle", 40)
    d.load("idle")
    for _ in range(20):
        assert of_kind(StopWorker, d.request("a")[1]) == []
    assert d.loaded() == ["a", "idle"]


def test_growing_a_pool_takes_no_memory_that_a_load_waits_for(driver: type[Driver]) -> None:
    d = serving(driver, weights=30, max_instances=None)
    d.add("big", 80)
    for _ in range(2):
        d.request("a")
    d.request("big")
    for _ in range(20):
        d.request("a")
    assert len(d.instances) == 1


def test_an_unlimited_pool_fills_free_memory_up_to_most_instances(driver: type[Driver]) -> None:
    d = serving(driver, weights=10, max_instances=None, rules={"most_instances": 4})
    for _ in range(100):
        d.request("a")
        for instance in list(d.instances.values()):
            if instance.state_name == "loading":
                d.ready(instance.id)
    assert len(d.instances) == 4


def test_instances_of_one_model_are_spread_over_devices(driver: type[Driver]) -> None:
    d = driver(devices=(("cuda:0", "cuda", 100), ("cuda:1", "cuda", 100)))
    d.add("a", 80, min_instances=2, max_instances=2)
    d.request("a")
    d.ready(1)
    assert {i.device for i in d.instances.values()} == {"cuda:0", "cuda:1"}


def test_instances_beyond_the_minimum_end_when_idle(driver: type[Driver]) -> None:
    d = serving(driver, max_instances=2, rules={"shrink_after": 30.0})
    numbers = [d.request("a")[0] for _ in range(5)]
    d.ready(2)
    numbers = [r.id for i in d.instances.values() for r in i.in_flight]
    while numbers:
        numbers += dispatched(d.finish(numbers.pop(0)))
    assert len(of_kind(StopWorker, d.wait(30.0))) == 1
    assert len(d.loaded()) == 1
    assert of_kind(StopWorker, d.wait(30.0)) == []


def test_a_further_instance_that_cannot_load_fails_no_request(driver: type[Driver]) -> None:
    ways: tuple[Callable[[Driver], list[Instruction]], ...] = (
        lambda d: d.handle(events.WorkerLoadFailed(2, LoadFailed("no"))),
        lambda d: d.handle(
            events.WorkerLoadFailed(2, InsufficientMemory("no"), out_of_memory=True)
        ),
        lambda d: d.gone(2, WorkerCrashed("no")),
        lambda d: d.wait(600.0),
    )
    for how in ways:
        d = serving(driver, max_instances=2)
        for _ in range(5):
            d.request("a", timeout=1e6)
        assert failures(how(d)) == {}
        assert d.loaded() == ["a"]
        if 2 in d.instances:
            d.gone(2)
        assert of_kind(StartWorker, d.request("a")[1]) == []
        d.now += 60
        assert len(of_kind(StartWorker, d.request("a")[1])) == 1


def test_a_crash_of_one_instance_does_not_affect_the_others(driver: type[Driver]) -> None:
    d = driver(pipeline=1)
    d.add("a", 20, min_instances=2, max_instances=2)
    first, _ = d.request("a")
    d.ready(1)
    d.ready(2)
    second, _ = d.request("a")
    third, _ = d.request("a")
    instructions = d.gone(1)
    assert list(failures(instructions)) == [first]
    assert len(of_kind(StartWorker, instructions)) == 1
    assert dispatched(d.finish(second)) == [third]


def test_the_least_loaded_instance_gets_the_next_request(driver: type[Driver]) -> None:
    d = driver(pipeline=4)
    d.add("a", 20, min_instances=2, max_instances=2)
    d.load("a")
    d.ready(2)
    instructions = [of_kind(Dispatch, d.request("a")[1])[0].instance for _ in range(4)]
    assert instructions == [1, 2, 1, 2]
    d.finish(2)
    d.finish(4)
    assert of_kind(Dispatch, d.request("a")[1])[0].instance == 1


def test_round_robin_alternates_whatever_the_load(driver: type[Driver]) -> None:
    d = driver(router="round-robin")
    d.add("a", 20, min_instances=3, max_instances=3)
    d.load("a")
    d.ready(2)
    d.ready(3)
    chosen = []
    for _ in range(6):
        request, instructions = d.request("a")
        chosen.append(of_kind(Dispatch, instructions)[0].instance)
        d.finish(request)
    assert chosen == [1, 2, 3, 1, 2, 3]


def test_a_custom_router_is_called_only_if_there_is_a_choice(driver: type[Driver]) -> None:
    asked = []

    def last(choices: Any) -> Any:
        asked.append(len(choices))
        return choices[-1]

    d = driver()
    d.brain.adopt(d.rules(), d.strategy, last)
    d.add("a", 20, min_instances=2, max_instances=2)
    d.load("a")
    _first, instructions = d.request("a")
    d.ready(2)
    _, instructions = d.request("a")
    assert of_kind(Dispatch, instructions)[0].instance == 2
    assert asked == [2]


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_request_to_a_pool_is_served_once(
    driver: type[Driver], machine: type[Machine], name: str
) -> None:
    d = driver(router=name)
    d.add("a", 20, min_instances=2, max_instances=4)
    m = machine(d)
    for _ in range(100):
        m.ask("a")
    m.run()
    assert m.served == ["a"] * 100
    assert m.failed == {}
    assert len(m.loads) >= 2


def test_an_unload_ends_every_instance(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 20, min_instances=3, max_instances=3)
    d.load("a")
    d.ready(2)
    _, instructions = d.unload("a")
    assert len(of_kind(StopWorker, instructions)) == 3
