"""Leases: instances that serve one client only."""

from collections.abc import Iterable
from typing import Any

import pytest

from sire.errors import Cancelled, DeadlineExceeded, InferenceError, ModelNotFound, WorkerCrashed
from sired.scheduler import events
from sired.scheduler.instructions import (
    Complete,
    Dispatch,
    Instruction,
    LeaseGranted,
    LeaseLost,
    StartWorker,
    StopWorker,
)
from sired.scheduler.memory.pools import Pool
from tests.unit.sired.scheduler.conftest import Driver, dispatched, failures, of_kind


@pytest.fixture
def one(driver: type[Driver]) -> Driver:
    """A loaded model with one instance."""
    d = driver(pipeline=1)
    d.add("a", 20)
    d.load("a")
    return d


def granted(instructions: Iterable[Instruction]) -> list[int]:
    return [do.lease for do in of_kind(LeaseGranted, instructions)]


def test_an_idle_instance_is_granted_at_once_and_serves_only_its_lease(one: Any) -> None:
    lease, instructions = one.acquire("a")
    assert instructions == [LeaseGranted(lease, 1)]
    stranger, instructions = one.request("a")
    assert instructions == []
    own, instructions = one.request("a", lease=lease)
    assert instructions == [Dispatch(1, (own,))]
    assert dispatched(one.finish(own)) == []
    assert dispatched(one.give_back(lease)) == [stranger]


def test_a_lease_request_loads_its_model(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 20)
    lease, instructions = d.acquire("a")
    assert len(of_kind(StartWorker, instructions)) == 1
    assert granted(d.ready(1)) == [lease]


def test_a_lease_waits_for_running_and_earlier_requests(one: Any) -> None:
    running, _ = one.request("a")
    before, _ = one.request("a")
    lease, instructions = one.acquire("a")
    after, _ = one.request("a")
    assert instructions == []
    assert dispatched(one.finish(running)) == [before]
    instructions = one.finish(before)
    assert granted(instructions) == [lease]
    assert dispatched(instructions) == []
    assert dispatched(one.give_back(lease)) == [after]


def test_leases_are_granted_in_the_order_of_their_requests(one: Any) -> None:
    leases = [one.acquire("a")[0] for _ in range(3)]
    order = [leases[0]]
    for _ in range(2):
        order += granted(one.give_back(order[-1]))
    assert order == leases


def test_requests_under_one_lease_are_served_in_order_by_its_instance(one: Any) -> None:
    lease, _ = one.acquire("a")
    numbers = [one.request("a", lease=lease)[0] for _ in range(3)]
    assert dispatched(one.finish(numbers[0])) == [numbers[1]]
    assert one.brain.position(numbers[2])[0] == 1
    assert dispatched(one.finish(numbers[1])) == [numbers[2]]


def test_a_lease_not_granted_in_time_fails_with_the_reason(one: Any) -> None:
    one.acquire("a")
    lease, _ = one.acquire("a", timeout=5)
    assert one.brain.wakeup <= 5
    error = failures(one.wait(5))[lease]
    assert isinstance(error, DeadlineExceeded)
    assert "1 of 1 are leased" in error.message


def test_a_reserved_instance_serves_others_again_when_its_lease_times_out(one: Any) -> None:
    running, _ = one.request("a")
    lease, _ = one.acquire("a", timeout=5)
    waiting, _ = one.request("a")
    assert isinstance(failures(one.wait(5))[lease], DeadlineExceeded)
    assert dispatched(one.finish(running)) == [waiting]


def test_a_cancelled_lease_request_is_never_granted(one: Any) -> None:
    holder, _ = one.acquire("a")
    lease, _ = one.acquire("a")
    instructions = one.handle(events.RequestCancelled(lease))
    assert isinstance(failures(instructions)[lease], Cancelled)
    assert granted(one.give_back(holder)) == []


def test_an_instance_can_be_ended_on_release(one: Any) -> None:
    lease, _ = one.acquire("a", destroy_after_use=True)
    assert one.give_back(lease) == [StopWorker(1)]
    one.gone(1)
    _, instructions = one.acquire("a")
    assert len(of_kind(StartWorker, instructions)) == 1


def test_a_crash_ends_the_lease_and_fails_its_requests(one: Any) -> None:
    lease, _ = one.acquire("a")
    running, _ = one.request("a", lease=lease)
    waiting, _ = one.request("a", lease=lease)
    crash = WorkerCrashed("killed by SIGKILL")
    instructions = one.gone(1, crash)
    assert failures(instructions) == {running: crash, waiting: crash}
    assert of_kind(LeaseLost, instructions) == [LeaseLost(lease, crash)]
    late, instructions = one.request("a", lease=lease)
    assert failures(instructions) == {late: crash}
    one.give_back(lease)
    later, instructions = one.request("a", lease=lease)
    assert isinstance(failures(instructions)[later], Cancelled)


def test_an_unload_reports_the_lost_lease_at_once(one: Any) -> None:
    lease, _ = one.acquire("a")
    operation, instructions = one.unload("a")
    (lost,) = of_kind(LeaseLost, instructions)
    assert (lost.lease, type(lost.error)) == (lease, Cancelled)
    assert Complete(operation, ended=1) in one.gone(1)


def test_a_leased_instance_is_not_evicted_and_does_not_expire(driver: type[Driver]) -> None:
    d = driver(default_keep_alive=10.0, patience=1.0)
    d.add("a", 80)
    d.add("b", 80)
    d.load("a")
    lease, _ = d.acquire("a")
    d.request("b", timeout=1000)
    for _ in range(20):
        assert d.wait(10) == []
    assert StopWorker(1) in d.give_back(lease)


def test_the_pool_grows_if_all_instances_are_leased_and_it_may(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 20, max_instances=2)
    d.load("a")
    d.acquire("a")
    lease, instructions = d.acquire("a")
    assert len(of_kind(StartWorker, instructions)) == 1
    assert granted(d.ready(2)) == [lease]
    _, instructions = d.acquire("a")
    assert instructions == []


def test_requests_go_to_instances_that_are_not_leased(driver: type[Driver]) -> None:
    d = driver(pipeline=1)
    d.add("a", 20, min_instances=2, max_instances=2)
    d.load("a")
    d.ready(2)
    d.acquire("a")
    instructions = [d.request("a")[1] for _ in range(3)]
    assert [do.instance for one in instructions for do in of_kind(Dispatch, one)] == [2]


def test_pool_counts_available_used_and_total_instances(driver: type[Driver]) -> None:
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


def test_shrinking_ends_idle_instances_down_to_the_number_to_keep(driver: type[Driver]) -> None:
    d = driver()
    model = d.add("a", 20, min_instances=3, max_instances=3)
    d.load("a")
    d.ready(2)
    d.ready(3)
    d.acquire("a")
    operation, instructions = d.shrink("a", keep=1)
    assert instructions == [StopWorker(2), StopWorker(3)]
    d.gone(2)
    assert Complete(operation, ended=2) in d.gone(3)
    assert d.brain.pool(model) == Pool(0, 1, 1, 3)


def test_shrinking_all_models_ends_every_idle_instance_but_pinned_ones(
    driver: type[Driver],
) -> None:
    d = driver()
    d.add("a", 20)
    d.add("b", 20, pinned=True)
    d.add("c", 20)
    for name in "abc":
        d.load(name)
    d.request("c")
    _, instructions = d.shrink(None, keep=0)
    assert instructions == [StopWorker(1)]


def test_shrinking_nothing_completes_at_once_and_an_unknown_model_fails(one: Any) -> None:
    operation, instructions = one.shrink("a")
    assert instructions == [Complete(operation, ended=0)]
    operation, instructions = one.shrink("unknown")
    assert isinstance(failures(instructions)[operation], ModelNotFound)


def test_a_release_cancels_the_unanswered_requests_of_the_lease(one: Any) -> None:
    lease, _ = one.acquire("a")
    running, _ = one.request("a", lease=lease)
    waiting, _ = one.request("a", lease=lease)
    instructions = one.give_back(lease)
    assert isinstance(failures(instructions)[waiting], Cancelled)
    stranger, _ = one.request("a")
    assert dispatched(one.finish(running)) == [stranger]


def test_running_out_of_memory_under_a_lease_fails_the_request_and_keeps_the_lease(
    one: Any,
) -> None:
    lease, _ = one.acquire("a")
    request, _ = one.request("a", lease=lease)
    instructions = one.finish(request, error=InferenceError("no memory"), out_of_memory=True)
    assert list(failures(instructions)) == [request]
    assert of_kind(StopWorker, instructions) == []
    again, instructions = one.request("a", lease=lease)
    assert dispatched(instructions) == [again]


def test_removing_a_model_fails_its_lease_requests(one: Any) -> None:
    holder, _ = one.acquire("a")
    lease, _ = one.acquire("a")
    instructions = one.handle(events.ModelRemoved("a"))
    assert list(failures(instructions)) == [lease]
    assert [do.lease for do in of_kind(LeaseLost, instructions)] == [holder]


def test_a_released_lease_leaves_no_state(one: Any) -> None:
    for _ in range(100):
        lease, _ = one.acquire("a")
        request, _ = one.request("a", lease=lease)
        one.finish(request)
        one.give_back(lease)
    assert one.brain.queues.leases == {}
    assert one.brain._leases._held == one.brain._leases._lost == {}
    assert one.brain.queues.waiting == 0


def test_a_lease_whose_reserved_instance_crashes_waits_for_another(one: Any) -> None:
    one.request("a")
    lease, _ = one.acquire("a")
    instructions = one.gone(1)
    assert lease not in failures(instructions)
    assert granted(one.ready(of_kind(StartWorker, instructions)[0].instance)) == [lease]
