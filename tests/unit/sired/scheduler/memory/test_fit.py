"""Whether an unregistered model would fit on each device."""

from typing import Any

from sired.scheduler import events
from sired.scheduler.entities.model import Model
from tests.unit.sired.scheduler.conftest import Driver


def fit_by_device(d: Driver, weights: int, **attributes: Any) -> Any:
    (found,) = d.brain.fit_by_device(Model("new", weights=weights, **attributes), d.now)
    return found


def test_a_model_fits_now_after_eviction_or_never(driver: type[Driver]) -> None:
    d = driver()
    d.add("old", 60)
    d.load("old")
    assert fit_by_device(d, 40).fits == "now"
    assert (fit_by_device(d, 41).fits, fit_by_device(d, 41).evicts) == (
        "after-eviction",
        ("old",),
    )
    assert fit_by_device(d, 101).fits == "never"


def test_pinned_models_are_not_evicted(driver: type[Driver]) -> None:
    d = driver()
    d.add("old", 60, pinned=True)
    d.load("old")
    assert fit_by_device(d, 41).fits == "never"


def test_a_busy_model_counts_as_evictable_and_its_turn_is_not_started(driver: type[Driver]) -> None:
    d = driver()
    d.add("old", 60)
    instance = d.load("old")
    d.request("old")
    before = d.brain.fleet.instances[instance].turn
    assert fit_by_device(d, 41).evicts == ("old",)
    assert d.brain.fleet.instances[instance].turn is before


def test_memory_of_other_programs_is_not_available_now(driver: type[Driver]) -> None:
    d = driver()
    d.handle(events.MemorySampled({"cpu": 10}))
    found = fit_by_device(d, 50)
    assert (found.fits, found.evicts) == ("not-now", ())


def test_the_source_of_the_memory_need_is_stated(driver: type[Driver]) -> None:
    d = driver()
    assert (fit_by_device(d, 30).need, fit_by_device(d, 30).source) == (30, "estimated")
    assert fit_by_device(d, 30, learned={"cpu": 50}).source == "learned"
    assert fit_by_device(d, 30, declared=20).source == "declared"


def test_each_device_is_assessed_separately(driver: type[Driver]) -> None:
    d = driver(devices=(("cuda:0", "cuda", 50), ("cpu", "cpu", 100)))
    both = d.brain.fit_by_device(Model("new", weights=60), 0.0)
    assert [(one.device, one.fits) for one in both] == [("cuda:0", "never"), ("cpu", "now")]
    one = fit_by_device(d, 60, device="cpu")
    assert (one.device, one.fits) == ("cpu", "now")
