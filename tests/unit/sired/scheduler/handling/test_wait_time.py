"""Estimates of how long requests wait, and how they are reported."""

from typing import Any

import pytest

from sired.scheduler import events
from tests.unit.sired.scheduler.conftest import Driver, failures


def measured(driver: type[Driver], seconds: float = 0.5, **rules: Any) -> Driver:
    """A loaded model with a measured time per request, which took 2 s to load."""
    d = driver(pipeline=1, **rules)
    d.add("a", 30)
    _, _instructions = d.operation("a")
    d.now = 2.0
    d.ready(1)
    for _ in range(50):
        request, _ = d.request("a")
        d.finish(request, seconds=seconds)
    return d


def position(d: Driver, request: int) -> tuple[int, Any]:
    """How many requests are served before this one, and the seconds it is expected to wait."""
    found = d.brain.position(request)
    assert found is not None
    return found


def test_a_queue_position_comes_with_the_expected_wait(driver: type[Driver]) -> None:
    d = measured(driver)
    running, _ = d.request("a")
    numbers = [d.request("a")[0] for _ in range(3)]
    urgent, _ = d.request("a", priority="high")
    assert position(d, running) == (0, 0.0)
    assert position(d, urgent) == (1, pytest.approx(0.5))
    assert [position(d, n) for n in numbers] == [
        (2, pytest.approx(1.0)),
        (3, pytest.approx(1.5)),
        (4, pytest.approx(2.0)),
    ]


def test_an_answered_or_unknown_request_has_no_position(driver: type[Driver]) -> None:
    d = measured(driver)
    running, _ = d.request("a")
    d.finish(running)
    assert d.brain.position(running) is None
    assert d.brain.position(10**9) is None


def test_the_wait_is_unknown_until_something_was_measured(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 30)
    request, _ = d.request("a")
    assert position(d, request) == (1, None)


def test_a_model_that_has_to_be_loaded_adds_its_load_time(driver: type[Driver]) -> None:
    d = measured(driver)
    d.unload("a")
    d.gone(1)
    request, _ = d.request("a")
    assert position(d, request) == (1, pytest.approx(2.0))


def test_a_full_queue_reports_its_depth_and_the_expected_wait(driver: type[Driver]) -> None:
    d = measured(driver, queue_per_model=4)
    for _ in range(5):
        d.request("a")
    request, instructions = d.request("a")
    error = failures(instructions)[request]
    assert error.details["depth"] == 4
    assert error.details["wait_seconds"] == pytest.approx(2.5)
    assert "2.5 s" in error.message


def test_a_changed_service_time_is_learned_within_a_few_requests(driver: type[Driver]) -> None:
    d = measured(driver, seconds=0.5)
    for _ in range(20):
        request, _ = d.request("a")
        d.finish(request, seconds=0.1)
    d.request("a")
    request, _ = d.request("a")
    assert position(d, request)[1] == pytest.approx(0.1, rel=0.1)


def test_expired_and_cancelled_requests_leave_the_queue_at_once(driver: type[Driver]) -> None:
    d = measured(driver)
    d.request("a", timeout=1000)
    expiring, _ = d.request("a", timeout=1)
    cancelled, _ = d.request("a", timeout=1000)
    last, _ = d.request("a", timeout=1000)
    d.handle(events.RequestCancelled(cancelled))
    d.wait(1)
    assert position(d, last)[0] == 1
    assert d.brain.position(expiring) is None
