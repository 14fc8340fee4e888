"""Placing, evicting and measuring: which models get the memory."""

from typing import Any

import pytest

from sire.errors import DeadlineExceeded, DeviceNotFound, InsufficientMemory, LoadFailed
from sired.scheduler import events
from sired.scheduler.entities.instance import Ready
from sired.scheduler.instructions import (
    Complete,
    Evicted,
    Learn,
    StartWorker,
    StopWorker,
)
from tests.unit.sired.scheduler.conftest import Driver, dispatched, failures, of_kind


def test_a_load_that_does_not_fit_evicts_the_least_recently_used(driver: type[Driver]) -> None:
    d = driver()
    for name in ("old", "new", "third"):
        d.add(name, 40)
    old = d.load("old")
    d.now = 1
    d.load("new")
    d.now = 2
    _, instructions = d.request("third")
    assert of_kind(Evicted, instructions) == [Evicted(old, "old", wanted_by="third")]
    assert of_kind(StopWorker, instructions) == [StopWorker(old)]


def test_memory_stays_charged_until_the_process_has_exited(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 80)
    d.add("b", 80)
    a = d.load("a")
    _, instructions = d.request("b")
    assert of_kind(StartWorker, instructions) == []
    (start,) = of_kind(StartWorker, d.gone(a))
    assert start.model.name == "b"


def test_a_model_that_can_never_fit_is_rejected_at_once_with_figures(driver: type[Driver]) -> None:
    d = driver()
    d.add("huge", 101)
    d.add("small", 50)
    d.load("small")
    request, instructions = d.request("huge")
    error = failures(instructions)[request]
    assert isinstance(error, InsufficientMemory)
    assert error.details["need_bytes"] == 101
    assert d.loaded() == ["small"]


def test_what_a_load_has_taken_already_is_not_reserved_a_second_time(driver: type[Driver]) -> None:
    """The driver reports it as used from then on; nothing has to be evicted for it again."""
    d = driver(devices=(("cuda:0", "cuda", 100),))
    for name, size in (("idle", 20), ("large", 60), ("small", 15)):
        d.add(name, size)
    d.load("idle")
    _, (start, *_) = d.request("large")
    assert isinstance(start, StartWorker)
    d.handle(events.MemorySampled({"cuda:0": 50}, loading=((start.instance, 30),)))
    _, instructions = d.request("small")
    assert [do.model.name for do in of_kind(StartWorker, instructions)] == ["small"]
    assert of_kind(Evicted, instructions) == []


def test_a_pinned_model_stays_and_its_memory_is_not_available(driver: type[Driver]) -> None:
    d = driver()
    d.add("pinned", 60, pinned=True)
    d.add("other", 50)
    d.load("pinned")
    request, instructions = d.request("other")
    assert "pinned" in failures(instructions)[request].message
    assert d.loaded() == ["pinned"]


def test_a_busy_model_is_not_evicted_during_its_turn(driver: type[Driver]) -> None:
    d = driver(patience=1.0)
    d.add("busy", 80)
    d.add("other", 80)
    busy = d.load("busy")
    request, _ = d.request("busy")
    _, instructions = d.request("other")
    assert instructions == []
    instructions = d.finish(request)
    assert of_kind(StopWorker, instructions) == [StopWorker(busy)]


def test_a_stream_of_requests_cannot_block_another_model_forever(driver: type[Driver]) -> None:
    d = driver(patience=1.0)
    d.add("greedy", 80)
    d.add("other", 80)
    greedy = d.load("greedy")
    running, _ = d.request("greedy")
    d.request("other")
    d.wait(1.0)
    d.request("greedy")
    instructions = d.finish(running)
    assert dispatched(instructions) == []
    assert of_kind(StopWorker, instructions) == [StopWorker(greedy)]


def test_two_models_that_do_not_fit_together_take_turns(driver: type[Driver]) -> None:
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
        d.handle(events.TimerFired())
    assert answered == {"a": 40, "b": 40}


def test_memory_of_other_programs_is_not_reserved(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 80)
    d.handle(events.MemorySampled({"cpu": 50}))
    _, instructions = d.request("a")
    assert of_kind(StartWorker, instructions) == []
    instructions = d.handle(events.MemorySampled({"cpu": 90}))
    assert len(of_kind(StartWorker, instructions)) == 1


def test_reserved_memory_that_is_not_allocated_yet_is_not_reserved_twice(
    driver: type[Driver],
) -> None:
    d = driver()
    d.add("a", 40)
    d.add("b", 40)
    d.handle(events.MemorySampled({"cpu": 70}))
    _, instructions = d.request("a")
    assert len(of_kind(StartWorker, instructions)) == 1
    _, instructions = d.request("b")
    assert of_kind(StartWorker, instructions) == []


def test_a_load_cannot_take_the_memory_an_earlier_load_waits_for(driver: type[Driver]) -> None:
    d = driver()
    d.add("resident", 60)
    d.add("first", 90)
    d.add("second", 40)
    resident = d.load("resident")
    running, _ = d.request("resident")
    d.request("first")
    _, instructions = d.request("second")
    assert of_kind(StartWorker, instructions) == []
    d.finish(running)
    (start,) = of_kind(StartWorker, d.gone(resident))
    assert start.model.name == "first"


def test_the_measured_memory_replaces_the_estimate(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 30)
    d.request("a")
    instructions = d.ready(1, memory=20)
    assert d.brain.fleet.ledger.charge(1) == 20
    assert [do.memory for do in of_kind(Learn, instructions)] == [20]


def test_declared_memory_stays_reserved_if_less_is_measured(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 30, declared=50)
    d.request("a")
    d.ready(1, memory=20)
    assert d.brain.fleet.ledger.charge(1) == 50


def test_a_declaration_that_was_exceeded_is_replaced_by_what_was_measured(
    driver: type[Driver],
) -> None:
    d = driver()
    model = d.add("a", 30, declared=50)
    request, _ = d.request("a")
    d.ready(1, memory=20)
    assert model.footprint("cpu", d.brain.rules) == (50, "declared")
    assert not model.exceeds_declared("cpu")
    d.finish(request, peak=60)
    assert model.footprint("cpu", d.brain.rules) == (60, "learned")
    assert model.exceeds_declared("cpu")


def test_a_load_beyond_its_declaration_leaves_others_what_was_reserved_for_it_in_excess(
    driver: type[Driver],
) -> None:
    d = driver()
    model = d.add("a", 30, declared=50)
    model.learned["cpu"] = 80
    d.add("b", 40)
    d.operation("a")
    d.operation("b")
    assert [do.model.name for do in of_kind(StartWorker, d.ready(1, memory=60))] == ["b"]


def test_a_model_that_took_more_than_its_device_has_is_loaded_there_again(
    driver: type[Driver],
) -> None:
    d = driver()
    model = d.add("a", 30)
    request, _ = d.request("a")
    d.ready(1, memory=30)
    d.finish(request, peak=150)
    assert model.learned == {"cpu": 100}
    d.unload("a")
    d.gone(1)
    _, instructions = d.request("a")
    assert [do.memory for do in of_kind(StartWorker, instructions)] == [100]


def test_what_a_class_reports_is_all_that_it_takes_beside_its_process(driver: type[Driver]) -> None:
    d = driver(overhead={"cpu": 5, "cuda": 0}, file_factor=1.3)
    model = d.add("a", 40, process={"cpu": 7})
    assert model.footprint("cpu", d.brain.rules) == (52 + 7 + 5, "estimated")
    d.handle(events.ModelEstimated("a", 40, everything=True))
    assert model.footprint("cpu", d.brain.rules) == (40 + 7 + 5, "estimated")


def test_the_duration_of_a_load_is_that_of_its_process(driver: type[Driver]) -> None:
    d = driver()
    model = d.add("a", 30)
    d.operation("a")
    d.now += 10
    d.handle(events.WorkerReady(1, 30, load_seconds=0.5))
    assert model.history.load_seconds == 0.5
    state = d.instances[1].state
    assert isinstance(state, Ready)
    assert state.load_seconds == 0.5


def test_the_peak_of_an_inference_is_charged_and_learned(driver: type[Driver]) -> None:
    d = driver()
    model = d.add("a", 30)
    request, _ = d.request("a")
    d.ready(1, memory=30)
    d.finish(request, peak=55)
    assert d.brain.fleet.ledger.charge(1) == 55
    assert model.learned == {"cpu": 55}


def test_measuring_more_than_the_capacity_evicts_idle_models(driver: type[Driver]) -> None:
    d = driver()
    d.add("idle", 50)
    d.add("grows", 40)
    idle = d.load("idle")
    d.request("grows")
    instructions = d.ready(2, memory=70)
    assert of_kind(StopWorker, instructions) == [StopWorker(idle)]


def test_a_load_that_runs_out_of_memory_is_retried_once_with_more(driver: type[Driver]) -> None:
    d = driver()
    d.add("idle", 50)
    d.add("a", 40)
    idle = d.load("idle")
    request, _ = d.request("a")
    oom = events.WorkerLoadFailed(2, InsufficientMemory("no"), out_of_memory=True)
    instructions = d.handle(oom)
    assert failures(instructions) == {}
    assert StopWorker(idle) in instructions or StopWorker(idle) in d.gone(2)
    if 2 in d.instances:
        d.gone(2)
    (start,) = of_kind(StartWorker, d.gone(idle))
    assert start.memory == 60
    instructions = d.handle(
        events.WorkerLoadFailed(3, InsufficientMemory("no"), out_of_memory=True)
    )
    assert isinstance(failures(instructions)[request], InsufficientMemory)


def test_a_request_that_runs_out_of_memory_runs_once_more(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 40)
    instance = d.load("a")
    request, _ = d.request("a")
    instructions = d.finish(request, error=InsufficientMemory("no"), out_of_memory=True)
    assert StopWorker(instance, kill=True) in instructions
    (start,) = of_kind(StartWorker, instructions + d.gone(instance))
    assert dispatched(d.ready(start.instance)) == [request]
    instructions = d.finish(request, error=InsufficientMemory("no"), out_of_memory=True)
    assert isinstance(failures(instructions)[request], InsufficientMemory)


@pytest.mark.parametrize(
    ("requested", "need"),
    [
        (20, 50),  # 30 + 20 were reserved for it: another process took them
        (21, 75),  # more than was reserved
        (0, 75),  # unknown
    ],
)
def test_who_runs_out_of_memory_on_a_gpu_is_to_blame_only_beyond_its_reservation(
    driver: type[Driver], requested: int, need: int
) -> None:
    d = driver(devices=(("cuda:0", "cuda", 100),))
    model = d.add("a", 50)
    instance = d.load("a")
    request, _ = d.request("a")
    no = InsufficientMemory("no")
    how: dict[str, Any] = {"error": no, "out_of_memory": True, "peak": 30, "requested": requested}
    instructions = d.finish(request, **how)
    (start,) = of_kind(StartWorker, instructions + d.gone(instance))
    assert start.memory == need
    assert model.learned == {"cuda": need}


def test_a_load_that_others_leave_no_memory_is_retried_with_what_it_needs(
    driver: type[Driver],
) -> None:
    d = driver(devices=(("cuda:0", "cuda", 100),))
    d.add("a", 50)
    d.operation("a")
    d.handle(events.MemorySampled({"cuda:0": 10}, loading=((1, 30),)))
    no = InsufficientMemory("no")
    d.handle(events.WorkerLoadFailed(1, no, out_of_memory=True, requested=15))
    d.gone(1)
    (start,) = of_kind(StartWorker, d.handle(events.MemorySampled({"cuda:0": 100})))
    assert start.memory == 50


def test_a_failed_load_fails_every_waiting_request(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 40)
    operation, _ = d.operation("a")
    request, _ = d.request("a")
    instructions = d.handle(events.WorkerLoadFailed(1, LoadFailed("no such class")))
    assert set(failures(instructions)) == {operation, request}


def test_an_idle_model_is_unloaded_after_its_keep_alive(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 40, keep_alive=10.0)
    instance = d.load("a")
    assert d.brain.wakeup == 10.0
    assert d.wait(10) == [StopWorker(instance)]


def test_an_unload_completes_once_the_memory_is_free(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 40)
    instance = d.load("a")
    operation, instructions = d.unload("a")
    assert instructions == [StopWorker(instance)]
    assert Complete(operation, ended=1) in d.gone(instance)


def test_an_unload_lets_the_running_request_finish(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 40)
    instance = d.load("a")
    request, _ = d.request("a")
    _, instructions = d.unload("a")
    assert instructions == []
    assert d.finish(request) == [StopWorker(instance)]


def test_a_model_is_loaded_on_the_device_it_names(driver: type[Driver]) -> None:
    d = driver(devices=(("cuda:0", "cuda", 100), ("cpu", "cpu", 100)))
    d.add("a", 40, device="cpu")
    _, instructions = d.request("a")
    assert of_kind(StartWorker, instructions)[0].device == "cpu"


def test_an_unknown_device_is_an_error(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 40)
    operation, instructions = d.operation("a", device="cuda:7")
    assert isinstance(failures(instructions)[operation], DeviceNotFound)


def test_gpus_are_preferred_to_cpus_and_cpus_to_failing(driver: type[Driver]) -> None:
    d = driver(devices=(("cpu", "cpu", 200), ("cuda:0", "cuda", 100)))
    d.add("fits", 40)
    d.add("too-large", 150)
    assert of_kind(StartWorker, d.request("fits")[1])[0].device == "cuda:0"
    assert of_kind(StartWorker, d.request("too-large")[1])[0].device == "cpu"


def test_a_model_that_does_not_use_the_gpu_goes_to_the_cpu_once_it_has_answered(
    driver: type[Driver],
) -> None:
    d = driver(devices=(("cuda:0", "cuda", 100), ("cpu", "cpu", 200)))
    forest = d.add("forest", 80)
    request, instructions = d.request("forest")
    (start,) = of_kind(StartWorker, instructions)
    assert start.device == "cuda:0"
    d.ready(start.instance, memory=0)
    assert d.brain.ledger.charge(start.instance) == 0
    assert forest.learned == {}  # it might still use the GPU to answer
    assert Learn(forest, "cuda", 0) in d.finish(request)
    d.unload("forest")
    d.gone(start.instance)
    (again,) = of_kind(StartWorker, d.request("forest")[1])
    assert (again.device, again.memory) == ("cpu", 80)


def test_a_model_that_is_found_not_to_use_gpus_waits_for_no_memory_of_one(
    driver: type[Driver],
) -> None:
    d = driver(devices=(("cuda:0", "cuda", 100), ("cuda:1", "cuda", 100)))
    d.handle(events.MemorySampled({"cuda:0": 5, "cuda:1": 100}))
    d.add("forest", 10)
    request, instructions = d.request("forest")
    (start,) = of_kind(StartWorker, instructions)
    d.request("forest")
    d.ready(start.instance, memory=0)
    # The second request keeps it busy where it is.
    assert not of_kind(StartWorker, d.operation("forest", "cuda:0")[1])
    (moved,) = of_kind(StartWorker, d.finish(request))
    assert (moved.device, moved.memory) == ("cuda:0", 0)


def test_a_model_that_begins_to_use_the_gpu_with_its_first_request_stays_on_gpus(
    driver: type[Driver],
) -> None:
    d = driver(devices=(("cuda:0", "cuda", 100), ("cpu", "cpu", 200)))
    lazy = d.add("lazy", 80, declared=90)
    request, instructions = d.request("lazy")
    (start,) = of_kind(StartWorker, instructions)
    d.ready(start.instance, memory=0)
    d.finish(request, peak=60)
    assert lazy.learned == {"cuda": 60}
    assert d.brain.ledger.charge(start.instance) == 90


def test_a_model_bound_to_a_gpu_that_it_does_not_use_stays_there_and_takes_nothing(
    driver: type[Driver],
) -> None:
    d = driver(devices=(("cuda:0", "cuda", 100), ("cpu", "cpu", 200)))
    d.add("bound", 80, device="cuda:0", learned={"cuda": 0}, declared=90)
    (start,) = of_kind(StartWorker, d.request("bound")[1])
    assert (start.device, start.memory) == ("cuda:0", 0)


def test_loading_on_another_device_moves_the_model(driver: type[Driver]) -> None:
    d = driver(devices=(("cpu0", "cpu", 100), ("cpu1", "cpu", 100)))
    d.add("a", 40)
    _, instructions = d.operation("a", device="cpu0")
    d.ready(1)
    operation, instructions = d.operation("a", device="cpu1")
    assert StopWorker(1) in instructions
    assert of_kind(StartWorker, instructions)[0].device == "cpu1"
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
def test_strategies_choose_among_devices_where_it_fits(
    driver: type[Driver], strategy: Any, expected: str
) -> None:
    d = driver(devices=(("large", "cpu", 100), ("small", "cpu", 50)), strategy=strategy)
    d.add("first", 10, device="large")
    d.load("first")
    d.add("second", 20, device="small" if strategy == "least-memory-used" else "large")
    d.load("second")
    d.add("third", 10)
    _, instructions = d.request("third")
    assert of_kind(StartWorker, instructions)[0].device == expected


def test_a_replacing_model_takes_over_the_queue_and_ends_the_old_instances(
    driver: type[Driver],
) -> None:
    d = driver()
    d.add("a", 40)
    instance = d.load("a")
    running, _ = d.request("a")
    d.request("a")
    waiting, _ = d.request("a")
    d.add("a", 30)
    state = d.instances[instance].state
    assert isinstance(state, Ready)
    assert state.draining
    assert d.brain.models["a"].queue.first.id == waiting
    assert running in [r.id for r in d.instances[instance].in_flight]


def test_a_load_that_takes_too_long_is_killed_and_fails_what_waits(driver: type[Driver]) -> None:
    d = driver(load_timeout=10.0)
    d.add("a", 40)
    request, _ = d.request("a", timeout=60)
    assert d.brain.wakeup == 10.0
    instructions = d.wait(10)
    assert isinstance(failures(instructions)[request], LoadFailed)
    assert StopWorker(1, kill=True) in instructions
    d.gone(1)
    assert d.instances == {}


def test_a_load_is_killed_only_without_progress(driver: type[Driver]) -> None:
    d = driver(load_timeout=10.0)
    d.add("a", 40)
    request, _ = d.request("a", timeout=600)
    for read in range(1, 4):
        d.now += 9
        d.handle(events.LoadProgressed(1, read, 100))
        assert d.wait(0) == []
        assert d.brain.wakeup <= d.now + 10
    d.handle(events.LoadProgressed(1, 3, 100))  # no progress since the last report
    instructions = d.wait(10)
    assert StopWorker(1, kill=True) in instructions
    assert "after 3 B of 100 B" in failures(instructions)[request].message


def test_a_patient_operation_waits_while_the_load_makes_progress(driver: type[Driver]) -> None:
    d = driver(load_timeout=10.0)
    d.add("a", 40)
    operation, hasty = 71, 72
    d.handle(events.LoadRequested(operation, "a", None, d.now + 10, patient=True))
    d.handle(events.LoadRequested(hasty, "a", None, d.now + 10))
    d.now += 6
    d.handle(events.LoadProgressed(1, 50, 100))
    assert failures(d.wait(4)).keys() == {hasty}
    assert d.brain.wakeup == 16
    instructions = d.wait(6)
    assert isinstance(failures(instructions)[operation], LoadFailed)


def test_a_patient_operation_does_not_wait_for_memory_forever(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 60)
    d.add("b", 60)
    d.acquire("a")
    d.ready(1)
    d.handle(events.LoadRequested(71, "b", None, d.now + 10, patient=True))
    assert isinstance(failures(d.wait(10))[71], DeadlineExceeded)


def test_a_learned_need_never_exceeds_the_capacity_of_the_device(driver: type[Driver]) -> None:
    d = driver()
    model = d.add("a", 45, min_instances=2, max_instances=2)
    d.load("a")
    model.learned["cpu"] = 70
    d.ready(2, memory=20)
    assert d.brain.fleet.ledger.accounts["cpu"].charged <= 100


def test_the_estimate_of_a_models_own_code_is_reserved(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 10)
    d.handle(events.ModelEstimated("a", 70))
    _, instructions = d.request("a")
    (start,) = of_kind(StartWorker, instructions)
    assert start.memory == 70
