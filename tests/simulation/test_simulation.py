"""Random events, with the invariants checked after every one of them.

SIRE_SEED=17 or SIRE_SEED=100..199 sets the seeds, SIRE_EVENTS=1000000 the events of each run.
"""

import os

import pytest

from tests.simulation.layouts import LAYOUTS
from tests.simulation.record import Violation
from tests.simulation.simulation import Simulation

EVENTS = int(os.environ.get("SIRE_EVENTS", "6000"))


ASKED = os.environ.get("SIRE_SEED")
FIRST, _, LAST = (ASKED or "1..3").partition("..")
# Unless seeds were asked for, the first one is enough; `make test-all` runs the others.
SEEDS = [
    pytest.param(seed, marks=() if ASKED or seed == int(FIRST) else pytest.mark.long)
    for seed in range(int(FIRST), int(LAST or FIRST) + 1)
]


@pytest.mark.timeout(0 if EVENTS > 100_000 else 120)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_scheduler_keeps_its_invariants(layout: str, seed: int) -> None:
    try:
        Simulation(LAYOUTS[layout], seed).run(EVENTS)
    except Violation as problem:  # without the traceback, which shows nothing useful
        replay = f"SIRE_SEED={seed} SIRE_EVENTS={EVENTS} pytest tests/simulation -k '{layout}-'"
        pytest.fail(f"{problem}\n\nReplay it: {replay}", pytrace=False)


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.parametrize("seed", range(1000, 1010))
def test_the_scheduler_keeps_its_invariants_whatever_drivers_do(seed: int) -> None:
    """100,000 events in all: GPUs vanish, return, appear, answer late and report falsely."""
    Simulation(LAYOUTS["drivers"], seed).run(10_000)


def test_a_seed_gives_the_same_run_every_time() -> None:
    runs = []
    for _ in range(2):
        simulation = Simulation(LAYOUTS["gpus"], 5)
        simulation.run(1000)
        runs.append((str(simulation.journal), simulation.record.answers, simulation.world.now))
    assert runs[0] == runs[1]
