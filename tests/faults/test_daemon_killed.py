"""A daemon that is killed at any moment leaves nothing behind, and the next one keeps its promises.

SIRE_KILLS sets the number of kills, SIRE_SEED their moments.
"""

import contextlib
import fcntl
import json
import os
import random
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest
from psutil import Process

from sire.client.autostart import daemon_runs
from sire.client.calls.job_wait import wait_for_jobs
from sire.client.connection import Connection
from sire.errors import DaemonUnavailable, SireError
from sire.protocol.jobs import Submit, Submitted
from sire.protocol.replies import HealthReport, Leased, ModelList
from sire.protocol.requests import Acquire, Health, ListModels, Load, Predict, Release, Unload
from tests.faults.conftest import House, predict
from tests.waiting import DEADLINE_SECONDS, wait_until

KILLS = int(os.environ.get("SIRE_KILLS", "5"))
MANY_KILLS = 20
SEED = int(os.environ.get("SIRE_SEED", "0")) or random.randrange(1 << 32)
SERVED = ("m", "n")


def alive(process: Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def are_gone(family: list[Process]) -> bool:
    return not any(map(alive, family))


def processes_of(house: House) -> list[Process]:
    """The daemon's whole family: its zygote, their workers, and what they started."""
    with contextlib.suppress(psutil.Error, ValueError, OSError):
        return house.daemon().children(recursive=True)
    return []


def kill(house: House) -> list[Process]:
    """End the daemon at once; returns its family. Another one may follow before we know it."""
    daemon = wait_until(lambda: running(house))
    family = [daemon, *processes_of(house)]
    pidfd = os.pidfd_open(daemon.pid)
    daemon.kill()
    # Its first thread may be gone before the others are, and with them its sockets.
    assert select.select([pidfd], [], [], DEADLINE_SECONDS)[0]
    os.close(pidfd)
    return family


def running(house: House) -> Process | None:
    """The process that holds the lock: a moment before, another's number is written there."""
    with contextlib.suppress(psutil.Error, ValueError, OSError):
        daemon = house.daemon()
        if daemon_runs(house.paths) and daemon.cmdline()[-2:] == ["-m", "sired"]:
            return daemon
    return None


@pytest.fixture
def light(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A house whose zygote finds no framework, and so is ready at once."""
    for framework in ("torch", "onnxruntime", "transformers"):
        (tmp_path / f"{framework}.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")
    return house


class Promises:
    """What the daemon has said that it has done, as those know it who asked."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.jobs: dict[str, int] = {}
        self.versions: dict[str, int] = {}
        self.stop = threading.Event()
        self.wrong: list[int] = []

    def everybody(self) -> list[threading.Thread]:
        """Those who ask: for jobs, for registrations, for answers, for loads."""
        doing = (self.submit, self.register, self.predict, self.load)
        return [threading.Thread(target=self._again_and_again, args=(do,)) for do in doing]

    def _again_and_again(self, do: Callable[[Connection, int], None]) -> None:
        number = 0
        while not self.stop.is_set():
            # A submission without a reply when the daemon was killed was not accepted.
            with contextlib.suppress(SireError), self.house.connect() as connection:
                while not self.stop.is_set():
                    number += 1
                    do(connection, number)

    def submit(self, connection: Connection, number: int) -> None:
        body = b'{"number": %d}' % number + b" " * random.choice((0, 100_000))
        (job,) = connection.expect(Submitted, Submit(model=SERVED[number % 2]), [body]).jobs
        self.jobs[job] = number
        time.sleep(0.01)

    def register(self, connection: Connection, number: int) -> None:
        name = f"r{number % 5}"
        self.house.register_faulty(name, args={"at_load": f"version {number}"})
        self.versions[name] = number

    def predict(self, connection: Connection, number: int) -> None:
        time.sleep(0.002)
        if predict(connection, SERVED[number % 2], x=number) != {"x": number}:
            self.wrong.append(number)

    def load(self, connection: Connection, number: int) -> None:
        connection.ask(Unload(name=SERVED[number % 2]))
        connection.ask(Load(name=SERVED[number % 2]))

    def check(self, connection: Connection) -> None:
        """Raise if the daemon does not know of what was promised."""
        assert self.wrong == []
        promised = dict(self.versions)  # others go on registering while we ask
        assert connection.expect(HealthReport, Health()).problems == ()
        reply = connection.expect(ModelList, ListModels())
        assert reply.damaged == {}
        known = {info.model.name: info.model.args for info in reply.models}
        for name, number in promised.items():
            # One that was not answered any more may have been written all the same.
            assert int(known[name]["at_load"].split()[1]) >= number


@pytest.mark.parametrize("kills", [KILLS, pytest.param(MANY_KILLS, marks=pytest.mark.long)])
def test_whenever_a_daemon_is_killed_the_next_one_keeps_its_promises(
    light: House, kills: int
) -> None:
    print(f"SIRE_SEED={SEED} SIRE_KILLS={kills}")
    moments = random.Random(SEED)
    for name in SERVED:
        light.register_faulty(name)
    promises = Promises(light)
    askers = promises.everybody()
    for asker in askers:
        asker.start()
    try:
        family: list[Process] = []
        for number in range(kills):
            with light.connect() as connection:
                promises.check(connection)
            wait_until(partial(are_gone, family))
            if number == kills - 1:  # on a busy machine all others may come before the first reply
                wait_until(lambda: promises.jobs and promises.versions)
            time.sleep(moments.uniform(0, 0.2))
            family = kill(light)
    finally:
        promises.stop.set()
        for asker in askers:
            asker.join()
    with light.connect() as connection:
        promises.check(connection)
        ends = {
            end.job: end for end in wait_for_jobs(connection, list(promises.jobs), DEADLINE_SECONDS)
        }
        assert {end.state for end in ends.values()} == {"complete"}
        assert ends.keys() == promises.jobs.keys()
    wait_until(partial(are_gone, family))
    assert promises.jobs
    assert promises.versions
    # The daemon may be writing down what it has just learned; what a killed one left stays.
    wait_until(lambda: {file.suffix for file in light.paths.models.iterdir()} == {".toml"})
    wait_until(lambda: not list(light.paths.state.glob(".*")))


def test_a_zygote_that_still_imports_ends_with_its_daemon(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnxruntime.py").write_text("import time\nwhile True: time.sleep(0.01)")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")
    with house.connect() as connection:
        assert connection.expect(HealthReport, Health()).status == "starting"
    # The other one reads the headers of files.
    wait_until(lambda: len(processes_of(house)) == 2)
    family = kill(house)
    wait_until(partial(are_gone, family))


@pytest.mark.parametrize("what", ["a socket", "a file", "a directory", "a link to nowhere"])
@pytest.mark.parametrize("where", ["socket", "direct_socket"])
def test_what_lies_where_a_socket_is_to_be_is_taken_away_or_told(
    light: House, where: str, what: str
) -> None:
    path = getattr(light.paths, where)
    path.parent.mkdir(parents=True, mode=0o700)
    match what:
        case "a socket":
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
                stale.bind(str(path))
        case "a file":
            path.write_text("somebody's notes")
        case "a link to nowhere":
            path.symlink_to("nowhere")
        case "a directory":
            path.mkdir()
    if what == "a directory":
        with pytest.raises(DaemonUnavailable, match=f"{path}.*directory"):
            light.register_faulty()
    else:
        light.register_faulty()
        assert light.predict(x=1) == {"x": 1}


@pytest.mark.parametrize("content", ["", "999999999\n", "rubbish", "\0" * 100])
def test_a_lock_file_that_a_dead_daemon_left_keeps_nobody_out(light: House, content: str) -> None:
    light.paths.runtime.mkdir(parents=True, mode=0o700)
    light.paths.lock.write_text(content)
    light.register_faulty()
    assert light.pid() > 1


def test_a_directory_in_the_place_of_the_lock_is_told(light: House) -> None:
    light.paths.lock.mkdir(parents=True)
    light.paths.runtime.chmod(0o700)
    with pytest.raises(DaemonUnavailable, match=str(light.paths.lock)):
        light.register_faulty()


def test_a_lock_that_somebody_else_holds_is_told_and_kept(light: House) -> None:
    light.paths.runtime.mkdir(parents=True, mode=0o700)
    with light.paths.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = light.sire("daemon", "run", code=1).stderr.decode()
    assert "already running" in said


def test_a_killed_daemon_leaves_nothing_in_the_temporary_directory(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    house.register_faulty()
    for _ in range(2):
        house.predict()
        os.kill(house.pid(), signal.SIGKILL)
        wait_until(lambda: not daemon_runs(house.paths))
        assert not list(tmp_path.iterdir())


def test_a_lease_of_a_daemon_that_is_gone_is_not_another_clients_lease_at_the_next_one(
    house: House,
) -> None:
    house.register_faulty()
    with house.connect() as early:
        lost = early.expect(Leased, Acquire(name="m")).lease
        os.kill(house.pid(), signal.SIGKILL)
        wait_until(lambda: not daemon_runs(house.paths))
        with house.connect() as late:
            lease = late.expect(Leased, Acquire(name="m")).lease
            for stale in (Release(lease=lost), Predict(model="m", lease=lost)):
                with contextlib.suppress(SireError):
                    early.ask(stale, [b'{"x": 1}'])
            assert [one.state for one in house.instances()] == ["leased"]
            _, frames = late.ask(Predict(model="m", lease=lease), [b'{"x": 1}'])
            assert json.loads(bytes(frames[0])) == {"x": 1}
