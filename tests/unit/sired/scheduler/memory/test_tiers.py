"""Who sleeps in main memory instead of ending, and how it wakes."""

import pytest

from sire.errors import Cancelled, InsufficientMemory, InvalidInput, LoadFailed
from sired.scheduler import events
from sired.scheduler.instructions import (
    Complete,
    Dispatch,
    Evicted,
    FreeWorkerDram,
    SleepWorker,
    StartWorker,
    StopWorker,
    WakeWorker,
)
from tests.unit.sired.scheduler.conftest import dispatched, failures, of_kind


@pytest.fixture
def d(driver):
    """A device that holds one of the models a, b and c, and main memory for two of them."""
    d = driver(devices=(("cuda:0", "cuda", 120),), dram=200)
    for name in "abc":
        d.add(name, 90)
    return d


def charges(d, instance):
    ledger = d.brain.fleet.ledger
    return ledger.charge(instance), ledger.dram_charge(instance)


def take_turns(d, *names):
    """Load or wake models one after the other, each in place of the one before."""
    for name in names:
        d.now += 1
        said = d.operation(name)[1]
        for _ in range(9):
            for do in said:
                match do:
                    case SleepWorker():
                        said = d.slept(do.instance)
                    case StopWorker():
                        said = d.gone(do.instance)
                    case StartWorker() | WakeWorker():
                        said = d.ready(do.instance)
    return {i.model.name: i for i in d.instances.values()}


def test_who_gives_way_sleeps_and_both_accounts_are_charged_until_its_device_is_free(d):
    a = d.load("a")
    _, said = d.request("b")
    assert of_kind(SleepWorker, said) == [SleepWorker(a)]
    assert not of_kind(StartWorker, said)
    assert charges(d, a) == (90, 81)
    (start,) = of_kind(StartWorker, d.slept(a, device=5, dram=81))
    assert (start.model.name, charges(d, a)) == ("b", (5, 81))


def test_a_request_for_a_sleeper_wakes_it_and_is_dispatched_once_it_is_awake(d):
    there = take_turns(d, "a", "b")
    a, b = there["a"].id, there["b"].id
    number, said = d.request("a")
    assert of_kind(SleepWorker, said) == [SleepWorker(b)]
    assert not of_kind(Dispatch, said)
    said = d.slept(b)
    assert of_kind(WakeWorker, said) == [WakeWorker(a)]
    assert charges(d, a) == (90, 81)
    said = d.ready(a)
    assert dispatched(said) == [number]
    assert charges(d, a) == (90, 0)


def test_the_sleeper_used_longest_ago_goes_to_disk_for_one_that_was_used_since(d):
    there = take_turns(d, "a", "b")
    _, said = d.request("c")
    said = d.slept(there["b"].id)
    c = of_kind(StartWorker, said)[0].instance
    d.ready(c)
    d.now += 1
    d.add("d", 90)
    _, said = d.request("d")
    assert d.instances[c].in_flight
    said = d.tell(events.RequestFinished(c, d.instances[c].in_flight[0].id))
    assert Evicted(there["a"].id, "a", "c") in said
    assert of_kind(StopWorker, said) == [StopWorker(there["a"].id)]
    assert not of_kind(SleepWorker, said)
    said = d.gone(there["a"].id)
    assert of_kind(SleepWorker, said) == [SleepWorker(c)]


def test_what_cannot_sleep_or_does_not_fit_is_ended(driver):
    for dram, sleep_memory in ((0, 81), (80, 81), (200, 0)):
        d = driver(dram=dram)
        d.add("a", 90)
        d.add("b", 90)
        _, said = d.operation("a")
        d.ready(said[0].instance, 90, sleep_memory)
        _, said = d.operation("b")
        assert of_kind(StopWorker, said) and not of_kind(SleepWorker, said)


def test_who_would_leave_too_much_behind_is_ended(driver):
    d = driver(dram=200)
    d.add("a", 90)
    d.add("b", 95)
    d.load("a")
    _, said = d.operation("b")
    assert of_kind(StopWorker, said) and not of_kind(SleepWorker, said)


def test_pinned_models_neither_sleep_nor_leave_main_memory_for_others(driver):
    d = driver(dram=100)
    d.add("a", 40, pinned=True)
    d.add("b", 50)
    d.add("c", 50)
    a, b = d.load("a"), d.load("b")
    d.to_dram("a")
    d.slept(a)
    d.now += 1
    _, said = d.operation("c")
    assert of_kind(SleepWorker, said) == [SleepWorker(b)]
    d.slept(b)
    assert d.brain.fleet.ledger.dram_charge(a) == 36


def test_one_that_idled_for_its_keep_alive_sleeps_unless_it_was_to_be_unloaded_after_use(d):
    a = d.load("a")
    assert of_kind(SleepWorker, d.wait(301)) == [SleepWorker(a)]
    d.slept(a)
    assert d.wait(1e6) == []
    number, said = d.request("a", keep_alive=0.0)
    d.ready(of_kind(WakeWorker, said)[0].instance)
    assert of_kind(StopWorker, d.finish(number)) == [StopWorker(a)]


def test_one_that_cannot_fall_asleep_is_ended_and_frees_both_accounts(d):
    a = d.load("a")
    d.request("b")
    said = d.tell(events.SleepFailed(a, LoadFailed("no")))
    assert of_kind(StopWorker, said) == [StopWorker(a)]
    assert of_kind(StartWorker, d.gone(a))
    assert d.brain.fleet.ledger.dram.charged == 0


def test_whoever_waits_for_one_that_cannot_wake_has_it_loaded_anew(d):
    a = take_turns(d, "a")["a"].id
    d.to_dram("a")
    d.slept(a)
    number, said = d.request("a")
    assert of_kind(WakeWorker, said)
    said = d.tell(events.WorkerLoadFailed(a, LoadFailed("no")))
    assert of_kind(StopWorker, said) and not failures(said)
    (start,) = of_kind(StartWorker, d.gone(a))
    assert dispatched(d.ready(start.instance)) == [number]


def test_running_out_of_memory_while_waking_raises_the_need_as_it_does_while_loading(d):
    a = take_turns(d, "a")["a"].id
    d.to_dram("a")
    d.slept(a)
    d.request("a")
    d.tell(events.WorkerLoadFailed(a, LoadFailed("no"), out_of_memory=True))
    (start,) = of_kind(StartWorker, d.gone(a))
    assert start.memory == 120


def test_a_sleeper_that_dies_frees_both_accounts_and_fails_nobody(d):
    a = take_turns(d, "a")["a"].id
    d.to_dram("a")
    d.slept(a)
    assert d.gone(a) == []
    ledger = d.brain.fleet.ledger
    assert (ledger.accounts["cuda:0"].charged, ledger.dram.charged) == (0, 0)


def test_a_sleeper_whose_device_pinned_models_fill_is_loaded_on_another(driver):
    d = driver(devices=(("cuda:0", "cuda", 100), ("cuda:1", "cuda", 100)), dram=200)
    d.add("a", 80)
    d.add("p", 80, device="cuda:0", pinned=True)
    d.operation("a", "cuda:0")
    d.ready(1)
    d.to_dram("a")
    d.slept(1)
    d.load("p")
    _, said = d.request("a")
    assert [start.device for start in of_kind(StartWorker, said)] == ["cuda:1"]
    assert of_kind(StopWorker, said) == [StopWorker(1)]


# By hand


def test_a_wish_to_sleep_is_answered_when_it_sleeps(d):
    a = d.load("a")
    operation, said = d.to_dram("a")
    assert said == [SleepWorker(a)]
    assert Complete(operation, instance=a) in d.slept(a)
    again, said = d.to_dram("a")
    assert said == [Complete(again, instance=a)]


def test_a_model_on_disk_is_loaded_before_it_sleeps(d):
    operation, said = d.to_dram("a")
    (start,) = of_kind(StartWorker, said)
    assert of_kind(SleepWorker, d.ready(start.instance)) == [SleepWorker(start.instance)]
    assert Complete(operation, instance=start.instance) in d.slept(start.instance)


def test_a_busy_model_sleeps_once_it_has_answered(d):
    a = d.load("a")
    number, _ = d.request("a")
    assert not d.to_dram("a")[1]
    assert of_kind(SleepWorker, d.finish(number)) == [SleepWorker(a)]


def test_why_a_model_cannot_sleep_is_said_with_the_figures(driver):
    d = driver(dram=50)
    d.add("a", 60)
    d.load("a")
    operation, said = d.to_dram("a")
    error = failures(said)[operation]
    assert isinstance(error, InsufficientMemory)
    assert (error.details["need_bytes"], error.details["capacity_bytes"]) == (54, 50)
    d.unload("a")
    d.gone(1)
    _, said = d.operation("a")
    d.ready(said[0].instance, 60, sleep_memory=0)
    operation, said = d.to_dram("a")
    assert isinstance(failures(said)[operation], InvalidInput)
    assert d.loaded() == ["a"]


def test_a_leased_model_stays_awake_for_its_holder(d):
    d.load("a")
    d.acquire("a")
    operation, said = d.to_dram("a")
    assert isinstance(failures(said)[operation], Cancelled)
    assert not of_kind(SleepWorker, said)


def test_who_unloads_a_model_that_falls_asleep_is_told_and_so_is_who_wanted_it_asleep(d):
    a = d.load("a")
    asleep, _ = d.to_dram("a")
    unload, said = d.unload("a")
    assert isinstance(failures(said)[asleep], Cancelled)
    assert of_kind(StopWorker, said) == [StopWorker(a, kill=True)]
    assert Complete(unload, ended=1) in d.gone(a)


# Main memory kept for the next time


def kept(d, instance):
    """Wake a sleeper that keeps the main memory it slept in."""
    here = d.instances[instance]
    said = d.tell(events.WorkerReady(instance, 90, here.sleep_memory, dram_memory=81))
    assert charges(d, instance) == (90, 81)
    return said


def test_one_that_kept_its_main_memory_needs_no_more_to_sleep_again(driver):
    d = driver(dram=81)
    d.add("a", 90)
    a = d.load("a")
    d.to_dram("a")
    d.slept(a)
    d.operation("a")
    kept(d, a)
    assert of_kind(SleepWorker, d.to_dram("a")[1]) == [SleepWorker(a)]


def test_what_one_that_is_awake_kept_is_freed_before_any_sleeper_goes_to_disk(driver):
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
    operation, said = d.to_dram("c")
    assert said == [FreeWorkerDram(a)]
    said = d.tell(events.WorkerDramFreed(a))
    assert said == [SleepWorker(c)]
    assert charges(d, a) == (90, 0)
    assert Complete(operation, instance=c) in d.slept(c)
    assert d.instances[b].state_name == "asleep"
