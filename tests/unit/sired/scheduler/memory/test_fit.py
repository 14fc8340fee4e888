"""Whether an unregistered model would fit on each device."""

from typing import Any

from sired.scheduler import events
from sired.scheduler.entities.model import Model


def fit_by_device(driver: Any, weights: Any, **attributes: Any) -> Any:
    (found,) = driver.brain.fit_by_device(Model("new", weights=weights, **attributes), driver.now)
    return found


def test_a_model_fits_now_after_eviction_or_never(driver: Any) -> None:
    driver = driver()
    driver.add("old", 60)
    driver.load("old")
    assert fit_by_device(driver, 40).fits == "now"
    assert (fit_by_device(driver, 41).fits, fit_by_device(driver, 41).evicts) == (
        "after-eviction",
        ("old",),
    )
    assert fit_by_device(driver, 101).fits == "never"


def test_pinned_models_are_not_evicted(driver: Any) -> None:
    driver = driver()
    driver.add("old", 60, pinned=True)
    driver.load("old")
    assert fit_by_device(driver, 41).fits == "never"


def test_a_busy_model_counts_as_evictable_and_its_turn_is_not_started(driver: Any) -> None:
    driver = driver()
    driver.add("old", 60)
    instance = driver.load("old")
    driver.request("old")
    before = driver.brain.fleet.instances[instance].turn
    assert fit_by_device(driver, 41).evicts == ("old",)
    assert driver.brain.fleet.instances[instance].turn is before


def test_memory_of_other_programs_is_not_available_now(driver: Any) -> None:
    driver = driver()
    driver.handle(events.MemorySampled({"cpu": 10}))
    found = fit_by_device(driver, 50)
    assert (found.fits, found.evicts) == ("not-now", ())


def test_the_source_of_the_memory_need_is_stated(driver: Any) -> None:
    driver = driver()
    assert (fit_by_device(driver, 30).need, fit_by_device(driver, 30).source) == (30, "estimated")
    assert fit_by_device(driver, 30, learned={"cpu": 50}).source == "learned"
    assert fit_by_device(driver, 30, declared=20).source == "declared"


def test_each_device_is_assessed_separately(driver: Any) -> None:
    driver = driver(devices=(("cuda:0", "cuda", 50), ("cpu", "cpu", 100)))
    both = driver.brain.fit_by_device(Model("new", weights=60), 0.0)
    assert [(one.device, one.fits) for one in both] == [("cuda:0", "never"), ("cpu", "now")]
    one = fit_by_device(driver, 60, device="cpu")
    assert (one.device, one.fits) == ("cpu", "now")
