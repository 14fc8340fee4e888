"""A daemon's life: starting, draining, systemd, and what others add to it."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from signal import Signals
from typing import Any

import pytest

from sire.client.autostart import daemon_runs
from sire.client.connection import Connection
from sire.errors import DaemonUnavailable
from sire.protocol.requests import Load, Predict, Ps
from tests.conftest import Gate
from tests.daemon.asking import ask, instances
from tests.home import Home
from tests.waiting import DEADLINE_SECONDS, wait_until


@pytest.mark.own_daemon
def test_a_stop_lets_the_running_request_finish_and_refuses_new_ones(
    home: Home, register: Callable[..., Any], gate: Gate
) -> None:
    register("slow", 2, "Moody")
    with home.connect() as connection:
        ask(connection, "slow", 0)
        answers = []

        def run() -> None:
            with home.connect(autostart=False) as running:
                answers.append(ask(running, "slow", 5))

        waiting = threading.Thread(target=run)
        waiting.start()
        wait_until(lambda: instances(connection)[0].state == "busy")
        (instance,) = instances(connection)
        os.kill(home.pid(), signal.SIGTERM)
        wait_until(lambda: _refused(connection))
        gate.open()
        waiting.join(90)
    assert answers == [[[10, 2, 2, 2]]]
    wait_until(lambda: not daemon_runs(home.paths))
    wait_until(lambda: not os.path.exists(f"/proc/{instance.pid}"))
    assert not home.paths.socket.exists()


def _refused(connection: Connection) -> bool:
    try:
        connection.ask(Load(name="slow"))
    except DaemonUnavailable:
        return True
    return False


@pytest.mark.own_daemon
def test_a_stop_does_not_wait_longer_than_the_grace_period(
    home: Home, register: Callable[..., Any]
) -> None:
    home.configure('[daemon]\ngrace = "200ms"\n')
    register("hangs", 2, "Moody")
    with home.connect() as connection:
        ask(connection, "hangs", 0)

    def run() -> None:
        with home.connect(autostart=False) as running, pytest.raises(DaemonUnavailable):
            ask(running, "hangs", 3)

    waiting = threading.Thread(target=run)
    waiting.start()
    with home.connect() as connection:
        wait_until(lambda: instances(connection)[0].state == "busy")
    home.sire("daemon", "stop")
    waiting.join(90)
    assert not waiting.is_alive()


@pytest.mark.own_daemon
def test_a_daemon_that_does_not_answer_is_stopped_by_a_signal(home: Home) -> None:
    home.sire("daemon", "start")
    pid = home.pid()
    os.kill(pid, signal.SIGSTOP)
    stopping = subprocess.Popen(
        [sys.executable, "-m", "sire_cli", "daemon", "stop"],
        env=home.environment,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: _pending(pid, signal.SIGTERM))
    os.kill(pid, signal.SIGCONT)
    assert stopping.wait(DEADLINE_SECONDS) == 0
    assert not daemon_runs(home.paths)


def _pending(pid: int, number: Signals) -> int:
    """Whether a signal has been sent to a process and not been taken yet."""
    with open(f"/proc/{pid}/status") as status:
        lines = dict(line.split(":", 1) for line in status)
    return int(lines["ShdPnd"], 16) >> (number - 1) & 1


@pytest.mark.own_daemon
def test_systemd_is_told_when_the_daemon_is_ready_and_when_it_stops(
    home: Home, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(home.path / "notify"))
        manager.settimeout(DEADLINE_SECONDS)
        environment = {**home.environment, "NOTIFY_SOCKET": str(home.path / "notify")}
        daemon = subprocess.Popen(
            [sys.executable, "-m", "sired"], env=environment, stderr=subprocess.DEVNULL
        )
        assert manager.recv(100) == b"READY=1"
        daemon.terminate()
        assert manager.recv(100) == b"STOPPING=1"
        assert daemon.wait(DEADLINE_SECONDS) == 0


def test_a_second_daemon_says_that_one_is_running(home: Home) -> None:
    home.sire("daemon", "start")
    second = subprocess.run(
        [sys.executable, "-m", "sired"], env=home.environment, capture_output=True, text=True
    )
    assert second.returncode == 1
    assert f"already running (pid {home.pid()})" in second.stderr


@pytest.mark.own_daemon
def test_a_daemon_that_lost_the_race_does_not_wait_for_the_winners_end(home: Home) -> None:
    home.sire("daemon", "start")
    losers = [
        subprocess.Popen(
            [sys.executable, "-m", "sired"], env=home.environment, stderr=subprocess.DEVNULL
        )
        for _ in range(3)
    ]
    home.sire("daemon", "stop")
    # One that started after the first ended may be the next daemon; no other is left.
    wait_until(lambda: sum(loser.poll() is None for loser in losers) <= 1)
    for loser in losers:
        loser.terminate()
    assert all(loser.wait(DEADLINE_SECONDS) in {0, 1, -signal.SIGTERM} for loser in losers)


@pytest.mark.own_daemon
def test_a_daemon_that_is_to_die_with_its_parent_does(home: Home) -> None:
    script = (
        "import subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-m', 'sired', '--die-with-parent'])\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], env=home.environment, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: daemon_runs(home.paths))
    with home.connect(autostart=False) as connection:
        connection.ask(Ps())
    parent.kill()
    parent.wait()
    wait_until(lambda: not daemon_runs(home.paths))


def test_a_model_is_unloaded_after_its_keep_alive(home: Home, register: Callable[..., Any]) -> None:
    register("m", 2, "Scale", "--keep-alive", "200ms")
    with home.connect() as connection:
        assert ask(connection, "m", 1) == [[2, 2, 2, 2]]
        wait_until(lambda: not instances(connection))


def test_a_warm_up_runs_before_the_model_is_ready(
    home: Home, register: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "good.json").write_text("[1, 2, 3, 4]")
    (tmp_path / "bad.json").write_text("[1, 2, 3, ")
    register("good", 2, "Scale", "--warmup", tmp_path / "good.json")
    register("bad", 2, "Scale", "--warmup", tmp_path / "bad.json")
    home.sire("load", "good")
    assert b"not valid JSON" in home.sire("load", "bad", code=10).stderr


@pytest.fixture
def package(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another package, installed beside sire: a runtime, a strategy and a policy."""
    (tmp_path / "others.py").write_text(
        textwrap.dedent(
            """
            from pathlib import Path

            from sired.runtimes.base import InferenceRuntime
            from sired.runtimes.traits import RuntimeTraits

            TRAITS = RuntimeTraits(name="shout", implementation="others:Shout")


            class Shout(InferenceRuntime):
                def load(self, model_path, **kwargs):
                    return Path(model_path).read_text()

                def predict(self, model, data):
                    return f"{data.upper()} {model}"

                def get_memory_footprint(self, model):
                    return len(model)


            def by_name(places, need):
                return sorted(places, key=lambda place: place.device, reverse=True)


            def newest_instance(choices):
                return choices[-1]


            def newest(candidate, now):
                return -candidate.last_used
            """
        )
    )
    metadata = tmp_path / "others-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(
        "[sire.runtimes]\nshout = others:TRAITS\n"
        "[sire.placement]\nlast = others:by_name\n"
        "[sire.routing]\nnewest = others:newest_instance\n"
        "[sire.eviction]\nnewest = others:newest\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "model.txt").write_text("!")
    return tmp_path


@pytest.mark.own_daemon
def test_another_package_can_add_a_runtime_and_strategies_of_placement_and_routing(
    home: Home, package: Path
) -> None:
    home.configure(
        '[placement]\nstrategy = "last"\nrouting = "newest"\n'
        '[devices.a]\nkind = "cpu"\nmemory = "1GiB"\n'
        '[devices.b]\nkind = "cpu"\nmemory = "1GiB"\n'
    )
    home.register("loud", package / "model.txt", "--runtime", "shout")
    answer = home.sire("predict", "loud", "-i", "-", "--to", "text", stdin=b"hello")
    assert answer.stdout == b"HELLO !\n"
    assert home.json("ps")[0]["device"] == "b"


@pytest.mark.own_daemon
def test_another_package_can_add_an_eviction_policy(home: Home, package: Path) -> None:
    home.configure('[placement]\neviction = "newest"\n[devices.a]\nkind = "cpu"\nmemory = "1GiB"\n')
    for name in ("first", "second", "third"):
        model = package / "model.txt"
        home.register(name, model, "--runtime", "shout", "--max-memory", "400MiB")
        home.sire("load", name)
    assert {instance["model"] for instance in home.json("ps")} == {"first", "third"}


@pytest.mark.own_daemon
def test_models_spread_over_the_parts_of_a_device(home: Home, register: Callable[..., Any]) -> None:
    home.configure(
        '[placement]\nstrategy = "spread"\n'
        '[devices.a]\nkind = "cpu"\nmemory = "1GiB"\ncores = [0]\n'
        '[devices.b]\nkind = "cpu"\nmemory = "1GiB"\n'
    )
    for number in (1, 2):
        register(f"m{number}", number)
        home.sire("load", f"m{number}")
    assert {instance["device"] for instance in home.json("ps")} == {"a", "b"}
    pid = next(i["pid"] for i in home.json("ps") if i["device"] == "a")
    assert os.sched_getaffinity(pid) == {0}


def test_predictions_of_many_clients_at_once_are_all_answered_right(
    home: Home, register: Callable[..., Any], new_name: str
) -> None:
    register(new_name, 3)
    wrong = []

    def run(first: int) -> None:
        with home.connect() as connection:
            for number in range(50):
                body = json.dumps([first, number, 0, 0]).encode()
                _, frames = connection.ask(Predict(model=new_name), [body])
                if json.loads(bytes(frames[0])) != [3 * first, 3 * number, 0, 0]:
                    wrong.append((first, number))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert home.json("stats", new_name)["inference_count"] == 400
