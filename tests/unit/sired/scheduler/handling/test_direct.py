"""Clients that talk to an instance directly: when they may, and that they keep nobody waiting."""

import pytest

from sire.errors import WorkerCrashed
from sired.scheduler import events
from sired.scheduler.entities.model import Model
from sired.scheduler.instructions import (
    CloseDirect,
    Dispatch,
    LeaseGranted,
    StartWorker,
    StopWorker,
)
from tests.unit.sired.scheduler.conftest import dispatched, failures, of_kind


@pytest.fixture
def one(driver):
    """A loaded model that somebody talks to directly."""
    d = driver(pipeline=1, patience=1.0, hung_after=5.0)
    d.add("a", 60)
    d.load("a")
    d.tell(events.DirectOpened(1))
    return d


def used(d, served=1, *, busy=False, abandoned=False, peak=0):
    """The worker has served so many requests until now, a tenth of a second each."""
    return d.tell(
        events.DirectUsed(
            instance=1,
            served=served,
            seconds=served * 0.1,
            last_used=d.now,
            busy=busy,
            abandoned=abandoned,
            peak=peak,
        )
    )


def test_a_model_that_is_not_loaded_can_be_talked_to_by_nobody(driver):
    d = driver()
    d.add("a", 20)
    assert d.brain.direct.instance("a") is None
    assert d.brain.direct.instance("nobody") is None


def test_a_loaded_model_that_nobody_waits_for_can(one):
    assert one.brain.direct.instance("a").id == 1


@pytest.mark.parametrize("options", [{"max_instances": 2}, {"max_instances": None}])
def test_of_several_instances_the_brain_chooses(driver, options):
    d = driver()
    d.add("a", 20, **options)
    d.load("a")
    assert d.brain.direct.instance("a") is None


def test_a_model_that_is_unloaded_after_each_use_is_not_talked_to(driver):
    d = driver()
    d.add("a", 20, keep_alive=0.0)
    d.load("a")
    assert d.brain.direct.instance("a") is None


def test_as_soon_as_somebody_has_to_wait_everybody_comes_to_the_brain(one):
    running, said = one.request("a")
    assert of_kind(CloseDirect, said) == []
    waiting, said = one.request("a")
    assert said == [CloseDirect(1)]
    assert one.brain.direct.instance("a") is None
    one.finish(running)
    one.finish(waiting)
    assert one.brain.direct.instance("a").id == 1


def test_what_is_used_directly_counts_as_used(one):
    one.add("b", 30)
    one.wait(10)
    one.load("b")
    one.wait(10)
    used(one)
    one.add("c", 40)
    _, said = one.request("c")
    assert of_kind(StopWorker, said) == [StopWorker(2, kill=False)]


def test_use_puts_off_the_end_of_keep_alive(driver):
    d = driver(default_keep_alive=10.0)
    d.add("a", 20)
    d.load("a")
    d.tell(events.DirectOpened(1))
    d.wait(9)
    used(d)
    assert d.wait(9) == []
    assert of_kind(StopWorker, d.wait(2)) == [StopWorker(1, kill=False)]


def test_who_is_at_work_is_busy_and_keeps_its_place_for_its_turn(one):
    used(one, busy=True)
    assert one.instances[1].state_name == "busy"
    one.add("b", 60)
    _, said = one.request("b")
    assert said == [CloseDirect(1)]
    assert one.brain.direct.awaited
    assert of_kind(StopWorker, one.wait(0.5)) == []
    assert of_kind(StopWorker, used(one)) == [StopWorker(1, kill=False)]


def test_a_turn_that_is_over_ends_as_soon_as_the_worker_is_done(one):
    used(one, busy=True)
    one.add("b", 60)
    one.request("b")
    one.wait(1.0)
    assert one.instances[1].state.draining
    assert of_kind(StopWorker, used(one)) == [StopWorker(1, kill=False)]
    assert of_kind(StartWorker, one.gone(1))


def test_an_idle_one_makes_room_at_once(one):
    one.add("b", 60)
    _, said = one.request("b")
    assert StopWorker(1, kill=False) in said
    assert CloseDirect(1) in said


def test_unloading_waits_for_what_the_worker_is_at(one):
    used(one, busy=True)
    _, said = one.unload("a")
    assert said == [CloseDirect(1)]
    assert of_kind(StopWorker, used(one)) == [StopWorker(1, kill=False)]


def test_a_lease_waits_for_what_the_worker_is_at(one):
    used(one, busy=True)
    lease, said = one.acquire("a")
    assert said == [CloseDirect(1)]
    assert LeaseGranted(lease, 1) in used(one)


def test_a_model_registered_anew_is_talked_to_no_longer(one):
    used(one, busy=True)
    said = one.tell(events.ModelAdded(Model("a", weights=70)))
    assert CloseDirect(1) in said
    assert one.brain.direct.instance("a") is None


def test_work_that_nobody_waits_for_ends_after_a_while_with_its_worker(one):
    used(one, busy=True, abandoned=True)
    assert one.wait(4) == []
    assert StopWorker(1, kill=True) in one.wait(1.5)


def test_work_that_somebody_waits_for_goes_on(one):
    used(one, busy=True, abandoned=True)
    one.wait(4)
    used(one, busy=True)
    assert of_kind(StopWorker, one.wait(4)) == []


def test_what_was_handed_to_a_worker_that_died_of_other_work_is_run_elsewhere(one):
    handed, _ = one.request("a")
    used(one, busy=True)
    said = one.tell(events.WorkerGone(1, WorkerCrashed("it died"), worked_directly=True))
    assert failures(said) == {}
    assert of_kind(StartWorker, said)
    assert dispatched(one.ready(2)) == [handed]


def test_the_peak_of_such_work_is_charged(one):
    used(one, peak=75)
    assert one.brain.fleet.ledger.charge(1) == 75


def test_requests_that_come_to_the_brain_are_served_beside_it(one):
    used(one, busy=True)
    number, said = one.request("a")
    assert said == [Dispatch(1, (number,))]


def test_the_end_of_work_is_the_last_use_although_its_answers_were_told_before(one):
    one.wait(1.0)
    used(one, busy=True)
    one.wait(1.0)
    used(one, served=0)
    assert one.brain.fleet.instances[1].state.last_used == one.now
