"""Policies of other packages: what happens where they fail."""

from types import SimpleNamespace
from typing import Any

import pytest

from sired.daemon import plugins
from sired.scheduler.policies.eviction import Candidate
from sired.scheduler.policies.placement import Place
from sired.scheduler.policies.routing import Choice

FULL = Place("full", 100, 90, 10, 1, 1)
EMPTY = Place("empty", 100, 0, 100, 0, 0)
IDLE, BUSY = Choice(1, "cpu", 0, 5), Choice(2, "cpu", 3, 6)


@pytest.fixture
def provide(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have a package provide a function under the name "ours"."""

    def _provide(function: Any) -> None:
        class Found(dict[str, SimpleNamespace]):
            names = ("ours",)

        entry = SimpleNamespace(load=lambda: function)
        monkeypatch.setattr(plugins, "entry_points", lambda group: Found(ours=entry))

    return _provide


def raises(*_: Any) -> None:
    raise ZeroDivisionError("1 / 0")


def test_a_policy_that_works_decides(provide: Any) -> None:
    provide(lambda places, need: sorted(places, key=lambda place: place.usable))
    assert plugins.find_strategy("ours")([EMPTY, FULL], 5) == [FULL, EMPTY]
    provide(lambda choices: choices[1])
    assert plugins.find_router("ours")([IDLE, BUSY]) == BUSY
    provide(lambda candidate, now: -candidate.memory)
    assert plugins.find_policy("ours")(Candidate(1, 7, 2.0), 3.0) == -7


@pytest.mark.parametrize("broken", [raises, lambda *_: [FULL], lambda *_: None, lambda *_: 3])
def test_the_built_in_strategy_stands_in_for_one_that_fails(
    provide: Any, broken: Any, caplog: pytest.LogCaptureFixture
) -> None:
    provide(broken)
    strategy = plugins.find_strategy("ours")
    for _ in range(3):
        assert strategy([FULL, EMPTY], 5) == [EMPTY, FULL]
    (record,) = caplog.records
    assert record.getMessage().startswith("the placement strategy ours r")
    assert record.getMessage().endswith("; the built-in one decides instead")


@pytest.mark.parametrize("broken", [raises, lambda *_: Choice(9, "cpu", 0, 0), lambda *_: None])
def test_the_built_in_router_stands_in_for_one_that_fails(provide: Any, broken: Any) -> None:
    provide(broken)
    assert plugins.find_router("ours")([BUSY, IDLE]) == IDLE


@pytest.mark.parametrize("broken", [raises, lambda *_: float("nan"), lambda *_: "dear"])
def test_the_built_in_eviction_policy_stands_in_for_one_that_fails(
    provide: Any, broken: Any
) -> None:
    provide(broken)
    assert plugins.find_policy("ours")(Candidate(1, 7, 2.0), 3.0) == 2.0
