"""Groups: models that share a limit on memory, besides that of their devices."""

from collections.abc import Iterable

from sire.errors import InsufficientMemory
from sired.scheduler import events
from sired.scheduler.entities.model import Model
from sired.scheduler.instructions import Evicted, Instruction, StartWorker, StopWorker
from tests.unit.sired.scheduler.conftest import Driver, failures, of_kind

TWO_GPUS = (("cuda:0", "cuda", 100), ("cuda:1", "cuda", 100))


def started(instructions: Iterable[Instruction]) -> list[str]:
    return [do.model.name for do in of_kind(StartWorker, instructions)]


def test_a_load_beyond_the_limit_evicts_from_its_own_group_although_devices_are_free(
    driver: type[Driver],
) -> None:
    d = driver(devices=TWO_GPUS, groups={"lab": 60})
    d.add("outside", 20)
    d.add("old", 40, group="lab")
    d.add("new", 30, group="lab")
    d.load("outside")
    old = d.load("old")
    d.now = 1
    _, instructions = d.request("new")
    assert of_kind(Evicted, instructions) == [Evicted(old, "old", wanted_by="new")]
    assert started(d.gone(old)) == ["new"]
    assert d.loaded() == ["new", "outside"]


def test_the_limit_holds_over_all_devices_together(driver: type[Driver]) -> None:
    d = driver(devices=TWO_GPUS, strategy="round-robin", groups={"lab": 60})
    for name in ("a", "b", "c"):
        d.add(name, 30, group="lab")
    first, _ = d.load("a"), d.load("b")
    d.now = 1
    _, instructions = d.request("c")
    assert of_kind(StopWorker, instructions) == [StopWorker(first)]


def test_a_load_that_waits_for_its_group_holds_up_nobody_else(driver: type[Driver]) -> None:
    d = driver(groups={"lab": 50}, patience=10.0)
    d.add("busy", 50, group="lab")
    d.add("waits", 50, group="lab")
    d.add("other", 50)
    d.load("busy")
    d.request("busy")
    assert started(d.request("waits")[1]) == []
    assert started(d.request("other")[1]) == ["other"]


def test_a_busy_member_gives_way_once_its_turn_is_over(driver: type[Driver]) -> None:
    d = driver(groups={"lab": 50}, patience=1.0)
    d.add("busy", 50, group="lab")
    d.add("waits", 50, group="lab")
    busy = d.load("busy")
    running, _ = d.request("busy")
    d.request("waits")
    d.wait(1.0)
    assert of_kind(StopWorker, d.finish(running)) == [StopWorker(busy)]


def test_a_model_larger_than_its_group_is_rejected_at_once_with_figures(
    driver: type[Driver],
) -> None:
    d = driver(groups={"lab": 50})
    d.add("pinned", 20, group="lab", pinned=True)
    d.add("large", 31, group="lab")
    d.load("pinned")
    request, instructions = d.request("large")
    error = failures(instructions)[request]
    assert isinstance(error, InsufficientMemory)
    assert "lab has 50 B, 20 B of it pinned" in error.message
    assert error.details["need_bytes"] == 31


def test_a_group_without_a_limit_limits_nothing(driver: type[Driver]) -> None:
    d = driver()
    d.add("a", 50, group="lab")
    d.add("b", 50, group="lab")
    d.load("a")
    assert started(d.request("b")[1]) == ["b"]


def test_an_instance_that_outgrows_the_group_ends_its_idle_members(driver: type[Driver]) -> None:
    d = driver(groups={"lab": 60})
    d.add("idle", 30, group="lab")
    d.add("outside", 10)
    d.add("grows", 30, group="lab")
    idle = d.load("idle")
    d.load("outside")
    grows = d.load("grows")
    running, _ = d.request("grows")
    instructions = d.finish(running, peak=35)
    assert of_kind(Evicted, instructions) == [Evicted(idle, "idle", wanted_by="grows")]
    assert d.instances[grows].accepting


def test_a_pool_grows_no_further_than_its_group(driver: type[Driver]) -> None:
    d = driver(groups={"lab": 50})
    d.add("pool", 30, group="lab", min_instances=2, max_instances=2)
    d.load("pool")
    assert d.loaded() == ["pool"]


def test_members_that_can_sleep_give_way_by_sleeping(driver: type[Driver]) -> None:
    d = driver(devices=(("cuda:0", "cuda", 100),), groups={"lab": 50}, dram=100)
    d.add("old", 40, group="lab")
    d.add("new", 40, group="lab")
    old = d.load("old")
    d.now = 1
    d.request("new")
    assert d.instances[old].state_name == "suspending"
    assert started(d.slept(old)) == ["new"]


def test_a_sleeper_wakes_only_when_its_group_has_room(driver: type[Driver]) -> None:
    d = driver(devices=(("cuda:0", "cuda", 100),), groups={"lab": 50}, dram=100)
    d.add("old", 40, group="lab")
    d.add("new", 40, group="lab")
    old = d.load("old")
    d.now = 1
    d.request("new")
    d.slept(old)
    (new,) = (i for i in d.instances.values() if i.model.name == "new")
    d.ready(new.id)
    request = next(r.id for r in new.in_flight)
    d.finish(request)
    d.now = 2
    d.request("old")
    assert d.instances[new.id].state_name == "suspending"
    d.slept(new.id)
    assert d.instances[old].state_name == "waking"


def test_whether_a_new_model_fits_takes_its_group_into_account(driver: type[Driver]) -> None:
    d = driver(groups={"lab": 50})
    d.add("there", 40, group="lab")
    d.load("there")

    def fit(weights: int) -> tuple[str, tuple[str, ...]]:
        (found,) = d.brain.fit_by_device(Model("new", weights=weights, group="lab"), d.now)
        return found.fits, found.evicts

    assert fit(10) == ("now", ())
    assert fit(20) == ("after-eviction", ("there",))
    assert fit(51) == ("never", ())


def test_a_limit_that_is_raised_lets_what_waits_go_on(driver: type[Driver]) -> None:
    d = driver(groups={"lab": 50}, patience=10.0)
    d.add("busy", 50, group="lab")
    d.add("waits", 50, group="lab")
    d.load("busy")
    d.request("busy")
    d.request("waits")
    d.brain.adopt(d.rules(groups={"lab": 100}), d.strategy, d.brain.fleet._router)
    assert started(d.handle(events.TimerFired())) == ["waits"]
