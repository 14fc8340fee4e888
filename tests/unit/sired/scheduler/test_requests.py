"""A request from its arrival to its answer."""

import math
from collections.abc import Callable

from sire.errors import (
    Cancelled,
    DeadlineExceeded,
    InferenceError,
    ModelNotFound,
    QueueFull,
    WorkerCrashed,
)
from sired.scheduler import events
from sired.scheduler.instructions import Dispatch, Instruction, StartWorker, StopWorker
from tests.unit.sired.scheduler.conftest import Driver, dispatched, failures, of_kind


def test_the_first_request_starts_a_worker_and_is_dispatched_once_it_is_ready(
    driver: type[Driver],
) -> None:
    d = driver()
    model = d.add("a", 30)
    request, instructions = d.request("a")
    assert instructions == [StartWorker(1, model, "cpu", 30)]
    instructions = d.ready(1)
    assert Dispatch(1, (request,)) in instructions


def test_requests_for_an_unloaded_model_share_one_load(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 30)
    first, _ = d.request("a")
    second, instructions = d.request("a")
    assert instructions == []
    assert dispatched(d.ready(1)) == [first, second]


def test_a_worker_gets_as_many_requests_as_the_pipeline_holds(driver: type[Driver]) -> None:
    d = driver(pipeline=2)
    d.add("a", 30)
    d.load("a")
    numbers = [d.request("a") for _ in range(3)]
    assert [dispatched(instructions) for _, instructions in numbers] == [[1 + 1], [3], []]
    assert dispatched(d.finish(2)) == [4]


def test_a_request_for_an_unknown_model_fails_at_once(driver: type[Driver]) -> None:
    request, instructions = driver().request("unknown")
    assert isinstance(failures(instructions)[request], ModelNotFound)


def test_a_full_queue_reports_its_depth(driver: type[Driver]) -> None:
    d = driver(queue_per_model=2)
    d.add("a", 30)
    d.request("a")
    d.request("a")
    request, instructions = d.request("a")
    error = failures(instructions)[request]
    assert isinstance(error, QueueFull)
    assert error.details["depth"] == 2


def test_the_inputs_of_all_unanswered_requests_have_a_limit_in_bytes(driver: type[Driver]) -> None:
    d = driver(queue_memory=100)
    d.add("a", 30)
    d.add("b", 30)
    first, instructions = d.request("a", size=60)
    assert not failures(instructions)
    request, instructions = d.request("b", size=41)
    error = failures(instructions)[request]
    assert isinstance(error, QueueFull)
    assert error.message == (
        "There is no room for an input of 41 B: those of 1 request without an answer take 60 B of "
        "at most 100 B, and this client's 60 B of at most 75 B."
    )
    assert (error.details["held_bytes"], error.details["limit_bytes"]) == (60, 100)
    second, instructions = d.request("b", size=15)
    assert not failures(instructions)
    d.handle(events.RequestCancelled(first))
    d.handle(events.RequestCancelled(second))
    large, instructions = d.request("b", size=1000)
    assert not failures(instructions)  # it would never fit otherwise
    request, instructions = d.request("a", size=1)
    assert isinstance(failures(instructions)[request], QueueFull)
    d.handle(events.RequestCancelled(large))
    request, instructions = d.request("a", size=100)
    assert not failures(instructions)


def test_a_client_with_many_inputs_leaves_room_for_those_of_others(driver: type[Driver]) -> None:
    d = driver(queue_memory=100)
    d.add("a", 30)
    first: list[int] = []
    while True:
        request, instructions = d.request("a", size=5, client="one")
        if failed := failures(instructions):
            break
        first.append(request)
    assert len(first) == 15
    details = failed[request].details
    assert (details["held_bytes"], details["limit_bytes"]) == (75, 100)
    assert (details["client_bytes"], details["client_limit_bytes"]) == (75, 75)
    for _ in range(3):
        _, instructions = d.request("a", size=5, client="two")
        assert not failures(instructions)
    assert failures(d.request("a", size=5, client="one")[1])
    # As those of the first are answered, the second takes their room, and not the first.
    for request in first[:8]:
        d.handle(events.RequestCancelled(request))
        assert not failures(d.request("a", size=4, client="two")[1])
    assert failures(d.request("a", size=30, client="one")[1])
    _, instructions = d.request("a", size=15, client="three")
    assert not failures(instructions)
    # Inputs that do not count are never kept out by it.
    assert not failures(d.request("a", size=0, client="")[1])


def test_all_queues_together_have_a_limit(driver: type[Driver]) -> None:
    d = driver(queue_total=2)
    d.add("a", 30)
    d.add("b", 30)
    d.request("a")
    d.request("b")
    request, instructions = d.request("b")
    assert "all models together" in failures(instructions)[request].message


def test_a_request_that_waited_too_long_fails_with_the_reason(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 30)
    request, _ = d.request("a", timeout=5)
    assert d.brain.wakeup == 5
    error = failures(d.wait(5))[request]
    assert isinstance(error, DeadlineExceeded)
    assert "still loading" in error.message
    assert dispatched(d.ready(1)) == []


def test_a_result_after_the_deadline_is_discarded(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 30)
    d.load("a")
    request, _ = d.request("a", timeout=5)
    assert "still computing" in failures(d.wait(5))[request].message
    assert d.finish(request) == []


def test_a_worker_that_hangs_long_past_the_deadline_is_killed(driver: type[Driver]) -> None:
    d = driver(hung_after=10)
    d.add("a", 30)
    instance = d.load("a")
    d.request("a", timeout=5)
    waiting, _ = d.request("a", timeout=100)
    d.wait(5)
    assert d.brain.wakeup == 15
    assert d.wait(10) == [StopWorker(instance, kill=True)]
    d.gone(instance)
    assert dispatched(d.ready(2)) == [waiting]


def test_a_cancelled_request_leaves_the_queue_and_its_load_does_not_start(
    driver: type[Driver],
) -> None:
    d = driver()
    d.add("big", 100)
    d.add("other", 100)
    d.load("big")
    d.request("big")  # busy, so that the other model has to wait
    request, _ = d.request("other")
    instructions = d.handle(events.RequestCancelled(request))
    assert isinstance(failures(instructions)[request], Cancelled)
    assert len(d.brain.loader.pending) == 0


def test_a_crash_fails_the_running_request_only_and_the_others_run_in_a_fresh_worker(
    driver: type[Driver],
) -> None:
    d = driver(pipeline=3)
    d.add("a", 30)
    instance = d.load("a")
    running, _ = d.request("a")
    second, _ = d.request("a")
    third, _ = d.request("a")
    instructions = d.gone(instance, WorkerCrashed("killed by SIGKILL"))
    assert list(failures(instructions)) == [running]
    (start,) = of_kind(StartWorker, instructions)
    assert dispatched(d.ready(start.instance)) == [second, third]


def test_a_request_that_crashes_its_worker_is_not_retried(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 30)
    instance = d.load("a")
    request, _ = d.request("a")
    assert isinstance(failures(d.gone(instance))[request], WorkerCrashed)
    assert d.instances == {}


def test_an_error_of_the_model_fails_its_request_and_nothing_else(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 30)
    instance = d.load("a")
    request, _ = d.request("a")
    other, _ = d.request("a")
    instructions = d.finish(request, error=InferenceError("ValueError: no"))
    assert list(failures(instructions)) == [request]
    assert [r.id for r in d.instances[instance].in_flight] == [other]


def test_no_wakeup_is_scheduled_when_nothing_waits(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 30, pinned=True)
    d.load("a")
    d.wait(1000)
    assert d.brain.wakeup == math.inf


def test_answered_requests_leave_no_state(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 30)
    d.load("a")
    for _ in range(1000):
        request, _ = d.request("a")
        d.finish(request)
    assert d.brain.queues.requests == {}
    assert len(d.brain.queues._deadlines) < 100
    assert d.brain.queues.waiting == 0


def test_a_running_request_of_a_removed_model_can_expire_and_be_cancelled(
    driver: type[Driver],
) -> None:
    ways: tuple[Callable[[Driver, int], list[Instruction]], ...] = (
        lambda d, request: d.wait(5),
        lambda d, request: d.handle(events.RequestCancelled(request)),
    )
    for how in ways:
        d = driver()
        d.add("a", 30)
        d.load("a")
        request, _ = d.request("a", timeout=5)
        d.handle(events.ModelRemoved("a"))
        assert list(failures(how(d, request))) == [request]
