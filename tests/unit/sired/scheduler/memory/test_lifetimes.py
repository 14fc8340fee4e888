"""How long models stay, and how many there may be."""

import math

from sire.errors import InsufficientMemory
from sired.scheduler.events import ModelPinned
from sired.scheduler.instructions import Complete, Evicted, StartWorker, StopWorker
from tests.unit.sired.scheduler.conftest import dispatched, failures, of_kind


def test_keep_alive_0_unloads_a_model_as_soon_as_nothing_waits_for_it(driver):
    d = driver(pipeline=1)
    d.add("a", 30, keep_alive=0.0)
    first, _ = d.request("a")
    second, _ = d.request("a")
    d.ready(1)
    assert dispatched(d.finish(first)) == [second]
    assert d.finish(second) == [StopWorker(1)]


def test_a_model_loaded_by_hand_is_there_for_its_first_request_even_with_keep_alive_0(driver):
    d = driver()
    d.add("a", 30, keep_alive=0.0)
    operation, _ = d.operation("a")
    assert of_kind(Complete, d.ready(1)) == [Complete(operation, 1)]
    request, said = d.request("a")
    assert dispatched(said) == [request]
    assert d.finish(request) == [StopWorker(1)]


def test_and_does_not_stay_for_ever_if_none_comes(driver):
    d = driver()
    d.add("a", 30, keep_alive=0.0)
    d.load("a")
    assert d.wait(60.0) == [StopWorker(1)]


def test_a_request_says_how_long_its_model_stays_and_the_last_one_counts(driver):
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


def test_for_ever_is_until_the_memory_is_needed(driver):
    d = driver()
    d.add("a", 80, keep_alive=math.inf)
    d.add("b", 80)
    d.load("a")
    assert d.wait(1e9) == []
    assert StopWorker(1) in d.request("b")[1]


def test_a_pin_is_stronger_than_what_a_request_says(driver):
    d = driver()
    d.add("a", 30, pinned=True)
    d.load("a")
    request, _ = d.request("a", keep_alive=0.0)
    assert d.finish(request) == []


def three(driver, **rules):
    """Room for everything, and two models loaded, of which "old" was used longest ago."""
    d = driver(max_models=2, **rules)
    for name in ("old", "new", "third"):
        d.add(name, 10)
    d.load("old")
    d.now = 1.0
    d.load("new")
    return d


def test_no_more_models_are_loaded_than_may_be(driver):
    d = three(driver)
    _, said = d.request("third")
    assert said == [Evicted(1, "old", "third"), StopWorker(1)]
    (start,) = of_kind(StartWorker, d.gone(1))
    assert start.model.name == "third"


def test_a_busy_model_keeps_its_place_for_its_turn(driver):
    d = three(driver, patience=1.0)
    for name in ("old", "new"):
        d.request(name)
    _, said = d.request("third")
    assert said == []
    assert of_kind(Evicted, d.wait(1.0)) != []
    assert len(d.loaded()) == 1


def test_two_that_wait_get_two_places(driver):
    d = three(driver)
    d.add("fourth", 10)
    d.request("third")
    _, said = d.request("fourth")
    assert of_kind(StopWorker, said) == [StopWorker(2)]
    assert [s.model.name for s in of_kind(StartWorker, d.gone(2))] == ["third"]
    assert [s.model.name for s in of_kind(StartWorker, d.gone(1))] == ["fourth"]


def test_instances_of_one_model_take_one_place(driver):
    d = driver(max_models=1)
    d.add("a", 10, min_instances=3, max_instances=3)
    d.add("b", 10)
    d.load("a")
    d.ready(2)
    d.ready(3)
    _, said = d.request("b")
    assert len(of_kind(StopWorker, said)) == 3
    d.gone(1)
    d.gone(2)
    assert len(of_kind(StartWorker, d.gone(3))) == 1


def test_places_that_pinned_models_take_are_nobody_elses(driver):
    d = driver(max_models=1)
    d.add("pinned", 10, pinned=True)
    d.add("b", 10)
    d.load("pinned")
    request, said = d.request("b")
    error = failures(said)[request]
    assert isinstance(error, InsufficientMemory)
    assert "limits.max_models" in error.hint


def test_models_take_turns_for_a_place(driver, machine):
    d = driver(max_models=1, patience=1.0)
    m = machine(d)
    for name in "abc":
        d.add(name, 10)
        for _ in range(50):
            m.ask(name)
    m.run()
    assert sorted(m.served) == ["a"] * 50 + ["b"] * 50 + ["c"] * 50
    assert m.failed == {}


def test_a_model_that_is_pinned_stays_and_one_that_is_unpinned_goes_when_it_is_due(driver):
    d = driver(default_keep_alive=60.0)
    d.add("a", 30)
    d.load("a")
    d.tell(ModelPinned("a", pinned=True))
    assert d.wait(3600.0) == []
    assert d.tell(ModelPinned("a", pinned=False)) == [StopWorker(1)]


def test_memory_of_a_model_that_is_unpinned_goes_to_who_waits_for_it(driver):
    d = driver()
    d.add("a", 60, pinned=True)
    d.add("b", 60)
    d.load("a")
    request, said = d.request("b")
    assert isinstance(failures(said)[request], InsufficientMemory)
    d.tell(ModelPinned("a", pinned=False))
    assert of_kind(Evicted, d.request("b")[1]) == [Evicted(1, "a", "b")]
