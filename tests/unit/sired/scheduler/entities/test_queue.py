"""Who of those that wait is served first."""

import math
import time

from sired.scheduler import events
from sired.scheduler.entities.queue import RequestQueue
from sired.scheduler.entities.request import Request
from tests.unit.sired.scheduler.conftest import dispatched


def busy(driver, **rules):
    """A model whose one worker takes one request at a time, and has one."""
    d = driver(pipeline=1, ageing=10.0, **rules)
    d.add("a", 30)
    d.load("a")
    running, _ = d.request("a")
    return d, running


def served(d, running):
    """The order in which everything that waits is dispatched."""
    order = []
    while running is not None:
        (running,) = dispatched(d.finish(running)) or (None,)
        order += [running] if running else []
    return order


def test_high_goes_before_normal_and_normal_before_low(driver):
    d, running = busy(driver)
    low, _ = d.request("a", priority="low")
    normal, _ = d.request("a")
    high, _ = d.request("a", priority="high")
    assert served(d, running) == [high, normal, low]


def test_equals_are_served_in_the_order_they_came(driver):
    d, running = busy(driver)
    numbers = [d.request("a", priority="low")[0] for _ in range(5)]
    assert served(d, running) == numbers


def test_a_request_climbs_a_class_for_every_ageing_it_waits(driver):
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


def test_an_endless_stream_of_high_ones_holds_a_low_one_up_no_longer_than_it_ages(driver):
    d, running = busy(driver)
    low, _ = d.request("a", priority="low", timeout=1000)
    while True:
        d.now += 0.5
        for _ in range(2):  # twice as many as can be served
            d.request("a", priority="high", timeout=1000)
        (running,) = dispatched(d.finish(running))
        if running == low:
            break
    # It waited for the 78 that came within twice its ageing, at half a second each, and no more.
    assert d.now == 39.5


def test_without_ageing_classes_are_strict_and_still_in_order(driver):
    d, running = busy(driver, queue_total=100)
    d.brain.adopt(d.rules(ageing=math.inf, pipeline=1), d.strategy)
    low, _ = d.request("a", priority="low")
    d.now = 1e5
    normal, _ = d.request("a", timeout=1e6)
    second, _ = d.request("a", timeout=1e6)
    assert served(d, running) == [normal, second, low]


def test_a_model_has_a_class_for_requests_that_ask_for_none(driver):
    d = driver(pipeline=1)
    model = d.add("a", 30, priority="low")
    d.load("a")
    running, _ = d.request("a")
    quiet, _ = d.request("a")
    normal, _ = d.request("a", priority="normal")
    assert [r.id for r in model.queue] == [normal, quiet]


def test_what_is_put_back_stands_where_it_stood(driver):
    d = driver(pipeline=2)
    d.add("a", 30)
    instance = d.load("a")
    d.request("a")
    second, _ = d.request("a")
    third, _ = d.request("a")
    d.gone(instance)
    assert [r.id for r in d.brain.models["a"].queue] == [second, third]


def test_a_cancelled_request_is_gone_from_its_line(driver):
    d, _ = busy(driver)
    numbers = [d.request("a")[0] for _ in range(3)]
    d.tell(events.RequestCancelled(numbers[1]))
    assert [r.id for r in d.brain.models["a"].queue] == [numbers[0], numbers[2]]
    assert d.brain.queues.waiting == 2


def test_ten_thousand_in_line_cost_microseconds_each():
    line = RequestQueue()
    requests = [Request(n, "a", n, math.inf, float(n * 7919 % 10_007)) for n in range(10_000)]
    started = time.perf_counter()
    for request in requests:
        line.add(request)
    for request in requests[::2]:
        line.remove(request)
    order = [line.pop().due for _ in range(5000)]
    assert order == sorted(order)
    assert (time.perf_counter() - started) / 20_000 < 100e-6
