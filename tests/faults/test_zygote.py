"""The process that workers are forked from may end, hang, or never start."""

import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from psutil import Process

from sire.errors import WorkerCrashed
from sired.workers.zygote.handles import ForkedProcess
from sired.workers.zygote.messages import Fork
from sired.workers.zygote.process import ZygoteEnded, ZygoteProcess
from sired.workers.zygote.server import NAME
from sired.workers.zygote.zygote import Zygote
from tests.faults.conftest import MODELS, House, new_house
from tests.waiting import DEADLINE_SECONDS, wait_until


def zygote(house: House) -> Process:
    (found,) = wait_until(lambda: zygotes(house))
    return found


def zygotes(house: House) -> list[Process]:
    return [child for child in house.daemon().children() if is_zygote(child)]


def is_zygote(process: Process) -> bool:
    with suppress(psutil.Error):
        return process.name() == NAME and process.status() != psutil.STATUS_ZOMBIE
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


@pytest.fixture
def own_zygote() -> Iterator[Callable[..., Zygote]]:
    started: list[Zygote] = []

    def start(kind: type[Zygote] = Zygote, **options: Any) -> Zygote:
        started.append(kind(**options))
        started[-1].warm()
        return started[-1]

    yield start
    for each in started:
        each.close()


def parent_of_new_worker(zygote: Zygote, log: Path, runtimes: Sequence[str] = ()) -> int:
    process, connection = zygote.start(log, runtimes)
    parent = psutil.Process(process.pid).ppid()
    connection.close()
    assert select.select([process.pidfd], [], [], DEADLINE_SECONDS)[0]
    process.close()
    return parent


def test_a_zygote_that_hangs_is_replaced(own_zygote: Callable[..., Zygote], tmp_path: Path) -> None:
    zygote = own_zygote(fork_seconds=2.0)
    old = zygote.pid
    assert old is not None
    os.kill(old, signal.SIGSTOP)
    assert parent_of_new_worker(zygote, tmp_path / "log") == zygote.pid != old
    assert zygote.problem == ""


class DyingUnseen(Zygote):
    """Its process is killed right after it was found to be ready."""

    armed = False

    def _ready_process(self, runtimes: frozenset[str]) -> ZygoteProcess | None:
        found = super()._ready_process(runtimes)
        if self.armed and found is not None:
            self.armed = False
            os.kill(found.pid, signal.SIGKILL)
            os.waitid(os.P_PID, found.pid, os.WEXITED | os.WNOWAIT)
        return found


def test_a_zygote_that_dies_between_a_look_and_a_fork_is_replaced(
    own_zygote: Callable[..., DyingUnseen], tmp_path: Path
) -> None:
    zygote = own_zygote(DyingUnseen)
    old = zygote.pid
    zygote.armed = True
    assert parent_of_new_worker(zygote, tmp_path / "log") == zygote.pid != old
    assert not zygote.ended


def test_a_worker_of_an_attempt_that_failed_ends_and_takes_no_message(
    own_zygote: Callable[..., Zygote], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forked: list[ForkedProcess] = []
    fork = ZygoteProcess.fork

    def lose_the_first(self: ZygoteProcess, request: Fork, end: socket.socket) -> ForkedProcess:
        forked.append(fork(self, request, end))
        if len(forked) == 1:
            raise ZygoteEnded
        return forked[-1]

    monkeypatch.setattr(ZygoteProcess, "fork", lose_the_first)
    process, connection = own_zygote().start(tmp_path / "log")
    lost, known = forked
    assert process is known
    assert has_ended(lost, DEADLINE_SECONDS)
    assert not has_ended(known, 0)
    connection.close()
    assert has_ended(known, DEADLINE_SECONDS)
    for each in forked:
        each.close()


def has_ended(process: ForkedProcess, seconds: float) -> bool:
    return bool(select.select([process.pidfd], [], [], seconds)[0])


def test_one_that_has_imported_more_takes_the_place_of_the_first(
    own_zygote: Callable[..., Zygote], tmp_path: Path
) -> None:
    zygote = own_zygote()
    first = psutil.Process(zygote.pid)
    assert not has_imported(first, "torch")
    process, connection = zygote.start(tmp_path / "log")
    assert not zygote.has(["pytorch"])
    assert parent_of_new_worker(zygote, tmp_path / "log", ["pytorch"]) == zygote.pid
    assert has_imported(psutil.Process(zygote.pid), "torch")
    assert zygote.pid != first.pid
    assert not first.is_running()
    assert zygote.has(["pytorch"])
    assert psutil.pid_exists(process.pid)  # a worker of the first one goes on
    connection.close()
    assert select.select([process.pidfd], [], [], DEADLINE_SECONDS)[0]
    process.close()


def test_workers_that_need_no_more_do_not_wait_for_one_that_imports(
    own_zygote: Callable[..., Zygote], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("import time\nwhile True: time.sleep(0.01)")
    monkeypatch.syspath_prepend(tmp_path)
    zygote = own_zygote()
    first = zygote.pid
    waits = threading.Thread(
        target=ignoring_end(zygote.start), args=(tmp_path / "log", ["pytorch"])
    )
    waits.start()
    wait_until(lambda: zygote.pid != first)
    assert parent_of_new_worker(zygote, tmp_path / "log") == first
    zygote.close()
    waits.join(DEADLINE_SECONDS)
    assert not waits.is_alive()


def ignoring_end(start: Callable[..., object]) -> Callable[..., None]:
    """Starts a worker of a zygote that is closed meanwhile."""

    def run(*arguments: object) -> None:
        with suppress(OSError):
            start(*arguments)

    return run


def has_imported(process: Process, package: str) -> bool:
    return any(f"/{package}/" in part.path for part in process.memory_maps())


def test_a_daemon_has_pytorch_imported_once_a_model_needs_it(house: House, tmp_path: Path) -> None:
    house.register_faulty()
    worker = house.predict(do="pid")
    wait_until(lambda: warm(house))
    first = zygote(house)
    assert psutil.Process(worker).ppid() == first.pid
    assert not has_imported(first, "torch")
    source = tmp_path / "of_torch.py"
    source.write_text(f"import torch\n{MODELS.read_text()}")
    house.sire("register", "t", str(source), "--class", f"{source}:Faulty", "--runtime", "python")
    wait_until(lambda: not is_zygote(first))
    assert has_imported(zygote(house), "torch")
    assert psutil.Process(house.predict("t", do="pid")).ppid() == zygote(house).pid
    with pytest.raises(WorkerCrashed, match="SIGSEGV"):  # known without the first zygote
        house.predict(do="segfault")


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
