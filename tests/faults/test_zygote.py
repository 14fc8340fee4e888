"""The process that workers are forked from may end, hang, or never start."""

import os
import signal
from collections.abc import Iterator, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
import pytest
from psutil import Process

from sire.errors import WorkerCrashed
from sired.workers.zygote.zygote import Zygote
from tests.faults.conftest import House, new_house
from tests.waiting import wait_until


def zygote(house: House) -> Process:
    """The daemon's one child that is no worker and keeps no account of what is shared."""
    (found,) = wait_until(lambda: [c for c in house.daemon().children() if is_zygote(c)])
    return found


def is_zygote(process: Process) -> bool:
    try:
        # A worker has its zygote's words, but a name of its own.
        is_worker = process.name().startswith("sired:")
        return "forkserver import main" in " ".join(process.cmdline()) and not is_worker
    except psutil.Error:
        return False


def warm(house: House) -> bool:
    return bool(house.json("health")["status"] == "ok")


@pytest.fixture(scope="module")
def one_house() -> Iterator[House]:
    house = new_house()
    yield house
    house.end()


@pytest.fixture
def served(one_house: House) -> House:
    one_house.register_faulty()
    one_house.predict()
    wait_until(lambda: warm(one_house))
    return one_house


def test_a_zygote_that_is_killed_is_replaced_and_nobody_waits_for_it_to_be_missed(
    served: House,
) -> None:
    worker, old = served.predict(do="pid"), zygote(served)
    old.kill()
    assert served.predict(do="pid") == worker  # a worker does not need it
    wait_until(lambda: zygote(served).pid != old.pid and warm(served))
    served.sire("unload", "m")
    assert psutil.Process(served.predict(do="pid")).ppid() == zygote(served).pid


def test_how_a_worker_ended_is_known_although_its_zygote_went_before(served: House) -> None:
    worker = served.predict(do="pid")
    zygote(served).kill()
    wait_until(lambda: psutil.Process(worker).ppid() == served.pid())
    with pytest.raises(WorkerCrashed, match="SIGSEGV"):
        served.predict(do="segfault")
    wait_until(lambda: not psutil.pid_exists(worker))


def test_a_load_that_finds_the_zygote_dying_gets_another(served: House) -> None:
    served.sire("unload", "m")
    for _ in range(2):
        zygote(served).kill()
        assert served.predict(x=1) == {"x": 1}
        served.sire("unload", "m")


def test_a_zygote_that_hangs_is_replaced(tmp_path: Path) -> None:
    Zygote().warm()  # the fork server may have been started through another object
    zygote = Zygote(fork_seconds=0.5)
    zygote.warm()
    old = zygote.pid
    assert old is not None
    os.kill(old, signal.SIGSTOP)
    zygote.warm()
    assert zygote.pid != old
    assert zygote.problem == ""


class DyingUnseen(Zygote):
    """Its process is killed right after somebody has looked whether it lives."""

    def __init__(self) -> None:
        super().__init__()
        self.armed = False

    @property
    def ended(self) -> bool:
        found = super().ended
        if self.armed:
            self.armed = False
            server = psutil.Process(self.pid)
            server.kill()
            wait_until(lambda: server.status() == psutil.STATUS_ZOMBIE)
        return found


def test_a_zygote_that_dies_between_a_look_and_a_fork_is_known_to_be_another_one() -> None:
    zygote = DyingUnseen()
    zygote.warm()
    old = zygote.pid
    zygote.armed = True
    zygote.warm()
    assert zygote.pid != old
    assert not zygote.ended
    assert psutil.Process(zygote.pid).ppid() == os.getpid()


def test_a_worker_of_an_attempt_that_failed_ends_and_takes_no_message(tmp_path: Path) -> None:
    class Losing(Zygote):
        """Its first fork succeeds, and is not heard of."""

        def _fork(self, target: Any, arguments: Sequence[object]) -> BaseProcess:
            process = super()._fork(target, arguments)
            forked.append(process)
            if len(forked) == 1:
                raise EOFError
            return process

    forked: list[BaseProcess] = []
    process, connection = Losing().start(tmp_path / "log")
    lost, known = forked
    assert process is known
    lost.join(30)
    assert not lost.is_alive()
    assert known.is_alive()
    connection.close()
    known.join(30)


def test_a_worker_that_forks_while_the_zygote_is_young_has_no_timer_of_the_zygotes(
    house: House,
) -> None:
    house.register_faulty()
    assert house.predict(do="fork_and_wait") is False
    house.register_faulty("forks", args={"at_load": "fork_and_wait"})
    assert house.predict("forks", do="timer") is False


def test_where_no_zygote_starts_workers_are_spawned_and_it_is_said(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnxruntime.py").write_text("import os; os._exit(1)")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")
    house.register_faulty()
    worker = house.predict(do="pid")
    assert psutil.Process(worker).ppid() == house.pid()
    wait_until(lambda: warm(house))
    assert any("zygote" in problem for problem in house.json("health")["problems"])
    with pytest.raises(WorkerCrashed, match="exit code 5"):
        house.predict(do="exit", code=5)
    other = house.predict(do="pid")
    os.kill(house.pid(), signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(other))
