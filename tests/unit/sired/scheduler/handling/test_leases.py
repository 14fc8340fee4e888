"""Instances that serve one holder only."""

import pytest

from sire.errors import Cancelled, DeadlineExceeded, InferenceError, ModelNotFound, WorkerCrashed
from sired.scheduler import events
from sired.scheduler.instructions import (
    Complete,
    Dispatch,
    LeaseGranted,
    LeaseLost,
    StartWorker,
    StopWorker,
)
from sired.scheduler.memory.pools import Pool
from tests.unit.sired.scheduler.conftest import dispatched, failures, of_kind


@pytest.fixture
def one(driver):
    """A loaded model with one instance."""
    d = driver(pipeline=1)
    d.add("a", 20)
    d.load("a")
    return d


def granted(said):
    return [do.lease for do in of_kind(LeaseGranted, said)]


def test_an_idle_instance_is_granted_at_once_and_serves_its_holder_only(one):
    lease, said = one.acquire("a")
    assert said == [LeaseGranted(lease, 1)]
    stranger, said = one.request("a")
    assert said == []
    own, said = one.request("a", lease=lease)
    assert said == [Dispatch(1, (own,))]
    assert dispatched(one.finish(own)) == []
    assert dispatched(one.give_back(lease)) == [stranger]


def test_an_absent_model_is_loaded_for_who_wants_to_lease_it(driver):
    d = driver()
    d.add("a", 20)
    lease, said = d.acquire("a")
    assert len(of_kind(StartWorker, said)) == 1
    assert granted(d.ready(1)) == [lease]


def test_a_lease_waits_for_what_is_running_and_for_what_came_before_it(one):
    running, _ = one.request("a")
    before, _ = one.request("a")
    lease, said = one.acquire("a")
    after, _ = one.request("a")
    assert said == []
    assert dispatched(one.finish(running)) == [before]
    said = one.finish(before)
    assert granted(said) == [lease]
    assert dispatched(said) == []
    assert dispatched(one.give_back(lease)) == [after]


def test_leases_are_granted_in_the_order_they_were_asked_for(one):
    leases = [one.acquire("a")[0] for _ in range(3)]
    order = [leases[0]]
    for _ in range(2):
        order += granted(one.give_back(order[-1]))
    assert order == leases


def test_requests_of_one_holder_are_served_in_order_by_the_one_instance(one):
    lease, _ = one.acquire("a")
    numbers = [one.request("a", lease=lease)[0] for _ in range(3)]
    assert dispatched(one.finish(numbers[0])) == [numbers[1]]
    assert one.brain.position(numbers[2])[0] == 1
    assert dispatched(one.finish(numbers[1])) == [numbers[2]]


def test_a_lease_that_is_not_granted_in_time_is_told_what_it_waited_for(one):
    one.acquire("a")
    lease, _ = one.acquire("a", timeout=5)
    assert one.brain.wakeup <= 5
    error = failures(one.wait(5))[lease]
    assert isinstance(error, DeadlineExceeded)
    assert "1 of 1 are leased" in error.message


def test_a_kept_instance_serves_others_again_when_the_asker_gives_up(one):
    running, _ = one.request("a")
    lease, _ = one.acquire("a", timeout=5)
    waiting, _ = one.request("a")
    assert isinstance(failures(one.wait(5))[lease], DeadlineExceeded)
    assert dispatched(one.finish(running)) == [waiting]


def test_a_cancelled_asking_is_forgotten(one):
    holder, _ = one.acquire("a")
    lease, _ = one.acquire("a")
    said = one.tell(events.RequestCancelled(lease))
    assert isinstance(failures(said)[lease], Cancelled)
    assert granted(one.give_back(holder)) == []


def test_an_instance_can_be_destroyed_after_use(one):
    lease, _ = one.acquire("a", destroy_after_use=True)
    assert one.give_back(lease) == [StopWorker(1)]
    one.gone(1)
    _, said = one.acquire("a")
    assert len(of_kind(StartWorker, said)) == 1


def test_a_crash_takes_the_lease_with_it_and_says_so(one):
    lease, _ = one.acquire("a")
    running, _ = one.request("a", lease=lease)
    waiting, _ = one.request("a", lease=lease)
    crash = WorkerCrashed("killed by SIGKILL")
    said = one.gone(1, crash)
    assert failures(said) == {running: crash, waiting: crash}
    assert of_kind(LeaseLost, said) == [LeaseLost(lease, crash)]
    late, said = one.request("a", lease=lease)
    assert failures(said) == {late: crash}
    one.give_back(lease)
    later, said = one.request("a", lease=lease)
    assert isinstance(failures(said)[later], Cancelled)


def test_a_lease_lost_by_an_unload_is_told_at_once(one):
    lease, _ = one.acquire("a")
    operation, said = one.unload("a")
    (lost,) = of_kind(LeaseLost, said)
    assert (lost.lease, type(lost.error)) == (lease, Cancelled)
    assert Complete(operation, ended=1) in one.gone(1)


def test_a_leased_instance_is_neither_evicted_nor_ended_for_want_of_use(driver):
    d = driver(default_keep_alive=10.0, patience=1.0)
    d.add("a", 80)
    d.add("b", 80)
    d.load("a")
    lease, _ = d.acquire("a")
    d.request("b", timeout=1000)
    for _ in range(20):
        assert d.wait(10) == []
    assert StopWorker(1) in d.give_back(lease)


def test_where_all_are_leased_the_pool_grows_if_it_may(driver):
    d = driver()
    d.add("a", 20, max_instances=2)
    d.load("a")
    d.acquire("a")
    lease, said = d.acquire("a")
    assert len(of_kind(StartWorker, said)) == 1
    assert granted(d.ready(2)) == [lease]
    _, said = d.acquire("a")
    assert said == []


def test_requests_go_to_those_that_nobody_holds(driver):
    d = driver(pipeline=1)
    d.add("a", 20, min_instances=2, max_instances=2)
    d.load("a")
    d.ready(2)
    d.acquire("a")
    said = [d.request("a")[1] for _ in range(3)]
    assert [do.instance for one in said for do in of_kind(Dispatch, one)] == [2]


def test_a_pool_is_counted(driver):
    d = driver()
    model = d.add("a", 20, min_instances=3, max_instances=4)
    assert d.brain.pool(model) == Pool(0, 0, 0, 4)
    d.load("a")
    assert d.brain.pool(model) == Pool(1, 0, 3, 4)
    d.ready(2)
    d.ready(3)
    d.acquire("a")
    d.request("a")
    assert d.brain.pool(model) == Pool(1, 2, 3, 4)


def test_shrinking_ends_idle_instances_down_to_what_is_to_be_kept(driver):
    d = driver()
    model = d.add("a", 20, min_instances=3, max_instances=3)
    d.load("a")
    d.ready(2)
    d.ready(3)
    d.acquire("a")
    operation, said = d.shrink("a", keep=1)
    assert said == [StopWorker(2), StopWorker(3)]
    d.gone(2)
    assert Complete(operation, ended=2) in d.gone(3)
    assert d.brain.pool(model) == Pool(0, 1, 1, 3)


def test_cleaning_up_ends_whatever_is_idle_but_the_pinned(driver):
    d = driver()
    d.add("a", 20)
    d.add("b", 20, pinned=True)
    d.add("c", 20)
    for name in "abc":
        d.load(name)
    d.request("c")
    _, said = d.shrink(None, keep=0)
    assert said == [StopWorker(1)]


def test_nothing_to_shrink_is_answered_at_once_and_an_unknown_model_is_an_error(one):
    operation, said = one.shrink("a")
    assert said == [Complete(operation, ended=0)]
    operation, said = one.shrink("nobody")
    assert isinstance(failures(said)[operation], ModelNotFound)


def test_what_a_holder_did_not_wait_for_is_cancelled_when_it_gives_back(one):
    lease, _ = one.acquire("a")
    running, _ = one.request("a", lease=lease)
    waiting, _ = one.request("a", lease=lease)
    said = one.give_back(lease)
    assert isinstance(failures(said)[waiting], Cancelled)
    stranger, _ = one.request("a")
    assert dispatched(one.finish(running)) == [stranger]


def test_running_out_of_memory_under_a_lease_is_told_and_the_lease_stays(one):
    lease, _ = one.acquire("a")
    request, _ = one.request("a", lease=lease)
    said = one.finish(request, error=InferenceError("no memory"), out_of_memory=True)
    assert list(failures(said)) == [request]
    assert of_kind(StopWorker, said) == []
    again, said = one.request("a", lease=lease)
    assert dispatched(said) == [again]


def test_a_removed_model_answers_who_waits_for_a_lease_of_it(one):
    holder, _ = one.acquire("a")
    lease, _ = one.acquire("a")
    said = one.tell(events.ModelRemoved("a"))
    assert list(failures(said)) == [lease]
    assert [do.lease for do in of_kind(LeaseLost, said)] == [holder]


def test_nothing_of_a_lease_is_left_when_it_is_over(one):
    for _ in range(100):
        lease, _ = one.acquire("a")
        request, _ = one.request("a", lease=lease)
        one.finish(request)
        one.give_back(lease)
    assert one.brain.queues.leases == {}
    assert one.brain._leases._held == one.brain._leases._lost == {}
    assert one.brain.queues.waiting == 0


def test_an_asker_whose_kept_instance_crashes_waits_for_the_next(one):
    one.request("a")
    lease, _ = one.acquire("a")
    said = one.gone(1)
    assert lease not in failures(said)
    assert granted(one.ready(of_kind(StartWorker, said)[0].instance)) == [lease]
