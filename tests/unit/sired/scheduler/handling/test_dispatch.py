"""Instances that run several requests at the same time."""

from tests.unit.sired.scheduler.conftest import Driver, dispatched, failures


def ready(driver: type[Driver], concurrency: int = 3, pipeline: int = 2) -> tuple[Driver, int]:
    d = driver(pipeline=pipeline)
    d.add("m", 10, concurrency=concurrency)
    return d, d.load("m")


def asked(d: Driver, count: int) -> list[int]:
    return [d.request("m")[0] for _ in range(count)]


def test_an_instance_gets_as_many_requests_as_it_runs_and_the_pipeline_holds(
    driver: type[Driver],
) -> None:
    d, instance = ready(driver)
    asked(d, 6)
    assert len(d.instances[instance].in_flight) == 4
    assert len(d.instances[instance].running) == 3
    assert len(d.brain.models["m"].queue) == 2


def test_concurrent_requests_finish_in_any_order_and_each_answer_frees_a_slot(
    driver: type[Driver],
) -> None:
    d, _ = ready(driver, pipeline=1)
    first, second, third, fourth = asked(d, 4)
    assert dispatched(d.finish(second)) == [fourth]
    assert dispatched(d.finish(first)) == []
    assert {r.id for r in d.instances[1].running} == {third, fourth}


def test_a_crash_fails_every_running_request_and_requeues_the_others(driver: type[Driver]) -> None:
    d, instance = ready(driver)
    *running, at_hand = asked(d, 4)
    instructions = d.gone(instance)
    assert set(failures(instructions)) == set(running)
    assert at_hand in d.brain.queues.requests


def test_concurrency_shortens_the_expected_wait(driver: type[Driver]) -> None:
    d, _ = ready(driver, concurrency=4)
    number, _ = d.request("m")
    d.finish(number, seconds=1.0)
    asked(d, 8)
    assert d.brain.expected_wait(d.brain.models["m"]) == 2.0


def test_a_concurrent_model_allows_direct_connections_while_no_request_waits(
    driver: type[Driver],
) -> None:
    d, _ = ready(driver)
    assert d.brain.direct.instance("m") is not None
    asked(d, 9)
    assert d.brain.direct.instance("m") is None
