"""A recorded run, replayed into a fresh brain, gives the same instructions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sire.units import FOREVER
from sired.scheduler.brain import Brain
from sired.scheduler.events import Event
from sired.scheduler.instructions import Instruction
from sired.scheduler.policies import eviction, placement, routing
from sired.scheduler.policies.placement import Strategy
from sired.scheduler.policies.routing import Router
from sired.scheduler.recording import Policies, Recorder
from sired.scheduler.replay import main, replay
from sired.scheduler.rules import Rules
from tests.simulation.layouts import LAYOUTS
from tests.simulation.record import Violation
from tests.simulation.replayed import check
from tests.simulation.simulation import Simulation


def name_of(policy: Callable[..., Any], built_in: dict[str, Callable[..., Any]]) -> str:
    return next(name for name, known in built_in.items() if known is policy)


def names_of(strategy: Strategy, router: Router, rules: Rules) -> Policies:
    return Policies(
        name_of(strategy, placement.BUILT_IN),
        name_of(router, routing.BUILT_IN),
        name_of(rules.eviction, eviction.BUILT_IN),
    )


def recorded(layout: str, seed: int, count: int = 2000) -> list[str]:
    """The lines of a run's recording."""
    lines: list[str] = []
    simulation = Simulation(LAYOUTS[layout], seed)
    brain, handle, adopt = simulation.brain, simulation.brain.handle, simulation.brain.adopt
    names = names_of(simulation.strategy, simulation.router, brain.rules)
    accounts, dram = brain.ledger.accounts.values(), brain.ledger.dram.capacity
    recorder = Recorder(lines.append, accounts, brain.rules, names, dram)

    def recording_handle(event: Event, now: float) -> list[Instruction]:
        instructions = handle(event, now)
        recorder.note(event, now, instructions)
        return instructions

    def recording_adopt(rules: Rules, strategy: Strategy, router: Router) -> None:
        adopt(rules, strategy, router)
        recorder.adopt(rules, names_of(strategy, router, rules))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(brain, "handle", recording_handle)
        patch.setattr(brain, "adopt", recording_adopt)
        simulation.run(count)
    return lines


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_replay_gives_the_recorded_instructions_and_the_invariants_hold(layout: str) -> None:
    lines = recorded(layout, seed=11)
    count, difference = replay(lines)
    assert difference == ""
    assert count == sum('"event"' in line for line in lines) >= 2000
    assert check(lines)["request answered"] > 50


def test_a_changed_recording_is_reported_with_its_line() -> None:
    lines = recorded("gpus", seed=12, count=200)
    number, line = next(
        (number, json.loads(line))
        for number, line in enumerate(lines[1:], start=2)
        if json.loads(line).get("instructions")
    )
    line["instructions"].pop()
    lines[number - 1] = json.dumps(line)
    _, difference = replay(lines)
    assert difference.startswith(f"line {number}: after")


def test_a_line_that_was_cut_short_ends_the_replay() -> None:
    lines = recorded("gpus", seed=13, count=200)
    assert replay([*lines[:100], lines[100][:-20]]) == (99, "")


def test_a_file_that_is_not_a_recording_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text('{"some": "log"}\n')
    assert main([str(other)]) == 1
    assert "is not a recording" in capsys.readouterr().err


def test_a_violation_in_a_recording_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = recorded("gpus", seed=15, count=300)
    monkeypatch.setattr(Brain, "wakeup", FOREVER)
    with pytest.raises(Violation, match="deadline"):
        check(lines)
