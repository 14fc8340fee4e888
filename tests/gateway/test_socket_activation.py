"""`sire serve` with a socket that a service manager has opened, passed as sd_listen_fds(3) says."""

import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.test_services import ask, predicts
from tests.home import Home
from tests.waiting import wait_until

SYSTEMD = shutil.which("systemd-socket-activate")

# As systemd does: the socket is descriptor 3, and the process has the pid that LISTEN_PID names.
PASS = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, "-m", "sire_cli", "serve", *sys.argv[2:]])
"""


@contextmanager
def activated(
    home: Home, passed: socket.socket, *arguments: str
) -> Iterator["subprocess.Popen[str]"]:
    """The gateway, started with a socket; it is ended with the block."""
    with subprocess.Popen(
        [sys.executable, "-c", PASS, str(passed.fileno()), *arguments],
        pass_fds=(passed.fileno(),),
        env=home.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(90)


def test_a_client_that_connected_before_the_gateway_ran_is_answered(
    home: Home, register: Callable[..., Any]
) -> None:
    register("m")
    with socket.create_server(("127.0.0.1", 0)) as passed:
        where = f"127.0.0.1:{passed.getsockname()[1]}"
        with socket.create_connection(passed.getsockname(), timeout=90) as early:
            early.sendall(b"GET /health/live HTTP/1.0\r\n\r\n")
            with activated(home, passed) as process:
                passed.close()
                assert process.stdout is not None
                assert f"http://{where}:" in process.stdout.readline()
                assert early.recv(1 << 16).startswith(b"HTTP/1.1 200")
                assert predicts(where)


def test_what_it_starts_does_not_inherit_the_socket() -> None:
    home = Home()
    try:
        with socket.create_server(("127.0.0.1", 0)) as passed, activated(home, passed) as process:
            where = f"127.0.0.1:{passed.getsockname()[1]}"
            assert ask(where, "/health")[0] == 200  # it has started the daemon
            name = f"socket:[{Path(f'/proc/{process.pid}/fd/3').readlink().name[8:-1]}]"
            held = {str(one.readlink()) for one in Path(f"/proc/{home.pid()}/fd").iterdir()}
            assert name not in held
    finally:
        home.close()


def test_a_socket_that_others_reach_takes_keys(home: Home) -> None:
    with socket.create_server(("0.0.0.0", 0)) as passed, activated(home, passed) as process:
        _, refused = process.communicate(timeout=90)
        assert process.returncode == 2
        assert re.search(r"Other machines could connect to 0\.0\.0\.0:\d+", refused)


@pytest.mark.parametrize("kind", ["a Unix socket", "a socket that does not listen"])
def test_another_socket_is_refused(home: Home, tmp_path: Path, kind: str) -> None:
    with socket.socket(socket.AF_UNIX if "Unix" in kind else socket.AF_INET) as passed:
        passed.bind(str(tmp_path / "s") if "Unix" in kind else ("127.0.0.1", 0))
        with activated(home, passed) as process:
            _, refused = process.communicate(timeout=90)
            assert process.returncode == 2
            assert "not a TCP socket that listens" in refused
            assert "ListenStream=127.0.0.1:8470" in refused


@pytest.mark.skipif(SYSTEMD is None, reason="needs systemd-socket-activate")
def test_systemd_starts_it_with_the_first_connection(
    home: Home, register: Callable[..., Any]
) -> None:
    register("m")
    with socket.create_server(("127.0.0.1", 0)) as free:
        where = f"127.0.0.1:{free.getsockname()[1]}"
    given = [f"--setenv={name}={value}" for name, value in home.environment.items()]
    command = [str(SYSTEMD), f"--listen={where}", *given, sys.executable, "-m", "sire_cli", "serve"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: listens(where))
            assert predicts(where)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(90)


def listens(where: str) -> bool:
    """Whether a process listens there, without connecting to it."""
    port = f":{int(where.rpartition(':')[2]):04X} 00000000:0000 0A"
    return port in Path("/proc/net/tcp").read_text()
