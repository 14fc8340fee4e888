"""The order in which waiting requests are served."""

import math
import time
from typing import Any

from sired.scheduler import events
from sired.scheduler.entities.queue import RequestQueue
from sired.scheduler.entities.request import Request
from tests.unit.sired.scheduler.conftest import Driver, dispatched


def busy(driver: type[Driver], **rules: Any) -> tuple[Driver, int]:
    """A model whose only worker takes one request at a time, and is busy with one."""
    d = driver(pipeline=1, ageing=10.0, **rules)
    d.add("a", 30)
    d.load("a")
    running, _ = d.request("a")
    return d, running


def served(d: Driver, running: int) -> list[int]:
    """The order in which all waiting requests are dispatched."""
    order: list[int] = []
    while following := dispatched(d.finish(running)):
        (running,) = following
        order.append(running)
    return order


def test_high_is_served_before_normal_and_normal_before_low(driver: type[Driver]) -> None:
    d, running = busy(driver)
    low, _ = d.request("a", priority="low")
    normal, _ = d.request("a")
    high, _ = d.request("a", priority="high")
    assert served(d, running) == [high, normal, low]


def test_requests_of_equal_priority_are_served_in_order_of_arrival(driver: type[Driver]) -> None:
    d, running = busy(driver)
    numbers = [d.request("a", priority="low")[0] for _ in range(5)]
    assert served(d, running) == numbers


def test_a_request_rises_one_class_per_ageing_period(driver: type[Driver]) -> None:
    d, running = busy(driver)
    low, _ = d.request("a", priority="low")
    d.now = 9.0
    earlier, _ = d.request("a", priority="normal")
    d.now = 11.0
    normal, _ = d.request("a", priority="normal")
    d.now = 19.5
    high, _ = d.request("a", priority="high")
    d.now = 20.5
    later, _ = d.request("a", priority="high")
    assert served(d, running) == [earlier, high, low, later, normal]


def test_a_stream_of_high_requests_delays_a_low_one_only_until_it_has_aged(
    driver: type[Driver],
) -> None:
    d, running = busy(driver)
    low, _ = d.request("a", priority="low", timeout=1000)
    while True:
        d.now += 0.5
        for _ in range(2):  # twice as many as the worker can serve
            d.request("a", priority="high", timeout=1000)
        (running,) = dispatched(d.finish(running))
        if running == low:
            break
    # It waited for the 78 that arrived within twice its ageing, at half a second each.
    assert d.now == 39.5


def test_without_ageing_classes_are_strict_and_each_is_in_order(driver: type[Driver]) -> None:
    d, running = busy(driver, queue_total=100)
    d.brain.adopt(d.rules(ageing=math.inf, pipeline=1), d.strategy)
    low, _ = d.request("a", priority="low")
    d.now = 1e5
    normal, _ = d.request("a", timeout=1e6)
    second, _ = d.request("a", timeout=1e6)
    assert served(d, running) == [normal, second, low]


def test_requests_without_a_priority_get_that_of_their_model(driver: type[Driver]) -> None:
    d = driver(pipeline=1)
    model = d.add("a", 30, priority="low")
    d.load("a")
    _running, _ = d.request("a")
    quiet, _ = d.request("a")
    normal, _ = d.request("a", priority="normal")
    assert [r.id for r in model.queue] == [normal, quiet]


def test_a_requeued_request_keeps_its_position(driver: type[Driver]) -> None:
    d = driver(pipeline=2)
    d.add("a", 30)
    instance = d.load("a")
    d.request("a")
    second, _ = d.request("a")
    third, _ = d.request("a")
    d.gone(instance)
    assert [r.id for r in d.brain.models["a"].queue] == [second, third]


def test_a_cancelled_request_leaves_its_queue(driver: type[Driver]) -> None:
    d, _ = busy(driver)
    numbers = [d.request("a")[0] for _ in range(3)]
    d.handle(events.RequestCancelled(numbers[1]))
    assert [r.id for r in d.brain.models["a"].queue] == [numbers[0], numbers[2]]
    assert d.brain.queues.waiting == 2


def test_ten_thousand_queued_requests_cost_microseconds_each() -> None:
    line: RequestQueue[Request] = RequestQueue()
    requests = [Request(n, "a", n, math.inf, float(n * 7919 % 10_007)) for n in range(10_000)]
    started = time.process_time()
    for request in requests:
        line.add(request)
    for request in requests[::2]:
        line.remove(request)
    order = [line.pop().due for _ in range(5000)]
    assert order == sorted(order)
    assert (time.process_time() - started) / 20_000 < 100e-6
