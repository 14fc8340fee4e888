"""Placing, evicting, measuring: who gets the memory."""

import pytest

from sire.errors import DeadlineExceeded, DeviceNotFound, InsufficientMemory, LoadFailed
from sired.scheduler import events
from sired.scheduler.instructions import (
    Complete,
    Evicted,
    Learn,
    StartWorker,
    StopWorker,
)
from tests.unit.sired.scheduler.conftest import dispatched, failures, of_kind


def test_a_load_that_does_not_fit_evicts_the_least_recently_used(driver):
    d = driver()
    for name in ("old", "new", "third"):
        d.add(name, 40)
    old = d.load("old")
    d.now = 1
    d.load("new")
    d.now = 2
    _, said = d.request("third")
    assert of_kind(Evicted, said) == [Evicted(old, "old", wanted_by="third")]
    assert of_kind(StopWorker, said) == [StopWorker(old)]


def test_memory_stays_charged_until_the_process_is_gone(driver):
    d = driver()
    d.add("a", 80)
    d.add("b", 80)
    a = d.load("a")
    _, said = d.request("b")
    assert of_kind(StartWorker, said) == []
    (start,) = of_kind(StartWorker, d.gone(a))
    assert start.model.name == "b"


def test_what_can_never_fit_is_refused_at_once_with_the_figures(driver):
    d = driver()
    d.add("huge", 101)
    d.add("small", 50)
    d.load("small")
    request, said = d.request("huge")
    error = failures(said)[request]
    assert isinstance(error, InsufficientMemory)
    assert error.details["need_bytes"] == 101
    assert d.loaded() == ["small"]


def test_a_pin_holds_and_counts_as_not_available(driver):
    d = driver()
    d.add("pinned", 60, pinned=True)
    d.add("other", 50)
    d.load("pinned")
    request, said = d.request("other")
    assert "pinned" in failures(said)[request].message
    assert d.loaded() == ["pinned"]


def test_a_busy_model_is_not_evicted_while_it_has_its_time(driver):
    d = driver(patience=1.0)
    d.add("busy", 80)
    d.add("other", 80)
    busy = d.load("busy")
    request, _ = d.request("busy")
    _, said = d.request("other")
    assert said == []
    said = d.finish(request)
    assert of_kind(StopWorker, said) == [StopWorker(busy)]


def test_a_stream_of_requests_cannot_hold_another_model_out_forever(driver):
    d = driver(patience=1.0)
    d.add("greedy", 80)
    d.add("other", 80)
    greedy = d.load("greedy")
    running, _ = d.request("greedy")
    d.request("other")
    d.wait(1.0)
    d.request("greedy")
    said = d.finish(running)
    assert dispatched(said) == []
    assert of_kind(StopWorker, said) == [StopWorker(greedy)]


def test_two_models_that_exclude_each_other_both_get_their_turns(driver):
    d = driver(patience=1.0)
    answered = {"a": 0, "b": 0}
    for name in answered:
        d.add(name, 80)
        for _ in range(40):
            d.request(name, timeout=1e6)
    for _ in range(400):
        d.now += 0.1
        for instance in list(d.instances.values()):
            if instance.state_name == "loading":
                d.ready(instance.id)
            elif instance.state_name == "stopping":
                d.gone(instance.id)
            elif instance.in_flight:
                answered[instance.model.name] += 1
                d.finish(instance.in_flight[0].id)
        d.tell(events.TimerFired())
    assert answered == {"a": 40, "b": 40}


def test_what_others_take_of_a_device_is_not_given_away(driver):
    d = driver()
    d.add("a", 80)
    d.tell(events.MemorySampled({"cpu": 50}))
    _, said = d.request("a")
    assert of_kind(StartWorker, said) == []
    said = d.tell(events.MemorySampled({"cpu": 90}))
    assert len(of_kind(StartWorker, said)) == 1


def test_what_is_reserved_but_not_taken_yet_is_not_given_away_twice(driver):
    d = driver()
    d.add("a", 40)
    d.add("b", 40)
    d.tell(events.MemorySampled({"cpu": 70}))
    _, said = d.request("a")
    assert len(of_kind(StartWorker, said)) == 1
    _, said = d.request("b")
    assert of_kind(StartWorker, said) == []


def test_a_load_behind_another_cannot_take_what_that_one_waits_for(driver):
    d = driver()
    d.add("resident", 60)
    d.add("first", 90)
    d.add("second", 40)
    resident = d.load("resident")
    running, _ = d.request("resident")
    d.request("first")
    _, said = d.request("second")
    assert of_kind(StartWorker, said) == []
    d.finish(running)
    (start,) = of_kind(StartWorker, d.gone(resident))
    assert start.model.name == "first"


def test_what_was_measured_replaces_the_estimate(driver):
    d = driver()
    d.add("a", 30)
    d.request("a")
    said = d.ready(1, memory=20)
    assert d.brain.fleet.ledger.charge(1) == 20
    assert [do.memory for do in of_kind(Learn, said)] == [20]


def test_a_declared_need_stays_reserved_though_less_was_measured(driver):
    d = driver()
    d.add("a", 30, declared=50)
    d.request("a")
    d.ready(1, memory=20)
    assert d.brain.fleet.ledger.charge(1) == 50


def test_the_peak_of_an_inference_is_charged_and_learned(driver):
    d = driver()
    model = d.add("a", 30)
    request, _ = d.request("a")
    d.ready(1, memory=30)
    d.finish(request, peak=55)
    assert d.brain.fleet.ledger.charge(1) == 55
    assert model.learned == {"cpu": 55}


def test_measuring_more_than_the_device_has_evicts_idle_models(driver):
    d = driver()
    d.add("idle", 50)
    d.add("grows", 40)
    idle = d.load("idle")
    d.request("grows")
    said = d.ready(2, memory=70)
    assert of_kind(StopWorker, said) == [StopWorker(idle)]


def test_running_out_of_memory_in_a_load_is_tried_once_more_with_more_room(driver):
    d = driver()
    d.add("idle", 50)
    d.add("a", 40)
    idle = d.load("idle")
    request, _ = d.request("a")
    oom = events.WorkerLoadFailed(2, InsufficientMemory("no"), out_of_memory=True)
    said = d.tell(oom)
    assert failures(said) == {}
    assert StopWorker(idle) in said or StopWorker(idle) in d.gone(2)
    if 2 in d.instances:
        d.gone(2)
    (start,) = of_kind(StartWorker, d.gone(idle))
    assert start.memory == 60
    said = d.tell(events.WorkerLoadFailed(3, InsufficientMemory("no"), out_of_memory=True))
    assert isinstance(failures(said)[request], InsufficientMemory)


def test_running_out_of_memory_in_an_inference_runs_the_request_once_more(driver):
    d = driver()
    d.add("a", 40)
    instance = d.load("a")
    request, _ = d.request("a")
    said = d.finish(request, error=InsufficientMemory("no"), out_of_memory=True)
    assert StopWorker(instance, kill=True) in said
    (start,) = of_kind(StartWorker, said + d.gone(instance))
    assert dispatched(d.ready(start.instance)) == [request]
    said = d.finish(request, error=InsufficientMemory("no"), out_of_memory=True)
    assert isinstance(failures(said)[request], InsufficientMemory)


def test_a_failed_load_tells_everybody_who_waits(driver):
    d = driver()
    d.add("a", 40)
    operation, _ = d.operation("a")
    request, _ = d.request("a")
    said = d.tell(events.WorkerLoadFailed(1, LoadFailed("no such class")))
    assert set(failures(said)) == {operation, request}


def test_an_idle_model_is_unloaded_after_its_keep_alive(driver):
    d = driver()
    d.add("a", 40, keep_alive=10.0)
    instance = d.load("a")
    assert d.brain.wakeup == 10.0
    assert d.wait(10) == [StopWorker(instance)]


def test_an_unload_is_answered_when_the_memory_is_free(driver):
    d = driver()
    d.add("a", 40)
    instance = d.load("a")
    operation, said = d.unload("a")
    assert said == [StopWorker(instance)]
    assert Complete(operation, ended=1) in d.gone(instance)


def test_an_unload_lets_the_running_request_finish(driver):
    d = driver()
    d.add("a", 40)
    instance = d.load("a")
    request, _ = d.request("a")
    _, said = d.unload("a")
    assert said == []
    assert d.finish(request) == [StopWorker(instance)]


def test_a_model_goes_to_the_device_it_names(driver):
    d = driver(devices=(("cuda:0", "cuda", 100), ("cpu", "cpu", 100)))
    d.add("a", 40, device="cpu")
    _, said = d.request("a")
    assert of_kind(StartWorker, said)[0].device == "cpu"


def test_a_device_that_there_is_not_is_an_error(driver):
    d = driver()
    d.add("a", 40)
    operation, said = d.operation("a", device="cuda:7")
    assert isinstance(failures(said)[operation], DeviceNotFound)


def test_gpus_come_before_cpus_and_cpus_before_failing(driver):
    d = driver(devices=(("cpu", "cpu", 200), ("cuda:0", "cuda", 100)))
    d.add("fits", 40)
    d.add("too-large", 150)
    assert of_kind(StartWorker, d.request("fits")[1])[0].device == "cuda:0"
    assert of_kind(StartWorker, d.request("too-large")[1])[0].device == "cpu"


def test_a_wish_for_another_device_moves_the_model(driver):
    d = driver(devices=(("cpu0", "cpu", 100), ("cpu1", "cpu", 100)))
    d.add("a", 40)
    _, said = d.operation("a", device="cpu0")
    d.ready(1)
    operation, said = d.operation("a", device="cpu1")
    assert StopWorker(1) in said
    assert of_kind(StartWorker, said)[0].device == "cpu1"
    assert Complete(operation, 2) in d.ready(2)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("least-memory-used", "large"),
        ("best-fit", "small"),
        ("spread", "small"),
        ("round-robin", "small"),
    ],
)
def test_strategies_choose_among_devices_where_it_fits(driver, strategy, expected):
    d = driver(devices=(("large", "cpu", 100), ("small", "cpu", 50)), strategy=strategy)
    d.add("first", 10, device="large")
    d.load("first")
    d.add("second", 20, device="small" if strategy == "least-memory-used" else "large")
    d.load("second")
    d.add("third", 10)
    _, said = d.request("third")
    assert of_kind(StartWorker, said)[0].device == expected


def test_a_replaced_model_takes_over_who_waits_and_retires_the_old_instances(driver):
    d = driver()
    d.add("a", 40)
    instance = d.load("a")
    running, _ = d.request("a")
    d.request("a")
    waiting, _ = d.request("a")
    d.add("a", 30)
    assert d.instances[instance].state.draining
    assert d.brain.models["a"].queue.first.id == waiting
    assert running in [r.id for r in d.instances[instance].in_flight]


def test_a_load_that_takes_too_long_is_ended_and_everybody_told(driver):
    d = driver(load_timeout=10.0)
    d.add("a", 40)
    request, _ = d.request("a", timeout=60)
    assert d.brain.wakeup == 10.0
    said = d.wait(10)
    assert isinstance(failures(said)[request], LoadFailed)
    assert StopWorker(1, kill=True) in said
    d.gone(1)
    assert d.instances == {}


def test_a_load_is_ended_only_once_it_stands_still(driver):
    d = driver(load_timeout=10.0)
    d.add("a", 40)
    request, _ = d.request("a", timeout=600)
    for read in range(1, 4):
        d.now += 9
        d.tell(events.LoadProgressed(1, read, 100))
        assert d.wait(0) == []
        assert d.brain.wakeup <= d.now + 10
    d.tell(events.LoadProgressed(1, 3, 100))  # that is nothing new
    said = d.wait(10)
    assert StopWorker(1, kill=True) in said
    assert "after 3 B of 100 B" in failures(said)[request].message


def test_who_is_patient_waits_for_a_load_as_long_as_it_goes_on(driver):
    d = driver(load_timeout=10.0)
    d.add("a", 40)
    operation, hasty = 71, 72
    d.tell(events.LoadRequested(operation, "a", None, d.now + 10, patient=True))
    d.tell(events.LoadRequested(hasty, "a", None, d.now + 10))
    d.now += 6
    d.tell(events.LoadProgressed(1, 50, 100))
    assert failures(d.wait(4)).keys() == {hasty}
    assert d.brain.wakeup == 16
    said = d.wait(6)
    assert isinstance(failures(said)[operation], LoadFailed)


def test_who_is_patient_does_not_wait_for_memory_for_ever(driver):
    d = driver()
    d.add("a", 60)
    d.add("b", 60)
    d.acquire("a")
    d.ready(1)
    d.tell(events.LoadRequested(71, "b", None, d.now + 10, patient=True))
    assert isinstance(failures(d.wait(10))[71], DeadlineExceeded)


def test_what_is_believed_of_a_model_never_overdraws_a_device(driver):
    d = driver()
    model = d.add("a", 45, min_instances=2, max_instances=2)
    d.load("a")
    model.learned["cpu"] = 70
    d.ready(2, memory=20)
    assert d.brain.fleet.ledger.accounts["cpu"].charged <= 100


def test_what_a_models_own_code_says_is_reserved_from_then_on(driver):
    d = driver()
    d.add("a", 10)
    d.tell(events.ModelEstimated("a", 70))
    _, said = d.request("a")
    (start,) = of_kind(StartWorker, said)
    assert start.memory == 70
