"""Short runs of what ``make soak`` does for hours."""

import random

import psutil
import pytest

from tests.endurance.cycles import cycle, growth
from tests.endurance.soak import Soak, prepare

CYCLES, EVERY = 120, 10
SOAK_SECONDS = 20
MIB = 1024**2


@pytest.fixture
def show(capsys):
    """Prints figures whether the test passes or not."""

    def show(text):
        with capsys.disabled():
            print(f"\n{text}")

    return show


@pytest.mark.own_daemon
def test_loads_and_unloads_leave_nothing_behind(home, register, show):
    register("m")
    with home.connect() as connection:
        found = list(cycle(connection, home.pid(), "m", CYCLES, EVERY))
    settled = found[CYCLES // EVERY // 4 :]
    grown = 1000 * growth([held.memory for held in settled], EVERY)
    show(f"{grown / MIB:.2f} MiB more for every thousand loads and unloads; {settled[-1]}")
    assert grown < 2 * MIB
    first, last = settled[0], settled[-1]
    assert last.descriptors == first.descriptors
    assert last.threads == first.threads
    assert last.processes == first.processes
    assert last.segments == 0


@pytest.mark.own_daemon
def test_everybody_is_answered_while_models_make_room_for_each_other_and_workers_die(
    home, tmp_path, show
):
    prepare(home, tmp_path)
    seed = random.randrange(1_000_000)
    counters = Soak(home, seed, kill_workers=1.0).run(SOAK_SECONDS)
    show(f"seed {seed}\n{counters}")
    assert counters.flawless
    assert counters.answered > 100
    assert counters.jobs_answered > 10
    assert counters.evictions > 10
    assert counters.workers_killed > 5
    home.sire("daemon", "stop")
    left = [process for process in psutil.process_iter() if _of(home, process)]
    assert psutil.wait_procs(left, 10)[1] == []


def _of(home, process):
    """Whether a process belongs to the daemon of this home."""
    try:
        return process.environ().get("SIRE_HOME") == str(home.path)
    except psutil.Error:
        return False
