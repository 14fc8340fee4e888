"""How long models stay in memory, and how many there may be."""

import math
from typing import Any

from sire.errors import InsufficientMemory
from sired.scheduler.events import ModelPinned, ModelsKept
from sired.scheduler.instructions import Complete, Evicted, StartWorker, StopWorker
from tests.unit.sired.scheduler.conftest import Driver, Machine, dispatched, failures, of_kind


def test_keep_alive_0_unloads_a_model_as_soon_as_no_request_waits(driver: type[Driver]) -> None:
    d = driver(pipeline=1)
    d.add("a", 30, keep_alive=0.0)
    first, _ = d.request("a")
    second, _ = d.request("a")
    d.ready(1)
    assert dispatched(d.finish(first)) == [second]
    assert d.finish(second) == [StopWorker(1)]


def test_an_explicitly_loaded_model_with_keep_alive_0_waits_for_its_first_request(
    driver: type[Driver],
) -> None:
    d = driver()
    d.add("a", 30, keep_alive=0.0)
    operation, _ = d.operation("a")
    assert of_kind(Complete, d.ready(1)) == [Complete(operation, 1)]
    request, instructions = d.request("a")
    assert dispatched(instructions) == [request]
    assert d.finish(request) == [StopWorker(1)]


def test_an_explicitly_loaded_model_with_keep_alive_0_expires_without_a_request(
    driver: type[Driver],
) -> None:
    d = driver()
    d.add("a", 30, keep_alive=0.0)
    d.load("a")
    assert d.wait(60.0) == [StopWorker(1)]


def test_the_keep_alive_of_the_last_request_counts(driver: type[Driver]) -> None:
    d = driver(default_keep_alive=300.0)
    d.add("a", 30)
    d.load("a")
    request, _ = d.request("a", keep_alive=5.0)
    d.finish(request)
    assert d.brain.fleet.expiry(d.instances[1]) == 5.0
    request, _ = d.request("a")
    d.finish(request)
    assert d.brain.fleet.expiry(d.instances[1]) == 300.0
    request, _ = d.request("a", keep_alive=0.0)
    assert d.finish(request) == [StopWorker(1)]


def test_a_model_kept_forever_is_still_evicted_when_memory_is_needed(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 80, keep_alive=math.inf)
    d.add("b", 80)
    d.load("a")
    assert d.wait(1e9) == []
    assert StopWorker(1) in d.request("b")[1]


def test_a_pin_overrides_the_keep_alive_of_a_request(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 30, pinned=True)
    d.load("a")
    request, _ = d.request("a", keep_alive=0.0)
    assert d.finish(request) == []


def three(driver: type[Driver], **rules: Any) -> Driver:
    """A limit of two models, both loaded; "old" is the least recently used."""
    d = driver(max_models=2, **rules)
    for name in ("old", "new", "third"):
        d.add(name, 10)
    d.load("old")
    d.now = 1.0
    d.load("new")
    return d


def test_max_models_limits_the_models_in_memory(driver: type[Driver]) -> None:
    d = three(driver)
    _, instructions = d.request("third")
    assert instructions == [Evicted(1, "old", "third"), StopWorker(1)]
    (start,) = of_kind(StartWorker, d.gone(1))
    assert start.model.name == "third"


def test_with_max_models_a_busy_model_keeps_its_slot_for_its_turn(driver: type[Driver]) -> None:
    d = three(driver, patience=1.0)
    for name in ("old", "new"):
        d.request(name)
    _, instructions = d.request("third")
    assert instructions == []
    assert of_kind(Evicted, d.wait(1.0)) != []
    assert len(d.loaded()) == 1


def test_two_waiting_loads_get_two_slots(driver: type[Driver]) -> None:
    d = three(driver)
    d.add("fourth", 10)
    d.request("third")
    _, instructions = d.request("fourth")
    assert of_kind(StopWorker, instructions) == [StopWorker(2)]
    assert [s.model.name for s in of_kind(StartWorker, d.gone(2))] == ["third"]
    assert [s.model.name for s in of_kind(StartWorker, d.gone(1))] == ["fourth"]


def test_all_instances_of_a_model_occupy_one_slot(driver: type[Driver]) -> None:
    d = driver(max_models=1)
    d.add("a", 10, min_instances=3, max_instances=3)
    d.add("b", 10)
    d.load("a")
    d.ready(2)
    d.ready(3)
    _, instructions = d.request("b")
    assert len(of_kind(StopWorker, instructions)) == 3
    d.gone(1)
    d.gone(2)
    assert len(of_kind(StartWorker, d.gone(3))) == 1


def test_slots_of_pinned_models_are_not_available_to_others(driver: type[Driver]) -> None:
    d = driver(max_models=1)
    d.add("pinned", 10, pinned=True)
    d.add("b", 10)
    d.load("pinned")
    request, instructions = d.request("b")
    error = failures(instructions)[request]
    assert isinstance(error, InsufficientMemory)
    assert "limits.max_models" in error.hint


def test_models_take_turns_for_a_slot(driver: type[Driver], machine: type[Machine]) -> None:
    d = driver(max_models=1, patience=1.0)
    m = machine(d)
    for name in "abc":
        d.add(name, 10)
        for _ in range(50):
            m.ask(name)
    m.run()
    assert sorted(m.served) == ["a"] * 50 + ["b"] * 50 + ["c"] * 50
    assert m.failed == {}


def test_a_pinned_model_stays_and_an_unpinned_one_expires(driver: type[Driver]) -> None:
    d = driver(default_keep_alive=60.0)
    d.add("a", 30)
    d.load("a")
    d.handle(ModelPinned("a", pinned=True))
    assert d.wait(3600.0) == []
    assert d.handle(ModelPinned("a", pinned=False)) == [StopWorker(1)]


def test_a_model_that_is_kept_stays_until_memory_is_needed(driver: type[Driver]) -> None:
    d = driver(default_keep_alive=60.0)
    d.add("a", 60)
    d.add("b", 60)
    d.load("a")
    d.handle(ModelsKept(frozenset({"a"})))
    assert d.wait(3600.0) == []
    assert of_kind(Evicted, d.request("b")[1]) == [Evicted(1, "a", "b")]


def test_a_model_that_is_kept_no_longer_expires(driver: type[Driver]) -> None:
    d = driver(default_keep_alive=60.0)
    d.handle(ModelsKept(frozenset({"a"})))
    d.add("a", 30)
    d.load("a")
    assert d.wait(3600.0) == []
    assert d.handle(ModelsKept(frozenset())) == [StopWorker(1)]


def test_unpinning_a_model_lets_a_waiting_load_have_its_memory(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 60, pinned=True)
    d.add("b", 60)
    d.load("a")
    request, instructions = d.request("b")
    assert isinstance(failures(instructions)[request], InsufficientMemory)
    d.handle(ModelPinned("a", pinned=False))
    assert of_kind(Evicted, d.request("b")[1]) == [Evicted(1, "a", "b")]
