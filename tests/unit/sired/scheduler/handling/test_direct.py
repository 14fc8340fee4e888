"""Direct connections: when they are allowed, and that they delay no queued request."""

from typing import Any

import pytest

from sire.errors import WorkerCrashed
from sired.scheduler import events
from sired.scheduler.entities.model import Model
from sired.scheduler.instructions import (
    CloseDirect,
    Dispatch,
    Instruction,
    LeaseGranted,
    StartWorker,
    StopWorker,
)
from tests.unit.sired.scheduler.conftest import Driver, dispatched, failures, of_kind


@pytest.fixture
def one(driver: type[Driver]) -> Driver:
    """A loaded model with a direct connection."""
    d = driver(pipeline=1, patience=1.0, hung_after=5.0)
    d.add("a", 60)
    d.load("a")
    d.handle(events.DirectOpened(1))
    return d


def used(
    d: Driver, served: int = 1, *, busy: bool = False, abandoned: bool = False, peak: int = 0
) -> list[Instruction]:
    """Report that the worker has served ``served`` requests, a tenth of a second each."""
    return d.handle(
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


def test_a_model_that_is_not_loaded_allows_no_direct_connection(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 20)
    assert d.brain.direct.instance("a") is None
    assert d.brain.direct.instance("unknown") is None


def test_a_loaded_model_without_waiting_requests_allows_direct_connections(one: Any) -> None:
    assert one.brain.direct.instance("a").id == 1


@pytest.mark.parametrize("options", [{"max_instances": 2}, {"max_instances": None}])
def test_a_model_with_several_instances_allows_no_direct_connection(
    driver: type[Driver], options: dict[str, Any]
) -> None:
    d = driver()
    d.add("a", 20, **options)
    d.load("a")
    assert d.brain.direct.instance("a") is None


def test_a_model_unloaded_after_each_use_allows_no_direct_connection(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 20, keep_alive=0.0)
    d.load("a")
    assert d.brain.direct.instance("a") is None


def test_direct_connections_close_as_soon_as_a_request_has_to_wait(one: Any) -> None:
    running, instructions = one.request("a")
    assert of_kind(CloseDirect, instructions) == []
    waiting, instructions = one.request("a")
    assert instructions == [CloseDirect(1)]
    assert one.brain.direct.instance("a") is None
    one.finish(running)
    one.finish(waiting)
    assert one.brain.direct.instance("a").id == 1


def test_direct_use_counts_as_use(one: Any) -> None:
    one.add("b", 30)
    one.wait(10)
    one.load("b")
    one.wait(10)
    used(one)
    one.add("c", 40)
    _, instructions = one.request("c")
    assert of_kind(StopWorker, instructions) == [StopWorker(2, kill=False)]


def test_direct_use_extends_the_keep_alive(driver: type[Driver]) -> None:
    d = driver(default_keep_alive=10.0)
    d.add("a", 20)
    d.load("a")
    d.handle(events.DirectOpened(1))
    d.wait(9)
    used(d)
    assert d.wait(9) == []
    assert of_kind(StopWorker, d.wait(2)) == [StopWorker(1, kill=False)]


def test_an_instance_busy_with_direct_work_keeps_its_memory_for_its_turn(one: Any) -> None:
    used(one, busy=True)
    assert one.instances[1].state_name == "busy"
    one.add("b", 60)
    _, instructions = one.request("b")
    assert instructions == [CloseDirect(1)]
    assert one.brain.direct.awaited  # noqa: PGH005 (no mock)
    assert of_kind(StopWorker, one.wait(0.5)) == []
    assert of_kind(StopWorker, used(one)) == [StopWorker(1, kill=False)]


def test_an_instance_whose_turn_is_over_ends_once_its_direct_work_is_done(one: Any) -> None:
    used(one, busy=True)
    one.add("b", 60)
    one.request("b")
    one.wait(1.0)
    assert one.instances[1].state.draining
    assert of_kind(StopWorker, used(one)) == [StopWorker(1, kill=False)]
    assert of_kind(StartWorker, one.gone(1))


def test_an_idle_instance_with_direct_connections_makes_room_at_once(one: Any) -> None:
    one.add("b", 60)
    _, instructions = one.request("b")
    assert StopWorker(1, kill=False) in instructions
    assert CloseDirect(1) in instructions


def test_unloading_waits_for_direct_work(one: Any) -> None:
    used(one, busy=True)
    _, instructions = one.unload("a")
    assert instructions == [CloseDirect(1)]
    assert of_kind(StopWorker, used(one)) == [StopWorker(1, kill=False)]


def test_a_lease_waits_for_direct_work(one: Any) -> None:
    used(one, busy=True)
    lease, instructions = one.acquire("a")
    assert instructions == [CloseDirect(1)]
    assert LeaseGranted(lease, 1) in used(one)


def test_replacing_a_model_closes_its_direct_connections(one: Any) -> None:
    used(one, busy=True)
    instructions = one.handle(events.ModelAdded(Model("a", weights=70)))
    assert CloseDirect(1) in instructions
    assert one.brain.direct.instance("a") is None


def test_a_worker_is_killed_for_direct_work_that_no_client_awaits(one: Any) -> None:
    used(one, busy=True, abandoned=True)
    assert one.wait(4) == []
    assert StopWorker(1, kill=True) in one.wait(1.5)


def test_direct_work_that_a_client_awaits_again_goes_on(one: Any) -> None:
    used(one, busy=True, abandoned=True)
    one.wait(4)
    used(one, busy=True)
    assert of_kind(StopWorker, one.wait(4)) == []


def test_a_dispatched_request_runs_elsewhere_if_direct_work_crashes_its_worker(one: Any) -> None:
    handed, _ = one.request("a")
    used(one, busy=True)
    instructions = one.handle(events.WorkerGone(1, WorkerCrashed("it died"), worked_directly=True))
    assert failures(instructions) == {}
    assert of_kind(StartWorker, instructions)
    assert dispatched(one.ready(2)) == [handed]


def test_the_peak_memory_of_direct_work_is_charged(one: Any) -> None:
    used(one, peak=75)
    assert one.brain.fleet.ledger.charge(1) == 75


def test_queued_requests_are_served_beside_direct_work(one: Any) -> None:
    used(one, busy=True)
    number, instructions = one.request("a")
    assert instructions == [Dispatch(1, (number,))]


def test_the_end_of_direct_work_is_the_last_use_even_if_reported_after_its_answers(
    one: Any,
) -> None:
    one.wait(1.0)
    used(one, busy=True)
    one.wait(1.0)
    used(one, served=0)
    assert one.brain.fleet.instances[1].state.last_used == one.now
