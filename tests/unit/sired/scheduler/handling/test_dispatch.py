"""Instances that work on several requests at the same time."""

from tests.unit.sired.scheduler.conftest import dispatched, failures


def ready(driver, concurrency=3, pipeline=2):
    d = driver(pipeline=pipeline)
    d.add("m", 10, concurrency=concurrency)
    return d, d.load("m")


def asked(d, count):
    return [d.request("m")[0] for _ in range(count)]


def test_it_is_handed_as_many_as_it_works_on_and_what_is_to_be_at_hand(driver):
    d, instance = ready(driver)
    asked(d, 6)
    assert len(d.instances[instance].in_flight) == 4
    assert len(d.instances[instance].running) == 3
    assert len(d.brain.models["m"].queue) == 2


def test_they_are_answered_in_any_order_and_each_answer_makes_a_place(driver):
    d, _ = ready(driver, pipeline=1)
    first, second, third, fourth = asked(d, 4)
    assert dispatched(d.finish(second)) == [fourth]
    assert dispatched(d.finish(first)) == []
    assert {r.id for r in d.instances[1].running} == {third, fourth}


def test_a_crash_fails_all_it_worked_on_and_what_was_at_hand_waits_again(driver):
    d, instance = ready(driver)
    *running, at_hand = asked(d, 4)
    said = d.gone(instance)
    assert set(failures(said)) == set(running)
    assert at_hand in d.brain.queues.requests


def test_waits_are_shorter_for_it(driver):
    d, _ = ready(driver, concurrency=4)
    number, _ = d.request("m")
    d.finish(number, seconds=1.0)
    asked(d, 8)
    assert d.brain.expected_wait(d.brain.models["m"]) == 2.0


def test_clients_talk_to_it_directly_while_nobody_waits_for_it(driver):
    d, _ = ready(driver)
    assert d.brain.direct.instance("m") is not None
    asked(d, 9)
    assert d.brain.direct.instance("m") is None
