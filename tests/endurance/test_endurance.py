"""Short runs of what ``make soak`` does for hours."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from psutil import Process

from tests.endurance import chaos
from tests.endurance.counters import SoakCounters
from tests.endurance.cycles import cycle, growth, look
from tests.endurance.soak import Soak, prepare
from tests.home import Home
from tests.waiting import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

CYCLES, EVERY = 120, 10
# It ends earlier, once enough has happened.
SOAK_SECONDS = 200
MIB = 1024**2


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Prints figures whether the test passes or not."""

    def show(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}")

    return show


@pytest.mark.own_daemon
def test_loads_and_unloads_leave_nothing_behind(
    home: Home, register: Callable[..., Any], show: Callable[[str], None]
) -> None:
    register("m")
    with home.connect() as connection:
        pid = home.pid()
        found = list(cycle(connection, pid, "m", CYCLES, EVERY))
    settled = found[CYCLES // EVERY // 4 :]
    grown = 1000 * growth([held.memory for held in settled], EVERY)
    show(f"{grown / MIB:.2f} MiB more for every thousand loads and unloads; {settled[-1]}")
    assert grown < 2 * MIB
    # No more than there was at first, whenever what has just ended is gone.
    least = tuple(map(min, zip(*(held.counts for held in settled), strict=True)))
    wait_until(lambda: all(now <= then for now, then in zip(look(pid).counts, least, strict=True)))
    assert look(pid).segments == 0


@pytest.mark.own_daemon
def test_everybody_is_answered_while_models_make_room_for_each_other_and_workers_die(
    home: Home, tmp_path: Path, show: Callable[[str], None]
) -> None:
    prepare(home, tmp_path)
    seed = random.randrange(1_000_000)
    soak = Soak(home, seed, kill_workers=1.0)
    counters = soak.run(SOAK_SECONDS, enough=enough)
    show(f"seed {seed}\n{counters}")
    assert counters.flawless
    assert enough(counters)
    home.sire("daemon", "stop")
    left = [process for process in psutil.process_iter() if _of(home, process)]
    assert psutil.wait_procs(left, 90)[1] == []


@pytest.mark.own_daemon
def test_everything_at_once_is_answered_while_processes_are_killed_and_stopped(
    home: Home, tmp_path: Path, show: Callable[[str], None]
) -> None:
    chaos.prepare(home, tmp_path)
    seed = random.randrange(1_000_000)
    counters = chaos.Chaos(home, seed).run(SOAK_SECONDS, enough=enough_chaos)
    show(f"seed {seed}\n{counters}")
    assert counters.flawless
    assert enough_chaos(counters)


def enough_chaos(counters: SoakCounters) -> bool:
    """Whether as much has happened as the test is for."""
    asked = counters.answered > 100 and counters.jobs_answered > 50
    return asked and counters.daemons_killed > 1 and counters.stopped > 5


def enough(counters: SoakCounters) -> bool:
    """Whether as much has happened as the test is for."""
    asked = counters.answered > 100 and counters.jobs_answered > 10
    return asked and counters.evictions > 10 and counters.workers_killed > 5


def _of(home: Home, process: Process) -> bool:
    """Whether a process belongs to the daemon of this home."""
    try:
        return process.environ().get("SIRE_HOME") == str(home.path)
    except psutil.Error:
        return False
