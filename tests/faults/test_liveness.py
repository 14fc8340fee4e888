"""To be alive means to be able to answer, not to have a socket."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sire.errors import DeadlineExceeded, SireError, WorkerCrashed
from sire.protocol.replies import HealthReport
from sire.protocol.requests import Health
from tests.faults.conftest import House
from tests.faults.test_zygote import zygote
from tests.waiting import DEADLINE_SECONDS, wait_until


def check(house: House, **request: Any) -> list[str] | None:
    with house.connect() as connection:
        return [each.step for each in connection.expect(HealthReport, Health(**request)).checks]


def test_a_deep_check_goes_through_the_loop_a_fresh_worker_and_the_model(faulty: House) -> None:
    assert check(faulty) == []
    assert check(faulty, deep=True) == ["event loop", "worker"]
    assert check(faulty, model="m") == ["event loop", "worker", "m"]
    assert [i.state for i in faulty.instances()] == ["ready"]
    assert b"Works" in faulty.sire("health", "--deep", "m").stdout


def test_a_model_whose_process_stands_still_fails_its_check(faulty: House) -> None:
    worker = faulty.predict(do="pid")
    os.kill(worker, signal.SIGSTOP)
    with pytest.raises(DeadlineExceeded, match="1 s"):
        check(faulty, model="m", timeout=1)
    assert check(faulty, deep=True) == ["event loop", "worker"]


def test_a_model_whose_process_ends_over_the_check_is_told_how(faulty: House) -> None:
    worker = faulty.predict(do="pid")
    os.kill(worker, signal.SIGSTOP)
    idle = [0.0]

    def is_checked() -> bool:
        """Being checked is a use of the model, so that it has not been idle for long."""
        idle.append(faulty.instances()[0].idle_seconds)
        return idle[-1] < idle[-2]

    def kill_when_checked() -> None:
        wait_until(is_checked)
        os.kill(worker, signal.SIGKILL)

    killer = threading.Thread(target=kill_when_checked)
    killer.start()
    with pytest.raises(WorkerCrashed, match=r"check of m failed.*SIGKILL"):
        check(faulty, model="m")
    killer.join()


def test_a_model_that_cannot_be_loaded_fails_its_check_with_the_reason(faulty: House) -> None:
    faulty.register_faulty(args={"at_load": "fail"})
    with pytest.raises(SireError, match=r"check of m failed.*cannot be loaded"):
        check(faulty, model="m")


def test_a_zygote_that_stands_still_fails_the_check(shared: House) -> None:
    stopped = zygote(shared)
    os.kill(stopped.pid, signal.SIGSTOP)
    try:
        assert check(shared) == []
        with pytest.raises(DeadlineExceeded):
            check(shared, deep=True, timeout=0.5)
    finally:
        os.kill(stopped.pid, signal.SIGCONT)


@pytest.fixture
def watched(house: House) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """A daemon with a watchdog of 400 ms, and what it is told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(house.path / "notify"))
        manager.settimeout(DEADLINE_SECONDS)
        environment = {
            **house.environment,
            "NOTIFY_SOCKET": str(house.path / "notify"),
            "WATCHDOG_USEC": "400000",
        }
        daemon = subprocess.Popen(
            [sys.executable, "-m", "sired"], env=environment, stderr=subprocess.DEVNULL
        )
        assert manager.recv(100) == b"READY=1"
        yield daemon, manager
        daemon.terminate()
        assert daemon.wait(DEADLINE_SECONDS) == 0


def test_the_watchdog_is_told_by_the_loop_and_no_more_when_that_stands_still(
    watched: tuple[subprocess.Popen[bytes], socket.socket],
) -> None:
    daemon, manager = watched
    for _ in range(3):
        assert manager.recv(100) == b"WATCHDOG=1"
    os.kill(daemon.pid, signal.SIGSTOP)
    manager.settimeout(1.0)
    with pytest.raises(TimeoutError):  # noqa: PT012 (what came before is read first)
        while True:
            manager.recv(100)
    os.kill(daemon.pid, signal.SIGCONT)
    manager.settimeout(DEADLINE_SECONDS)
    assert manager.recv(100) == b"WATCHDOG=1"


def test_a_service_manager_that_is_gone_is_no_trouble(
    watched: tuple[subprocess.Popen[bytes], socket.socket], house: House
) -> None:
    daemon, manager = watched
    house.register_faulty()
    assert house.predict(x=1) == {"x": 1}
    manager.close()
    (house.path / "notify").unlink()
    assert house.predict(x=2) == {"x": 2}
    assert daemon.poll() is None


def test_models_cannot_speak_for_the_daemon(
    watched: tuple[subprocess.Popen[bytes], socket.socket], house: House
) -> None:
    house.register_faulty()
    worker = house.predict(do="pid")
    assert b"NOTIFY_SOCKET" not in Path(f"/proc/{worker}/environ").read_bytes()
    assert "NOTIFY_SOCKET" not in house.predict(do="environment")
