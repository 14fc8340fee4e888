"""Batching of requests."""

from collections.abc import Iterable
from typing import Any, TypeVar

import pytest

from sire.errors import InferenceError, InsufficientMemory, WorkerCrashed
from sired.scheduler import events
from sired.scheduler.instructions import Dispatch, Instruction, StartWorker, StopWorker
from tests.unit.sired.scheduler.conftest import Driver, dispatched, failures, of_kind

AnyDriver = TypeVar("AnyDriver", bound=Driver)


def batching(
    driver: type[AnyDriver], size: int = 4, delay: float = 0.0, pipeline: int = 1, **rules: Any
) -> AnyDriver:
    """A loaded model that batches its requests."""
    d = driver(pipeline=pipeline, **rules)
    d.add("a", 30, batch_size=size, batch_delay=delay)
    d.load("a")
    return d


def batches(instructions: Iterable[Instruction]) -> list[tuple[int, ...]]:
    return [do.requests for do in of_kind(Dispatch, instructions)]


def alike(d: Driver, count: int, key: str = "k", **how: Any) -> list[int]:
    return [d.request("a", batch_key=key, **how)[0] for _ in range(count)]


class Busy(Driver):
    """A scheduler whose model answers the request ``running``."""

    running: int


@pytest.fixture
def busy() -> Busy:
    d = batching(Busy)
    d.running, _ = d.request("a")
    return d


def test_waiting_requests_with_equal_keys_are_dispatched_as_one_batch(busy: Busy) -> None:
    numbers = alike(busy, 3)
    assert batches(busy.finish(busy.running)) == [tuple(numbers)]


def test_a_batch_has_at_most_batch_size_rows(busy: Busy) -> None:
    numbers = alike(busy, 6)
    assert batches(busy.finish(busy.running)) == [tuple(numbers[:4])]


def test_batch_size_counts_rows_not_requests(busy: Busy) -> None:
    three, another = alike(busy, 1, rows=3)[0], alike(busy, 1, rows=2)[0]
    assert batches(busy.finish(busy.running)) == [(three,)]
    assert batches(busy.finish(three)) == [(another,)]


def test_a_request_with_more_rows_than_a_batch_runs_alone(busy: Busy) -> None:
    (large,) = alike(busy, 1, rows=100)
    alike(busy, 1)
    assert batches(busy.finish(busy.running)) == [(large,)]


def test_only_equal_keys_share_a_batch_and_none_equals_no_key(busy: Busy) -> None:
    first, other, third = alike(busy, 1), alike(busy, 1, key="other"), alike(busy, 1)
    never = [busy.request("a")[0] for _ in range(2)]
    order = batches(busy.finish(busy.running))
    for _ in range(3):
        for request in order[-1]:
            order += batches(busy.finish(request))
    assert order == [(first[0], third[0]), tuple(other), (never[0],), (never[1],)]


def test_the_most_urgent_request_is_dispatched_with_those_of_its_key(busy: Busy) -> None:
    normal = alike(busy, 2)
    other = alike(busy, 1, key="other")
    (high,) = alike(busy, 1, priority="high")
    instructions = busy.finish(busy.running)
    assert batches(instructions) == [(high, *normal)]
    assert [r.id for r in busy.brain.models["a"].queue] == other


def test_pipeline_counts_batches(driver: type[Driver]) -> None:
    d = batching(driver, pipeline=2)
    first, _ = d.request("a")
    second, _ = d.request("a")
    numbers = alike(d, 3)
    assert batches(d.finish(first)) == [tuple(numbers)]
    assert d.instances[1].batches == 2
    alike(d, 1)
    assert batches(d.finish(second)) != []


def test_a_batch_is_done_once_every_member_is_answered(busy: Busy) -> None:
    numbers = alike(busy, 3)
    busy.finish(busy.running)
    (waiting,) = alike(busy, 1, key="other")
    assert dispatched(busy.finish(numbers[1])) == []
    assert dispatched(busy.finish(numbers[0])) == []
    assert dispatched(busy.finish(numbers[2])) == [waiting]


def test_one_bad_input_in_a_batch_fails_alone(busy: Busy) -> None:
    numbers = alike(busy, 3)
    busy.finish(busy.running)
    assert list(failures(busy.finish(numbers[1], error=InferenceError("no")))) == [numbers[1]]
    assert failures(busy.finish(numbers[0])) == failures(busy.finish(numbers[2])) == {}


def crash(d: Driver) -> list[Instruction]:
    """Let the worker crash and the next one load; return all instructions."""
    (instance,) = d.instances
    instructions = d.gone(instance, WorkerCrashed("killed"))
    starts = of_kind(StartWorker, instructions)
    return instructions + (d.ready(starts[0].instance) if starts else [])


def test_a_crash_during_a_batch_fails_only_the_request_that_repeats_it(busy: Busy) -> None:
    good, poison, fine = alike(busy, 3)
    busy.finish(busy.running)
    instructions = crash(busy)
    assert failures(instructions) == {}
    assert batches(instructions) == [(good,)]
    assert batches(busy.finish(good)) == [(poison,)]
    instructions = crash(busy)
    assert list(failures(instructions)) == [poison]
    assert batches(instructions) == [(fine,)]
    assert failures(busy.finish(fine)) == {}
    assert busy.brain.queues.requests == {}


def test_members_answered_before_a_crash_do_not_run_again(busy: Busy) -> None:
    first, second = alike(busy, 2)
    busy.finish(busy.running)
    busy.finish(first)
    assert batches(crash(busy)) == [(second,)]


def test_a_batch_that_had_not_begun_before_a_crash_stays_a_batch(driver: type[Driver]) -> None:
    d = batching(driver, pipeline=2)
    running = d.request("a")[0]
    alike(d, 1, key="x")
    numbers = alike(d, 3)
    instructions = d.finish(running)
    assert batches(instructions) == [tuple(numbers)]
    instructions = crash(d)
    assert batches(instructions)[-1] == tuple(numbers)


def test_a_batch_that_runs_out_of_memory_runs_one_by_one_in_the_same_process(busy: Busy) -> None:
    numbers = alike(busy, 2)
    busy.finish(busy.running)
    out = {"error": InsufficientMemory("no"), "out_of_memory": True}
    instructions = busy.finish(numbers[0], **out) + busy.finish(numbers[1], **out)
    assert failures(instructions) == {}
    assert of_kind(StopWorker, instructions) == []
    assert batches(instructions) == [(numbers[0],)]
    assert batches(busy.finish(numbers[0])) == [(numbers[1],)]


def test_a_request_waits_for_others_for_the_batch_delay_at_most(driver: type[Driver]) -> None:
    d = batching(driver, delay=0.05)
    (first,) = alike(d, 1)
    assert d.brain.wakeup == pytest.approx(0.05)
    d.now = 0.03
    (second,) = alike(d, 1)
    assert batches(d.wait(0.021)) == [(first, second)]


def test_a_full_batch_does_not_wait(driver: type[Driver]) -> None:
    d = batching(driver, size=2, delay=10.0)
    first, instructions = d.request("a", batch_key="k")
    assert batches(instructions) == []
    second, instructions = d.request("a", batch_key="k")
    assert batches(instructions) == [(first, second)]


def test_a_batch_hangs_only_when_no_member_is_awaited(driver: type[Driver]) -> None:
    d = batching(driver, hung_after=10.0)
    running, _ = d.request("a", timeout=1000)
    d.request("a", batch_key="k", timeout=5)
    d.request("a", batch_key="k", timeout=50)
    d.finish(running)
    d.wait(5)
    assert of_kind(StopWorker, d.wait(20)) == []
    d.wait(25)
    assert of_kind(StopWorker, d.wait(10)) == [StopWorker(1, kill=True)]


def test_a_cancelled_member_is_answered_once(busy: Busy) -> None:
    first, second = alike(busy, 2)
    busy.finish(busy.running)
    busy.handle(events.RequestCancelled(first))
    instructions = crash(busy)
    assert first not in failures(instructions)
    assert batches(instructions) == [(second,)]


def test_requests_under_a_lease_are_batched_too(driver: type[Driver]) -> None:
    d = batching(driver)
    lease, _ = d.acquire("a")
    running, _ = d.request("a", lease=lease)
    numbers = alike(d, 2, lease=lease)
    assert batches(d.finish(running)) == [tuple(numbers)]


def test_requests_that_affect_each_other_wait_for_no_others_and_run_alone(
    driver: type[Driver],
) -> None:
    d = batching(driver, delay=5.0)
    waiting, _ = d.request("a", batch_key="k")
    assert batches(d.handle(events.ModelRunsAlone("a"))) == [(waiting,)]
    numbers = alike(d, 2)
    assert batches(d.finish(waiting)) == [(numbers[0],)]
    assert batches(d.finish(numbers[0])) == [(numbers[1],)]
