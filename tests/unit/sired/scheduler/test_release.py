"""What leaves makes room: what waited behind it proceeds, and no state is left over."""

from collections.abc import Iterable

from sire.errors import Cancelled, InsufficientMemory, LoadFailed
from sired.scheduler import events
from sired.scheduler.instructions import Complete, Evicted, Instruction, StartWorker, StopWorker
from sired.scheduler.policies.eviction import BUILT_IN as POLICIES
from sired.scheduler.policies.placement import BUILT_IN as STRATEGIES
from tests.unit.sired.scheduler.conftest import Driver, dispatched, failures, of_kind

GPUS = (("cuda:0", "cuda", 100), ("cuda:1", "cuda", 60))


def started(instructions: Iterable[Instruction]) -> list[str]:
    return [do.model.name for do in of_kind(StartWorker, instructions)]


def test_a_request_behind_a_waiting_batch_is_dispatched_when_that_batch_is_cancelled(
    driver: type[Driver],
) -> None:
    d = driver()
    d.add("a", 30, batch_size=4, batch_delay=5.0)
    d.load("a")
    first, _ = d.request("a", batch_key="x")
    behind, instructions = d.request("a")
    assert dispatched(instructions) == []
    assert dispatched(d.handle(events.RequestCancelled(first))) == [behind]


def test_a_load_behind_a_cancelled_one_starts_at_once(driver: type[Driver]) -> None:
    d = driver()
    d.add("pinned", 50, pinned=True)
    d.load("pinned")
    d.add("large", 50)
    d.add("small", 30)
    d.handle(events.MemorySampled({"cpu": 30}))
    large, _ = d.request("large")
    _, instructions = d.request("small")
    assert started(instructions) == []
    assert started(d.handle(events.RequestCancelled(large))) == ["small"]


def test_a_more_urgent_request_moves_a_load_up_and_starts_it(driver: type[Driver]) -> None:
    d = driver()
    d.add("large", 90)
    d.add("small", 30)
    d.handle(events.MemorySampled({"cpu": 30}))
    d.request("large", priority="low")
    d.request("small", priority="low")
    _, instructions = d.request("small", priority="high")
    assert started(instructions) == ["small"]


def test_nothing_is_started_for_requests_that_expire_together(driver: type[Driver]) -> None:
    d = driver()
    d.add("large", 90)
    d.add("small", 30)
    d.handle(events.MemorySampled({"cpu": 30}))
    large, _ = d.request("large", timeout=1.0)
    small, _ = d.request("small", timeout=2.0)
    instructions = d.wait(3.0)
    assert list(failures(instructions)) == [large, small]
    assert started(instructions) == []


def test_a_load_on_a_device_that_is_too_small_fails_alone(driver: type[Driver]) -> None:
    d = driver(GPUS)
    d.add("a", 90)
    d.load("a")
    request, _ = d.request("a")
    operation, instructions = d.operation("a", "cuda:1")
    assert isinstance(failures(instructions).pop(operation), InsufficientMemory)
    assert not of_kind(StopWorker, instructions)
    assert d.loaded() == ["a"]
    assert request in d.brain.queues.requests


def test_an_unload_waits_for_instances_of_an_earlier_registration(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 30)
    old = d.load("a")
    d.add("a", 40)
    operation, instructions = d.unload("a")
    assert of_kind(Complete, instructions) == []
    assert of_kind(Complete, d.gone(old)) == [Complete(operation, ended=1)]


def test_an_unload_cancels_the_pending_load(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 30)
    d.handle(events.MemorySampled({"cpu": 0}))
    d.operation("a")
    d.unload("a")
    assert not d.brain.loader.pending


def test_removing_a_model_cancels_its_pending_load(driver: type[Driver]) -> None:
    d = driver()
    d.handle(events.MemorySampled({"cpu": 0}))
    for number in range(12):
        d.add(f"m{number}", 30)
        d.request(f"m{number}")
    d.handle(events.ModelRemoved("m11"))
    assert len(d.brain.loader.pending) == 11


def test_an_expired_request_that_a_worker_begins_may_hang_for_hung_after_at_most(
    driver: type[Driver],
) -> None:
    d = driver(hung_after=5.0)
    d.add("a", 30)
    instance = d.load("a")
    running, _ = d.request("a")
    _behind, _ = d.request("a", timeout=1.0)
    d.wait(1.0)
    d.finish(running)
    assert d.brain.wakeup <= 6.0
    assert of_kind(StopWorker, d.wait(5.0)) == [StopWorker(instance, kill=True)]


def test_a_cancelled_request_without_a_deadline_may_hang_for_hung_after_at_most(
    driver: type[Driver],
) -> None:
    d = driver(hung_after=5.0)
    d.add("a", 30)
    instance = d.load("a")
    job, _ = d.request("a", timeout=float("inf"))
    d.now = 100.0
    assert isinstance(failures(d.handle(events.RequestCancelled(job)))[job], Cancelled)
    assert d.brain.wakeup <= 105.0
    assert of_kind(StopWorker, d.wait(5.0)) == [StopWorker(instance, kill=True)]


def test_a_request_that_ran_out_of_memory_goes_to_another_free_instance_at_once(
    driver: type[Driver],
) -> None:
    d = driver()
    d.add("a", 20, min_instances=2, max_instances=2)
    first = d.load("a")
    second = max(d.instances)
    request, _ = d.request("a")
    d.ready(second)
    error = InsufficientMemory("out of memory")
    instructions = d.finish(request, error=error, out_of_memory=True)
    assert dispatched(instructions) == [request]
    assert of_kind(StopWorker, instructions) == [StopWorker(first, kill=True)]


def test_a_retry_after_running_out_of_memory_respects_the_maximum_of_instances(
    driver: type[Driver],
) -> None:
    d = driver(GPUS, patience=0.0)
    d.add("a", 20, device="cuda:0")
    d.add("b", 90)
    old = d.load("a")
    request, _ = d.request("a")
    d.request("b")
    d.wait(0.1)  # it drains to make room for b
    assert not d.instances[old].accepting
    d.request("a")
    d.handle(events.RequestCancelled(request + 1))
    error = InsufficientMemory("out of memory")
    instructions = d.finish(request, error=error, out_of_memory=True)
    accepting = [i for i in d.instances.values() if i.model.name == "a" and i.accepting]
    assert len(accepting) <= 1, instructions


def test_an_adopted_policy_decides_which_excess_is_evicted(driver: type[Driver]) -> None:
    d = driver()
    for name, load_seconds in (("old", 100.0), ("young", 1.0)):
        model = d.add(name, 30)
        d.load(name)
        model.history.load_seconds = load_seconds
        d.now += 1.0
    d.add("grown", 30)
    grown = d.load("grown")
    d.brain.adopt(d.rules(eviction=POLICIES["cost"]), STRATEGIES["spread"])
    request, _ = d.request("grown")
    instructions = d.finish(request, peak=50)
    assert [do.model for do in of_kind(Evicted, instructions)] == ["young"]
    assert d.instances[grown].accepting


def test_a_lease_released_before_it_was_granted_is_cancelled(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 30)
    lease, _ = d.acquire("a")
    assert isinstance(failures(d.give_back(lease))[lease], Cancelled)
    assert not d.brain.queues.leases


def test_a_load_is_not_rejected_because_another_waits_for_the_last_slot(
    driver: type[Driver],
) -> None:
    d = driver(max_models=2)
    d.add("pinned", 10, pinned=True)
    d.load("pinned")
    d.add("first", 50)
    d.add("second", 50)
    d.handle(events.MemorySampled({"cpu": 0}))
    _, instructions = d.request("first")
    assert failures(instructions) == {}
    _, instructions = d.request("second")
    assert failures(instructions) == {}


def test_a_load_that_is_retried_goes_elsewhere_if_its_device_is_lost_meanwhile(
    driver: type[Driver],
) -> None:
    d = driver((("cuda:0", "cuda", 100), ("cuda:1", "cuda", 100)))
    d.add("a", 40)
    _, instructions = d.request("a")
    (start,) = of_kind(StartWorker, instructions)
    assert start.device == "cuda:0"
    d.handle(events.MemorySampled({"cuda:0": 50, "cuda:1": 100}))
    d.handle(events.WorkerLoadFailed(start.instance, LoadFailed("no"), out_of_memory=True))
    instructions = d.gone(start.instance)
    assert not of_kind(StartWorker, instructions)  # it waits for other programs to free memory
    lost = events.MemorySampled({"cuda:0": 0, "cuda:1": 100}, lost=frozenset({"cuda:0"}))
    instructions = d.handle(lost)
    assert not failures(instructions)
    assert [do.device for do in of_kind(StartWorker, instructions)] == ["cuda:1"]


def test_a_load_that_no_longer_fits_beside_a_grown_pinned_model_goes_elsewhere(
    driver: type[Driver],
) -> None:
    d = driver((("cuda:0", "cuda", 100), ("cpu", "cpu", 100)))
    d.add("pinned", 40, pinned=True)
    instance = d.load("pinned")
    d.add("other", 60)
    d.handle(events.MemorySampled({"cuda:0": 10, "cpu": 100}))
    d.request("other")
    running, _ = d.request("pinned")
    d.request("pinned")
    instructions = d.finish(running, peak=50)
    assert [do.device for do in of_kind(StartWorker, instructions)] == ["cpu"]
    assert d.instances[instance].accepting


def test_a_failed_batch_member_goes_to_another_instance_if_its_own_drains(
    driver: type[Driver],
) -> None:
    d = driver(pipeline=1)
    d.add("a", 20, max_instances=2, batch_size=2)
    old = d.load("a")
    blocking, _ = d.request("a")
    members = [d.request("a", batch_key="x")[0] for _ in range(2)]
    d.finish(blocking)
    d.unload("a")  # drains the busy instance
    other = d.load("a")
    assert not d.instances[old].accepting
    error = InsufficientMemory("out of memory")
    assert dispatched(d.finish(members[0], error=error, out_of_memory=True)) == [members[0]]
    assert [request.id for request in d.instances[other].in_flight] == [members[0]]


def test_a_failed_load_cancels_another_pending_load_of_its_model(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 30, min_instances=2, max_instances=3)
    d.load("a")
    second = max(d.instances)
    request, _ = d.request("a")
    d.handle(events.MemorySampled({"cpu": 0}))
    error = InsufficientMemory("out of memory")
    d.finish(request, error=error, out_of_memory=True)
    assert len(d.brain.loader.pending) == 1  # a load with a larger reservation
    instructions = d.handle(events.WorkerLoadFailed(second, error))
    assert list(failures(instructions)) == [request]
    assert not d.brain.loader.pending


def test_a_pool_does_not_grow_while_a_batch_fills_for_an_idle_instance(
    driver: type[Driver],
) -> None:
    d = driver()
    model = d.add("a", 20, max_instances=2, batch_size=8, batch_delay=5.0)
    d.load("a")
    model.history.load_seconds, model.service_seconds = 0.1, 1.0
    instructions = [do for _ in range(3) for do in d.request("a", batch_key="x")[1]]
    assert instructions == []


def test_requests_that_a_removed_model_answers_on_a_lost_gpu_fail_at_once(
    driver: type[Driver],
) -> None:
    d = driver(GPUS)
    d.add("a", 40)
    d.load("a")
    request, _ = d.request("a")
    d.handle(events.ModelRemoved("a"))
    lost = d.handle(events.MemorySampled({}, lost=frozenset({"cuda:0"})))
    assert request in failures(lost)


def test_requests_of_a_lost_gpu_go_to_the_model_that_has_replaced_theirs(
    driver: type[Driver],
) -> None:
    d = driver(GPUS)
    d.add("a", 40)
    d.load("a")
    d.request("a")
    d.add("a", 40)
    lost = d.handle(events.MemorySampled({}, lost=frozenset({"cuda:0"})))
    assert started(lost) == ["a"]
