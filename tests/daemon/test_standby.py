"""Workers that stand by without a model, and loads that take them over."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from psutil import NoSuchProcess, Process

from sire.protocol.devices import DeviceInfo, DeviceList
from sire.protocol.replies import InstanceInfo
from sire.protocol.requests import Devices, Load, Predict, Unload
from tests.contract.runtime_cases import PROGRAM
from tests.home import Home
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.settings("[devices.cpu]\nstandby = 1\n"),
    pytest.mark.xdist_group("standby"),
]


@pytest.fixture
def prepared(home: Home, register: Callable[..., Any]) -> Home:
    """A daemon with one worker standing by on its CPU, and two models."""
    register("m", 2)
    register("other", 3)
    wait_until(lambda: standing_by(home))
    return home


def standing_by(home: Home) -> list[int]:
    """The pids of the workers that stand by, when they and the daemon say so."""
    processes = psutil.Process(home.pid()).children(recursive=True)
    found = [process.pid for process in processes if is_standing_by(process)]
    return found if len(found) == devices(home)[0].standby else []


def is_standing_by(process: Process) -> bool:
    with suppress(NoSuchProcess):
        return process.name() == "sired:standby"
    return False


def devices(home: Home) -> tuple[DeviceInfo, ...]:
    with home.connect() as connection:
        return connection.expect(DeviceList, Devices()).devices


def test_a_load_takes_over_the_worker_that_stands_by_and_another_takes_its_place(
    prepared: Home,
) -> None:
    (ready,) = standing_by(prepared)
    with prepared.connect() as connection:
        assert connection.expect(InstanceInfo, Load(name="m")).pid == ready
        _, (answer,) = connection.ask(Predict(model="m"), [b"[1, 1, 1, 1]"])
        assert bytes(answer) == b"[2.0,2.0,2.0,2.0]"
    (next_one,) = wait_until(lambda: standing_by(prepared))
    assert next_one != ready
    assert [device.standby for device in devices(prepared)] == [1]


def test_a_program_leaves_the_worker_that_stands_by_to_others(prepared: Home) -> None:
    """It would hold a CUDA context that nothing uses: the program opens its own."""
    (ready,) = standing_by(prepared)
    prepared.register("program", "--cmd", PROGRAM + " {port}", "--health", "/health")
    with prepared.connect() as connection:
        assert connection.expect(InstanceInfo, Load(name="program")).pid != ready
    wait_until(lambda: standing_by(prepared) == [ready])


def test_loads_that_find_nobody_standing_by_start_a_worker_of_their_own(prepared: Home) -> None:
    (ready,) = standing_by(prepared)
    with prepared.connect() as one:
        os.kill(ready, signal.SIGKILL)
        wait_until(lambda: devices(prepared)[0].standby == 0)
        assert one.expect(InstanceInfo, Load(name="m")).pid != ready
        assert one.expect(InstanceInfo, Load(name="other")).state == "ready"


def test_what_a_model_prints_goes_to_its_own_log(home: Home, zoo: Path, tmp_path: Path) -> None:
    source = (zoo / "classes.py").read_text()
    (tmp_path / "loud.py").write_text(source + '\nprint("imported")\n')
    home.register("m", zoo / "x2.safetensors", "--class", f"{tmp_path}/loud.py:Scale")
    wait_until(lambda: standing_by(home))
    home.sire("load", "m")
    assert "imported" in home.sire("logs", "m").stdout.decode()
    assert "imported" not in home.paths.standby_log.read_text()


@pytest.mark.settings(
    '[memory]\ncpu_process = "100MiB"\n[devices.cpu]\nmemory = "1GiB"\nstandby = 2\n'
)
def test_its_memory_is_kept_for_it_and_a_model_is_charged_as_ever(
    home: Home, register: Callable[..., Any]
) -> None:
    register("m", 2)
    (device,) = devices(home)
    assert device.capacity_bytes == (1024 - 200) << 20
    wait_until(lambda: len(standing_by(home)) == 2)
    with home.connect() as connection:
        charged = connection.expect(InstanceInfo, Load(name="m")).memory_bytes
    assert devices(home)[0].used_bytes == charged


@pytest.mark.settings('[devices.cpu]\nmemory = "64MiB"\nstandby = 3\n')
def test_more_workers_standing_by_than_a_device_has_memory_for_are_refused(home: Home) -> None:
    assert "3 standby workers need 96 MiB of 64 MiB" in home.sire("health").stderr.decode()


def test_nobody_stays_behind_when_the_daemon_stops(prepared: Home) -> None:
    (ready,) = standing_by(prepared)
    with prepared.connect() as connection:
        connection.ask(Load(name="m"))
        connection.ask(Unload(name="m"))
    prepared.sire("daemon", "stop")
    wait_until(lambda: not psutil.pid_exists(ready))
