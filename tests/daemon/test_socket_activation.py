"""systemd listens for the daemon: the first connection starts it, and no client starts another."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from threading import Thread

import pytest
import zmq

from sire.client.autostart import daemon_runs, ensure_daemon
from sire.paths import private_directory
from sire.protocol.framing import encode
from sire.protocol.requests import Health
from tests.home import Home

pytestmark = pytest.mark.own_daemon


class Systemd:
    """Opens the socket, and passes it to a daemon as systemd does: at descriptor 3."""

    def __init__(self, home: Home) -> None:
        self.home = home
        private_directory(home.paths.runtime)
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listening.bind(str(home.paths.socket))
        self.listening.listen()
        self.daemons: list[subprocess.Popen[bytes]] = []
        self.said = home.path / "said"

    def start(self) -> subprocess.Popen[bytes]:
        descriptor = self.listening.fileno()
        code = (
            "import os, sys\n"
            f"os.dup2({descriptor}, 3)\n"
            "os.environ |= {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '1',\n"
            "               'LISTEN_FDNAMES': 'sired.socket'}\n"
            "os.execv(sys.executable, [sys.executable, '-P', '-m', 'sired'])\n"
        )
        self.daemons.append(
            subprocess.Popen(
                [sys.executable, "-c", code],
                env=self.home.environment,
                pass_fds=[descriptor],
                stderr=self.said.open("wb"),
            )
        )
        return self.daemons[-1]

    def start_when_somebody_connects(self) -> Thread:
        """In a thread, once."""

        def wait() -> None:
            with zmq.Context() as context, context.socket(zmq.PAIR):
                poller = zmq.Poller()
                poller.register(self.listening.fileno(), zmq.POLLIN)
                poller.poll(90_000)
            self.start()

        waiting = threading.Thread(target=wait)
        waiting.start()
        return waiting

    def end(self) -> None:
        self.listening.close()
        for daemon in self.daemons:
            daemon.terminate()
            daemon.wait()


@pytest.fixture
def systemd(home: Home) -> Iterator[Systemd]:
    systemd = Systemd(home)
    yield systemd
    systemd.end()


def test_who_connects_before_the_daemon_runs_is_answered_when_it_does(
    home: Home, systemd: Systemd
) -> None:
    with zmq.Context() as context, context.socket(zmq.REQ) as client:
        client.setsockopt(zmq.LINGER, 0)
        client.connect(f"ipc://{home.paths.socket}")
        client.send(encode(Health(id=7)))
        assert not client.poll(50)
        daemon = systemd.start()
        assert client.poll(90_000)
        assert b"health" in client.recv()
    assert daemon.poll() is None


def test_a_command_leaves_the_start_to_systemd_and_a_stopped_daemon_starts_again(
    home: Home, systemd: Systemd
) -> None:
    pids = []
    for _ in range(2):
        waiting = systemd.start_when_somebody_connects()
        pids.append(home.json("health")["pid"])
        waiting.join()
        home.sire("daemon", "stop")
        assert home.paths.socket.exists()
        systemd.daemons[-1].wait()
    assert pids == [daemon.pid for daemon in systemd.daemons]


def test_a_daemon_by_hand_does_not_take_systemds_socket(home: Home, systemd: Systemd) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sired"], env=home.environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "probably systemd, listens at" in done.stderr
    assert "systemctl --user" in done.stderr
    assert not daemon_runs(home.paths)


def test_the_lock_decides_also_under_systemd(home: Home) -> None:
    home.sire("daemon", "start")
    os.rename(home.paths.socket, home.path / "moved")
    systemd = Systemd(home)
    daemon = systemd.start()
    assert daemon.wait(90) == 1
    assert f"already running (pid {home.pid()})" in systemd.said.read_text()
    systemd.listening.close()
    os.rename(home.path / "moved", home.paths.socket)
    systemd.end()


def test_a_socket_that_is_not_the_daemons_is_refused(home: Home) -> None:
    systemd = Systemd(home)
    systemd.listening.close()
    home.paths.socket.unlink()
    systemd.listening = socket.create_server(("127.0.0.1", 0))
    daemon = systemd.start()
    assert daemon.wait(90) == 1
    said = systemd.said.read_text()
    assert "sired.socket" in said
    assert f"ListenStream={home.paths.socket}" in said
    systemd.end()


def test_a_client_starts_a_daemon_itself_where_systemd_gave_up(
    home: Home, systemd: Systemd
) -> None:
    threading.Timer(0.2, systemd.listening.close).start()
    ensure_daemon(home.paths)
    assert home.json("health")["pid"] == home.pid()
