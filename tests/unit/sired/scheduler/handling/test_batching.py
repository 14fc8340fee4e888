"""Requests that run together."""

import pytest

from sire.errors import InferenceError, InsufficientMemory, WorkerCrashed
from sired.scheduler import events
from sired.scheduler.instructions import Dispatch, StartWorker, StopWorker
from tests.unit.sired.scheduler.conftest import dispatched, failures, of_kind


def batching(driver, size=4, delay=0.0, pipeline=1, **rules):
    """A loaded model whose worker has one request, so that the others wait."""
    d = driver(pipeline=pipeline, **rules)
    d.add("a", 30, batch_size=size, batch_delay=delay)
    d.load("a")
    return d


def batches(said):
    return [do.requests for do in of_kind(Dispatch, said)]


def alike(d, count, key="k", **how):
    return [d.request("a", batch_key=key, **how)[0] for _ in range(count)]


@pytest.fixture
def busy(driver):
    d = batching(driver)
    d.running, _ = d.request("a")
    return d


def test_what_is_alike_and_waits_when_an_instance_is_free_goes_together(busy):
    numbers = alike(busy, 3)
    assert batches(busy.finish(busy.running)) == [tuple(numbers)]


def test_a_batch_has_as_many_rows_as_the_model_takes_and_no_more(busy):
    numbers = alike(busy, 6)
    assert batches(busy.finish(busy.running)) == [tuple(numbers[:4])]


def test_rows_are_counted_not_requests(busy):
    three, another = alike(busy, 1, rows=3)[0], alike(busy, 1, rows=2)[0]
    assert batches(busy.finish(busy.running)) == [(three,)]
    assert batches(busy.finish(three)) == [(another,)]


def test_a_request_of_more_rows_than_a_batch_goes_alone(busy):
    (large,) = alike(busy, 1, rows=100)
    alike(busy, 1)
    assert batches(busy.finish(busy.running)) == [(large,)]


def test_only_equal_keys_go_together_and_none_is_equal_to_nothing(busy):
    first, other, third = alike(busy, 1), alike(busy, 1, key="other"), alike(busy, 1)
    never = [busy.request("a")[0] for _ in range(2)]
    order = batches(busy.finish(busy.running))
    for _ in range(3):
        for request in order[-1]:
            order += batches(busy.finish(request))
    assert order == [(first[0], third[0]), tuple(other), (never[0],), (never[1],)]


def test_the_most_urgent_goes_first_and_takes_along_what_fits_it(busy):
    normal = alike(busy, 2)
    other = alike(busy, 1, key="other")
    (high,) = alike(busy, 1, priority="high")
    said = busy.finish(busy.running)
    assert batches(said) == [(high, *normal)]
    assert [r.id for r in busy.brain.models["a"].queue] == other


def test_the_pipeline_counts_batches(driver):
    d = batching(driver, pipeline=2)
    first, _ = d.request("a")
    second, _ = d.request("a")
    numbers = alike(d, 3)
    assert batches(d.finish(first)) == [tuple(numbers)]
    assert d.instances[1].batches == 2
    alike(d, 1)
    assert batches(d.finish(second)) != []


def test_a_batch_is_done_when_every_member_is_answered(busy):
    numbers = alike(busy, 3)
    busy.finish(busy.running)
    (waiting,) = alike(busy, 1, key="other")
    assert dispatched(busy.finish(numbers[1])) == []
    assert dispatched(busy.finish(numbers[0])) == []
    assert dispatched(busy.finish(numbers[2])) == [waiting]


def test_one_bad_input_fails_alone(busy):
    numbers = alike(busy, 3)
    busy.finish(busy.running)
    assert list(failures(busy.finish(numbers[1], error=InferenceError("no")))) == [numbers[1]]
    assert failures(busy.finish(numbers[0])) == failures(busy.finish(numbers[2])) == {}


def crash(d):
    """The worker ends; the next one is loaded and ready. Returns everything that was said."""
    (instance,) = d.instances
    said = d.gone(instance, WorkerCrashed("killed"))
    starts = of_kind(StartWorker, said)
    return said + (d.ready(starts[0].instance) if starts else [])


def test_a_crash_under_a_batch_poisons_no_innocent_request(busy):
    good, poison, fine = alike(busy, 3)
    busy.finish(busy.running)
    said = crash(busy)
    assert failures(said) == {}
    assert batches(said) == [(good,)]
    assert batches(busy.finish(good)) == [(poison,)]
    said = crash(busy)
    assert list(failures(said)) == [poison]
    assert batches(said) == [(fine,)]
    assert failures(busy.finish(fine)) == {}
    assert busy.brain.queues.requests == {}


def test_members_that_were_answered_before_the_crash_are_not_run_again(busy):
    first, second = alike(busy, 2)
    busy.finish(busy.running)
    busy.finish(first)
    assert batches(crash(busy)) == [(second,)]


def test_a_batch_at_hand_when_another_crashes_is_still_a_batch(driver):
    d = batching(driver, pipeline=2)
    running = d.request("a")[0]
    alike(d, 1, key="x")
    numbers = alike(d, 3)
    said = d.finish(running)
    assert batches(said) == [tuple(numbers)]
    said = crash(d)
    assert batches(said)[-1] == tuple(numbers)


def test_a_batch_too_large_for_the_memory_is_run_one_by_one_in_the_same_process(busy):
    numbers = alike(busy, 2)
    busy.finish(busy.running)
    out = {"error": InsufficientMemory("no"), "out_of_memory": True}
    said = busy.finish(numbers[0], **out) + busy.finish(numbers[1], **out)
    assert failures(said) == {}
    assert of_kind(StopWorker, said) == []
    assert batches(said) == [(numbers[0],)]
    assert batches(busy.finish(numbers[0])) == [(numbers[1],)]


def test_a_delay_lets_a_request_wait_for_others_and_no_longer(driver):
    d = batching(driver, delay=0.05)
    (first,) = alike(d, 1)
    assert d.brain.wakeup == pytest.approx(0.05)
    d.now = 0.03
    (second,) = alike(d, 1)
    assert batches(d.wait(0.021)) == [(first, second)]


def test_a_full_batch_does_not_wait(driver):
    d = batching(driver, size=2, delay=10.0)
    first, said = d.request("a", batch_key="k")
    assert batches(said) == []
    second, said = d.request("a", batch_key="k")
    assert batches(said) == [(first, second)]


def test_a_batch_hangs_only_when_nobody_waits_for_any_of_it(driver):
    d = batching(driver, hung_after=10.0)
    running, _ = d.request("a", timeout=1000)
    d.request("a", batch_key="k", timeout=5)
    d.request("a", batch_key="k", timeout=50)
    d.finish(running)
    d.wait(5)
    assert of_kind(StopWorker, d.wait(20)) == []
    d.wait(25)
    assert of_kind(StopWorker, d.wait(10)) == [StopWorker(1, kill=True)]


def test_a_cancelled_member_is_answered_once(busy):
    first, second = alike(busy, 2)
    busy.finish(busy.running)
    busy.tell(events.RequestCancelled(first))
    said = crash(busy)
    assert first not in failures(said)
    assert batches(said) == [(second,)]


def test_a_holder_of_a_lease_has_batches_too(driver):
    d = batching(driver)
    lease, _ = d.acquire("a")
    running, _ = d.request("a", lease=lease)
    numbers = alike(d, 2, lease=lease)
    assert batches(d.finish(running)) == [tuple(numbers)]
