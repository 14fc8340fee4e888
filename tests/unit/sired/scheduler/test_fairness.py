"""Models that compete for memory: which one has it, for how long, and which is next."""

import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from sired.scheduler import events
from sired.scheduler.instructions import Complete, Evicted, StartWorker, StopWorker
from tests.unit.sired.scheduler.conftest import Driver, Machine, dispatched, of_kind


def competing(
    driver: type[Driver],
    machine: type[Machine],
    names: Iterable[str],
    load: float = 1.0,
    service: float = 0.1,
    rules: Any = None,
    **attributes: Any,
) -> tuple[Driver, Machine]:
    """A scheduler whose device holds one of the models at a time."""
    d = driver(**(rules or {}))
    for name in names:
        d.add(name, 80, weight=attributes.get(name, 1.0))
    return d, machine(d, load, service)


def test_alternating_requests_cost_one_load_per_turn_not_per_request(
    driver: type[Driver], machine: type[Machine]
) -> None:
    _, m = competing(driver, machine, "ABC")
    for name in "ABCABC":
        m.ask(name)
    m.run()
    assert m.loads == ["A", "B", "C"]
    assert m.served == ["A", "A", "B", "B", "C", "C"]


def test_an_endless_stream_cannot_block_another_model(
    driver: type[Driver], machine: type[Machine]
) -> None:
    d, m = competing(driver, machine, "AB", rules={"patience": 5.0, "queue_per_model": 10**6})
    m.ask("A")
    m.run(until=1.0)
    m.ask("B")
    for _ in range(200):
        m.ask("A")
        m.run(until=d.now + 0.05)
    assert "B" in m.served
    # It waited for the other model's turn, and for its own load.
    assert len(m.served[: m.served.index("B")]) <= 5.0 / 0.1 + 2


def test_a_turn_ends_after_turn_requests_even_if_they_are_fast(
    driver: type[Driver], machine: type[Machine]
) -> None:
    _, m = competing(
        driver, machine, "AB", service=0.001, rules={"patience": 5.0, "turn_requests": 20}
    )
    for _ in range(100):
        m.ask("A")
    m.ask("B")
    m.run()
    assert m.served.index("B") <= 22
    assert m.loads == ["A", "B", "A"]


def test_no_more_time_is_spent_loading_than_serving(
    driver: type[Driver], machine: type[Machine]
) -> None:
    d, m = competing(driver, machine, "AB", load=8.0, rules={"patience": 1.0})
    for _ in range(400):
        m.ask("A")
        m.ask("B")
    m.run(until=160.0)
    assert len(m.served) * 0.1 >= 0.45 * d.now


def test_three_models_that_do_not_fit_together_have_equal_turns(
    driver: type[Driver], machine: type[Machine]
) -> None:
    _, m = competing(driver, machine, "ABC", rules={"queue_total": 10**6})
    for _ in range(900):
        for name in "ABC":
            m.ask(name)
    m.run(until=120.0)
    shares = Counter(m.served)
    assert max(shares.values()) <= 1.2 * min(shares.values())


def test_turns_are_proportional_to_weights(driver: type[Driver], machine: type[Machine]) -> None:
    _, m = competing(driver, machine, "ABC", A=3.0)
    for _ in range(900):
        for name in "ABC":
            m.ask(name)
    m.run(until=120.0)
    shares = Counter(m.served)
    assert 2.5 <= shares["A"] / shares["B"] <= 3.5
    assert 0.8 <= shares["B"] / shares["C"] <= 1.25


def test_two_large_models_do_not_alternate_forever_while_a_third_waits(
    driver: type[Driver], machine: type[Machine]
) -> None:
    d, m = competing(driver, machine, "ABC", rules={"queue_per_model": 10**6, "queue_total": 10**6})
    m.ask("A")
    m.ask("B")
    m.ask("C")
    for _ in range(400):
        m.ask("A")
        m.ask("B")
        m.run(until=d.now + 0.05)
    assert m.loads[:3] == ["A", "B", "C"]


def test_the_model_with_the_more_urgent_request_is_loaded_first(driver: type[Driver]) -> None:
    d = driver(ageing=10.0)
    for name in ("busy", "normal", "high"):
        d.add(name, 80)
    busy = d.load("busy")
    running, _ = d.request("busy")
    d.request("normal")
    d.request("high", priority="high")
    d.finish(running)
    (start,) = of_kind(StartWorker, d.gone(busy))
    assert start.model.name == "high"


def test_an_urgent_request_expedites_the_pending_load_of_its_model(driver: type[Driver]) -> None:
    d = driver(ageing=10.0)
    for name in ("busy", "first", "second"):
        d.add(name, 80)
    busy = d.load("busy")
    running, _ = d.request("busy")
    d.request("first")
    d.request("second")
    d.request("second", priority="high")
    d.finish(running)
    (start,) = of_kind(StartWorker, d.gone(busy))
    assert start.model.name == "second"


def test_requests_for_a_ready_model_do_not_wait_behind_a_load(driver: type[Driver]) -> None:
    d = driver()
    d.add("ready", 40)
    d.add("slow", 40)
    d.load("ready")
    d.request("slow")
    request, instructions = d.request("ready")
    assert dispatched(instructions) == [request]


def test_loads_on_different_devices_run_concurrently(driver: type[Driver]) -> None:
    d = driver(devices=(("cpu0", "cpu", 100), ("cpu1", "cpu", 100)))
    d.add("a", 80, device="cpu0")
    d.add("b", 80, device="cpu1")
    starts = [of_kind(StartWorker, d.request(name)[1]) for name in "ab"]
    assert [start.device for (start,) in starts] == ["cpu0", "cpu1"]


def test_many_loads_that_wait_for_one_device_do_not_block_another(driver: type[Driver]) -> None:
    d = driver(devices=(("cpu0", "cpu", 100), ("cpu1", "cpu", 100)))
    d.add("busy", 80, device="cpu0")
    d.load("busy")
    d.request("busy")
    for number in range(50):
        d.add(f"m{number}", 80, device="cpu0")
        d.request(f"m{number}")
    d.add("other", 80, device="cpu1")
    (start,) = of_kind(StartWorker, d.request("other")[1])
    assert start.device == "cpu1"


def test_every_load_that_fits_is_started_however_many_there_are(driver: type[Driver]) -> None:
    d = driver()
    d.add("busy", 100)
    busy = d.load("busy")
    running, _ = d.request("busy")
    for number in range(30):
        d.add(f"m{number}", 3)
        d.request(f"m{number}")
    d.finish(running)
    assert len(of_kind(StartWorker, d.gone(busy))) == 30


def test_a_load_is_cancelled_once_no_request_needs_it(driver: type[Driver]) -> None:
    d = driver()
    d.add("busy", 80)
    d.add("other", 80)
    d.load("busy")
    running, _ = d.request("busy", timeout=100)
    gone, _ = d.request("other", timeout=100)
    d.handle(events.RequestCancelled(gone))
    d.request("other", timeout=0.5)
    d.wait(0.5)
    d.operation("other", timeout=0.2)
    d.wait(0.2)
    assert len(d.brain.loader.pending) == 0
    instructions = d.finish(running)
    assert of_kind(StopWorker, instructions) == []
    assert d.loaded() == ["busy"]


def test_a_running_load_without_requests_continues_until_its_memory_is_needed(
    driver: type[Driver],
) -> None:
    d = driver()
    d.add("slow", 80)
    d.add("other", 80)
    request, _ = d.request("slow")
    assert of_kind(StopWorker, d.handle(events.RequestCancelled(request))) == []
    _, instructions = d.request("other")
    assert instructions == [Evicted(1, "slow", "other"), StopWorker(1, kill=True)]
    (start,) = of_kind(StartWorker, d.gone(1))
    assert start.model.name == "other"


def test_a_load_that_a_request_waits_for_is_not_interrupted(driver: type[Driver]) -> None:
    d = driver()
    d.add("slow", 80)
    d.add("other", 80)
    d.request("slow")
    assert d.request("other")[1] == []


def test_of_several_busy_models_the_one_whose_turn_is_over_is_evicted(driver: type[Driver]) -> None:
    d = driver(patience=1.0)
    for name in ("long", "short", "wants"):
        d.add(name, 50, weight=5.0 if name == "long" else 1.0)
    d.load("long")
    d.load("short")
    for name in ("long", "short"):
        d.request(name)
    d.request("wants")
    instructions = d.wait(1.0)
    assert [do.model for do in of_kind(Evicted, instructions)] == ["short"]


def test_a_decision_with_a_thousand_waiting_models_costs_little_more_than_with_ten(
    driver: type[Driver],
) -> None:
    def per_decision(waiting: int) -> float:
        d = driver(queue_total=10**6, queue_per_model=10**6)
        d.add("busy", 80)
        d.load("busy")
        running = [d.request("busy")[0]]
        for number in range(waiting):
            d.add(f"m{number}", 80)
            d.request(f"m{number}")
        started = time.process_time()
        for _ in range(200):
            running.append(d.request("busy")[0])
            d.finish(running.pop(0))
        return time.process_time() - started

    few, many = min(per_decision(10) for _ in range(3)), min(per_decision(1000) for _ in range(3))
    assert many < 3 * few + 0.05


def test_load_operations_are_ordered_with_requests(driver: type[Driver]) -> None:
    d = driver()
    d.add("busy", 80)
    d.add("loaded by hand", 80)
    busy = d.load("busy")
    running, _ = d.request("busy")
    operation, _ = d.operation("loaded by hand")
    d.finish(running)
    (start,) = of_kind(StartWorker, d.gone(busy))
    assert Complete(operation, start.instance) in d.ready(start.instance)
