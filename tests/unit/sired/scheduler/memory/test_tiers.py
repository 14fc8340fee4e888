"""Models that sleep in main memory instead of ending, and wake again."""

import pytest

from sire.errors import Cancelled, InsufficientMemory, InvalidInput, LoadFailed
from sired.scheduler import events
from sired.scheduler.entities.instance import Instance
from sired.scheduler.instructions import (
    Complete,
    Dispatch,
    Evicted,
    FreeWorkerDram,
    Instruction,
    SleepWorker,
    StartWorker,
    StopWorker,
    WakeWorker,
)
from tests.unit.sired.scheduler.conftest import Driver, dispatched, failures, of_kind


@pytest.fixture
def d(driver: type[Driver]) -> Driver:
    """A device that holds one of the models a, b and c; main memory holds two of them."""
    d = driver(devices=(("cuda:0", "cuda", 120),), dram=200)
    for name in "abc":
        d.add(name, 90)
    return d


def charges(d: Driver, instance: int) -> tuple[int, int]:
    ledger = d.brain.fleet.ledger
    return ledger.charge(instance), ledger.dram_charge(instance)


def take_turns(d: Driver, *names: str) -> dict[str, Instance]:
    """Load or wake models one after the other; each replaces the one before."""
    for name in names:
        d.now += 1
        instructions = d.operation(name)[1]
        for _ in range(9):
            for do in instructions:
                match do:
                    case SleepWorker():
                        instructions = d.slept(do.instance)
                    case StopWorker():
                        instructions = d.gone(do.instance)
                    case StartWorker() | WakeWorker():
                        instructions = d.ready(do.instance)
    return {i.model.name: i for i in d.instances.values()}


def test_an_evicted_model_sleeps_and_both_accounts_are_charged_until_its_device_is_free(
    d: Driver,
) -> None:
    a = d.load("a")
    _, instructions = d.request("b")
    assert of_kind(SleepWorker, instructions) == [SleepWorker(a)]
    assert not of_kind(StartWorker, instructions)
    assert charges(d, a) == (90, 81)
    (start,) = of_kind(StartWorker, d.slept(a, device=5, dram=81))
    assert (start.model.name, charges(d, a)) == ("b", (5, 81))


def test_a_request_for_a_sleeper_wakes_it_and_is_dispatched_once_it_is_awake(d: Driver) -> None:
    there = take_turns(d, "a", "b")
    a, b = there["a"].id, there["b"].id
    number, instructions = d.request("a")
    assert of_kind(SleepWorker, instructions) == [SleepWorker(b)]
    assert not of_kind(Dispatch, instructions)
    instructions = d.slept(b)
    assert of_kind(WakeWorker, instructions) == [WakeWorker(a)]
    assert charges(d, a) == (90, 81)
    instructions = d.ready(a)
    assert dispatched(instructions) == [number]
    assert charges(d, a) == (90, 0)


def test_the_least_recently_used_sleeper_ends_for_a_more_recently_used_model(d: Driver) -> None:
    there = take_turns(d, "a", "b")
    _, instructions = d.request("c")
    instructions = d.slept(there["b"].id)
    c = of_kind(StartWorker, instructions)[0].instance
    d.ready(c)
    d.now += 1
    d.add("d", 90)
    _, instructions = d.request("d")
    assert d.instances[c].in_flight
    instructions = d.handle(events.RequestFinished(c, d.instances[c].in_flight[0].id))
    assert Evicted(there["a"].id, "a", "c") in instructions
    assert of_kind(StopWorker, instructions) == [StopWorker(there["a"].id)]
    assert not of_kind(SleepWorker, instructions)
    instructions = d.gone(there["a"].id)
    assert of_kind(SleepWorker, instructions) == [SleepWorker(c)]


def test_a_model_that_cannot_sleep_or_does_not_fit_ends(driver: type[Driver]) -> None:
    for dram, sleep_memory in ((0, 81), (80, 81), (200, 0)):
        d = driver(dram=dram)
        d.add("a", 90)
        d.add("b", 90)
        _, instructions = d.operation("a")
        d.ready(of_kind(StartWorker, instructions)[0].instance, 90, sleep_memory)
        _, instructions = d.operation("b")
        assert of_kind(StopWorker, instructions)
        assert not of_kind(SleepWorker, instructions)


def test_a_model_that_would_leave_too_much_on_its_device_ends(driver: type[Driver]) -> None:
    d = driver(dram=200)
    d.add("a", 90)
    d.add("b", 95)
    d.load("a")
    _, instructions = d.operation("b")
    assert of_kind(StopWorker, instructions)
    assert not of_kind(SleepWorker, instructions)


def test_pinned_models_are_not_suspended_and_pinned_sleepers_do_not_end(
    driver: type[Driver],
) -> None:
    d = driver(dram=100)
    d.add("a", 40, pinned=True)
    d.add("b", 50)
    d.add("c", 50)
    a, b = d.load("a"), d.load("b")
    d.to_dram("a")
    d.slept(a)
    d.now += 1
    _, instructions = d.operation("c")
    assert of_kind(SleepWorker, instructions) == [SleepWorker(b)]
    d.slept(b)
    assert d.brain.fleet.ledger.dram_charge(a) == 36


def test_an_expired_model_sleeps_unless_its_keep_alive_is_0(d: Driver) -> None:
    a = d.load("a")
    assert of_kind(SleepWorker, d.wait(301)) == [SleepWorker(a)]
    d.slept(a)
    assert d.wait(1e6) == []
    number, instructions = d.request("a", keep_alive=0.0)
    d.ready(of_kind(WakeWorker, instructions)[0].instance)
    assert of_kind(StopWorker, d.finish(number)) == [StopWorker(a)]


def test_an_instance_that_fails_to_fall_asleep_ends_and_frees_both_accounts(d: Driver) -> None:
    a = d.load("a")
    d.request("b")
    instructions = d.handle(events.SleepFailed(a, LoadFailed("no")))
    assert of_kind(StopWorker, instructions) == [StopWorker(a)]
    assert of_kind(StartWorker, d.gone(a))
    assert d.brain.fleet.ledger.dram.charged == 0


def test_a_model_that_fails_to_wake_is_loaded_anew_for_its_requests(d: Driver) -> None:
    a = take_turns(d, "a")["a"].id
    d.to_dram("a")
    d.slept(a)
    number, instructions = d.request("a")
    assert of_kind(WakeWorker, instructions)
    instructions = d.handle(events.WorkerLoadFailed(a, LoadFailed("no")))
    assert of_kind(StopWorker, instructions)
    assert not failures(instructions)
    (start,) = of_kind(StartWorker, d.gone(a))
    assert dispatched(d.ready(start.instance)) == [number]


def test_running_out_of_memory_while_waking_raises_the_memory_need(d: Driver) -> None:
    a = take_turns(d, "a")["a"].id
    d.to_dram("a")
    d.slept(a)
    d.request("a")
    d.handle(events.WorkerLoadFailed(a, LoadFailed("no"), out_of_memory=True))
    (start,) = of_kind(StartWorker, d.gone(a))
    assert start.memory == 120


def test_a_sleeper_that_crashes_frees_both_accounts_and_fails_no_request(d: Driver) -> None:
    a = take_turns(d, "a")["a"].id
    d.to_dram("a")
    d.slept(a)
    assert d.gone(a) == []
    ledger = d.brain.fleet.ledger
    assert (ledger.accounts["cuda:0"].charged, ledger.dram.charged) == (0, 0)


def test_a_sleeper_whose_device_is_full_of_pinned_models_is_loaded_on_another(
    driver: type[Driver],
) -> None:
    d = driver(devices=(("cuda:0", "cuda", 100), ("cuda:1", "cuda", 100)), dram=200)
    d.add("a", 80)
    d.add("p", 80, device="cuda:0", pinned=True)
    d.operation("a", "cuda:0")
    d.ready(1)
    d.to_dram("a")
    d.slept(1)
    d.load("p")
    _, instructions = d.request("a")
    assert [start.device for start in of_kind(StartWorker, instructions)] == ["cuda:1"]
    assert of_kind(StopWorker, instructions) == [StopWorker(1)]


# Explicit operations


def test_a_sleep_operation_completes_once_the_model_sleeps(d: Driver) -> None:
    a = d.load("a")
    operation, instructions = d.to_dram("a")
    assert instructions == [SleepWorker(a)]
    assert Complete(operation, instance=a) in d.slept(a)
    again, instructions = d.to_dram("a")
    assert instructions == [Complete(again, instance=a)]


def test_a_model_on_disk_is_loaded_before_it_sleeps(d: Driver) -> None:
    operation, instructions = d.to_dram("a")
    (start,) = of_kind(StartWorker, instructions)
    assert of_kind(SleepWorker, d.ready(start.instance)) == [SleepWorker(start.instance)]
    assert Complete(operation, instance=start.instance) in d.slept(start.instance)


def test_a_busy_model_falls_asleep_once_it_has_answered(d: Driver) -> None:
    a = d.load("a")
    number, _ = d.request("a")
    assert not d.to_dram("a")[1]
    assert of_kind(SleepWorker, d.finish(number)) == [SleepWorker(a)]


def test_the_reason_why_a_model_cannot_sleep_comes_with_figures(driver: type[Driver]) -> None:
    d = driver(dram=50)
    d.add("a", 60)
    d.load("a")
    operation, instructions = d.to_dram("a")
    error = failures(instructions)[operation]
    assert isinstance(error, InsufficientMemory)
    assert (error.details["need_bytes"], error.details["capacity_bytes"]) == (54, 50)
    d.unload("a")
    d.gone(1)
    _, instructions = d.operation("a")
    d.ready(of_kind(StartWorker, instructions)[0].instance, 60, sleep_memory=0)
    operation, instructions = d.to_dram("a")
    assert isinstance(failures(instructions)[operation], InvalidInput)
    assert d.loaded() == ["a"]


def test_a_leased_model_stays_awake(d: Driver) -> None:
    d.load("a")
    d.acquire("a")
    operation, instructions = d.to_dram("a")
    assert isinstance(failures(instructions)[operation], Cancelled)
    assert not of_kind(SleepWorker, instructions)


def test_unloading_a_model_that_falls_asleep_completes_and_fails_the_sleep_operation(
    d: Driver,
) -> None:
    a = d.load("a")
    asleep, _ = d.to_dram("a")
    unload, instructions = d.unload("a")
    assert isinstance(failures(instructions)[asleep], Cancelled)
    assert of_kind(StopWorker, instructions) == [StopWorker(a, kill=True)]
    assert Complete(unload, ended=1) in d.gone(a)


# Main memory that is kept after waking


def kept(d: Driver, instance: int) -> list[Instruction]:
    """Wake a sleeper that keeps the main memory in which it slept."""
    here = d.instances[instance]
    instructions = d.handle(events.WorkerReady(instance, 90, here.sleep_memory, dram_memory=81))
    assert charges(d, instance) == (90, 81)
    return instructions


def test_an_instance_that_kept_main_memory_needs_no_more_to_sleep_again(
    driver: type[Driver],
) -> None:
    d = driver(dram=81)
    d.add("a", 90)
    a = d.load("a")
    d.to_dram("a")
    d.slept(a)
    d.operation("a")
    kept(d, a)
    assert of_kind(SleepWorker, d.to_dram("a")[1]) == [SleepWorker(a)]


def test_main_memory_kept_by_awake_instances_is_freed_before_any_sleeper_ends(
    driver: type[Driver],
) -> None:
    d = driver(devices=(("cuda:0", "cuda", 200), ("cuda:1", "cuda", 100)), dram=170)
    d.add("a", 90)
    d.add("b", 90)
    d.add("c", 90)
    a, b, c = d.load("a"), d.load("b"), d.load("c")
    for name, instance in (("b", b), ("a", a)):
        d.now += 1
        d.to_dram(name)
        d.slept(instance)
    d.operation("a")
    kept(d, a)
    d.now += 1
    operation, instructions = d.to_dram("c")
    assert instructions == [FreeWorkerDram(a)]
    instructions = d.handle(events.WorkerDramFreed(a))
    assert instructions == [SleepWorker(c)]
    assert charges(d, a) == (90, 0)
    assert Complete(operation, instance=c) in d.slept(c)
    assert d.instances[b].state_name == "asleep"
