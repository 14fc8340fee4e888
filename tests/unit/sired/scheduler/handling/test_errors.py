"""The texts of the scheduler's errors: what happened, with figures, and what to do next."""

from collections.abc import Iterable

from sire.errors import LoadFailed, SireError
from sired.scheduler import events
from sired.scheduler.instructions import Instruction
from tests.unit.sired.scheduler.conftest import Driver, failures


def only(instructions: Iterable[Instruction]) -> SireError:
    """The only failure among instructions."""
    (error,) = failures(instructions).values()
    return error


def test_an_operation_whose_load_waits_for_memory_reports_that(driver: type[Driver]) -> None:
    d = driver(patience=1000.0)
    d.add("busy", 90)
    d.add("m", 90)
    d.load("busy")
    d.request("busy", timeout=1000.0)
    d.operation("m", timeout=5.0)
    error = only(d.wait(5.0))
    assert error.message == (
        "m was not loaded before the deadline: "
        "its load was waiting for memory that busy models or other programs hold."
    )
    assert error.hint == "Allow more time with --timeout, or check: sire ps"


def test_a_request_that_waited_in_a_queue_reports_its_length(driver: type[Driver]) -> None:
    d = driver(pipeline=1)
    d.add("m", 10)
    d.load("m")
    d.request("m", timeout=1000.0)
    d.request("m", timeout=1000.0)
    d.request("m", timeout=5.0)
    assert only(d.wait(5.0)).message == "m did not answer within 5 s: its queue held 2 requests."


def test_a_lease_reports_how_many_instances_are_leased(driver: type[Driver]) -> None:
    d = driver()
    d.add("m", 10)
    d.load("m")
    d.acquire("m", timeout=1000.0)
    d.acquire("m", timeout=5.0)
    message = "No instance of m was free before the deadline: 1 of 1 are leased."
    assert only(d.wait(5.0)).message == message


def test_a_full_queue_reports_the_limit_that_was_reached(driver: type[Driver]) -> None:
    d = driver(pipeline=1, queue_per_model=1, queue_total=2)
    for name in ("a", "b", "c"):
        d.add(name, 10)
        d.load(name)
        d.request(name)
    d.request("a")
    error = only(d.request("a")[1])
    assert error.message == "The queue of a is full: it holds 1 request, the maximum."
    assert error.hint == "Try again later, or raise the setting queue.per_model."
    d.request("b")
    error = only(d.request("c")[1])
    expected = "The queues of all models together are full: they hold 2 requests, the maximum."
    assert (error.message, error.hint[-12:]) == (expected, "queue.total.")


def test_a_load_without_progress_reports_how_far_it_came(driver: type[Driver]) -> None:
    d = driver(load_timeout=10.0)
    d.add("m", 10)
    d.operation("m", timeout=1000.0)
    d.wait(5.0)
    d.handle(events.LoadProgressed(1, 3, 100))
    error = only(d.wait(10.0))
    assert isinstance(error, LoadFailed)
    assert error.message == (
        "m had not loaded after 15 s: no progress for 10 s after 3 B of 100 B. "
        "Its process was killed."
    )


def test_a_load_that_waits_for_another_on_its_gpu_does_not_hang(driver: type[Driver]) -> None:
    d = driver(load_timeout=10.0)
    d.add("m", 10)
    d.operation("m", timeout=1000.0)
    for _ in range(5):
        d.wait(8.0)
        d.handle(events.LoadProgressed(1, 0, 0))
    assert failures(d.wait(9.0)) == {}
    assert isinstance(only(d.wait(2.0)), LoadFailed)


def test_a_load_that_exceeds_its_declared_memory_reports_both_figures(driver: type[Driver]) -> None:
    d = driver()
    d.add("m", 10, declared=20)
    d.operation("m")
    error = only(d.ready(1, memory=30))
    expected = "m uses 30 B on cpu, more than its max_memory of 20 B. Its process was ended."
    assert error.message == expected
    assert (error.details["need_bytes"], error.details["max_memory_bytes"]) == (30, 20)


def test_a_load_that_runs_out_of_memory_twice_reports_what_was_reserved(
    driver: type[Driver],
) -> None:
    d = driver()
    d.add("m", 40)
    d.operation("m")
    no = LoadFailed("The allocator failed.")
    assert failures(d.handle(events.WorkerLoadFailed(1, no, out_of_memory=True))) == {}
    d.gone(1)
    error = only(d.handle(events.WorkerLoadFailed(2, no, out_of_memory=True)))
    assert error.message == (
        "m ran out of memory on cpu, where 60 B of 100 B were reserved for it: "
        "The allocator failed."
    )


def test_a_model_that_keeps_failing_reports_when_it_is_tried_again(driver: type[Driver]) -> None:
    d = driver(retry_after=4.0)
    d.add("m", 10)
    d.operation("m")
    d.handle(events.WorkerLoadFailed(1, LoadFailed("Its file is broken.")))
    d.gone(1)
    d.wait(1.0)
    error = only(d.request("m")[1])
    assert error.message == "Its file is broken."
    assert error.hint == "The next attempt is allowed in 3 s. To try now: sire load m"
