"""How long requests wait, and what they are told of it."""

import pytest

from sired.scheduler import events
from tests.unit.sired.scheduler.conftest import failures


def measured(driver, seconds=0.5, **rules):
    """A loaded model that was measured to take so long a request, and took 2 s to load."""
    d = driver(pipeline=1, **rules)
    d.add("a", 30)
    _, said = d.operation("a")
    d.now = 2.0
    d.ready(1)
    for _ in range(50):
        request, _ = d.request("a")
        d.finish(request, seconds=seconds)
    return d


def test_a_place_in_the_queue_comes_with_the_seconds_until_its_turn(driver):
    d = measured(driver)
    running, _ = d.request("a")
    numbers = [d.request("a")[0] for _ in range(3)]
    urgent, _ = d.request("a", priority="high")
    assert d.brain.position(running) == (0, 0.0)
    assert d.brain.position(urgent) == (1, pytest.approx(0.5))
    assert [d.brain.position(n) for n in numbers] == [
        (2, pytest.approx(1.0)),
        (3, pytest.approx(1.5)),
        (4, pytest.approx(2.0)),
    ]


def test_a_request_that_is_answered_or_unknown_has_no_place(driver):
    d = measured(driver)
    running, _ = d.request("a")
    d.finish(running)
    assert d.brain.position(running) is None
    assert d.brain.position(10**9) is None


def test_nobody_claims_to_know_what_was_never_measured(driver):
    d = driver()
    d.add("a", 30)
    request, _ = d.request("a")
    assert d.brain.position(request) == (1, None)


def test_a_model_that_has_to_be_loaded_again_adds_the_time_of_its_load(driver):
    d = measured(driver)
    d.unload("a")
    d.gone(1)
    request, _ = d.request("a")
    assert d.brain.position(request) == (1, pytest.approx(2.0))


def test_a_full_queue_tells_its_depth_and_the_wait(driver):
    d = measured(driver, queue_per_model=4)
    for _ in range(5):
        d.request("a")
    request, said = d.request("a")
    error = failures(said)[request]
    assert error.details["depth"] == 4
    assert error.details["wait_seconds"] == pytest.approx(2.5)
    assert "2.5 s" in error.message


def test_what_changes_is_learned_in_a_few_requests(driver):
    d = measured(driver, seconds=0.5)
    for _ in range(20):
        request, _ = d.request("a")
        d.finish(request, seconds=0.1)
    d.request("a")
    request, _ = d.request("a")
    assert d.brain.position(request)[1] == pytest.approx(0.1, rel=0.1)


def test_the_expired_and_the_cancelled_leave_the_queue_at_once(driver):
    d = measured(driver)
    d.request("a", timeout=1000)
    expiring, _ = d.request("a", timeout=1)
    cancelled, _ = d.request("a", timeout=1000)
    last, _ = d.request("a", timeout=1000)
    d.tell(events.RequestCancelled(cancelled))
    d.wait(1)
    assert d.brain.position(last)[0] == 1
    assert d.brain.position(expiring) is None
