"""A client with many large inputs does not keep those of other clients out."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from sire.client.link import Link
from sire.errors import QueueFull
from sire.protocol.content import TENSORS
from sire.protocol.framing import encode_request
from sire.protocol.replies import Failure
from sire.protocol.requests import Predict
from sired.server.zmtp import GREETING, encode, ready
from tests.conftest import Gate
from tests.home import Home
from tests.waiting import wait_until

# Waits at the gate; the blanks are part of the input.
BODY = b"[5, 1, 1, 1]" + b" " * 100_000


@pytest.mark.settings('[queue]\nmemory = "1MB"\n')
def test_a_client_that_fills_its_share_leaves_room_for_another_but_not_for_its_own_connections(
    home: Home, register: Callable[..., Any], gate: Gate
) -> None:
    register("m", 2, "Moody")
    with home.connect() as connection:
        first, second = connection.open_link(), connection.open_link()
        try:
            full = rejected(first)
            assert full.details["client_bytes"] == full.details["held_bytes"]
            assert full.details["held_bytes"] + len(BODY) > full.details["client_limit_bytes"]
            assert full.details["limit_bytes"] == 1_000_000
            assert second.send(Predict(id=1, model="m", timeout=60.0), [BODY])
            (again, _) = second.receive(1, 60.0)
            assert isinstance(again, Failure)
            assert again.code == QueueFull.code
            before = home.json("ps")[0]["queued"]
            command = [sys.executable, "-m", "sire_cli", "predict", "m", "-i", "-"]
            pipe = subprocess.PIPE
            other = subprocess.Popen(command, env=home.environment, stdin=pipe, stdout=pipe)
            assert other.stdin is not None
            other.stdin.write(BODY)
            other.stdin.close()
            wait_until(lambda: home.json("ps")[0]["queued"] > before)
            gate.open()
            assert other.wait(60) == 0
        finally:
            first.close()
            second.close()


def test_large_inputs_sent_over_the_socket_wait_in_shared_memory_not_in_the_daemons_own(
    home: Home, register: Callable[..., Any], gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sire.client.link.SMALLEST", 1 << 40)
    register("m", 2, "Moody")
    home.sire("load", "m")
    daemon = home.pid()
    own, large = memory_of(daemon, "RssAnon"), BODY + b" " * 4_000_000
    with home.connect() as connection:
        link = connection.open_link()
        try:
            for number in range(8):
                assert link.send(Predict(id=number, model="m", timeout=60.0), [large])
            wait_until(lambda: memory_of(daemon, "RssShmem") >= 8 * len(large))
            assert memory_of(daemon, "RssAnon") < own + 2 * len(large)
            gate.open()
            for number in range(8):
                assert not isinstance(link.receive(number, 60.0)[0], Failure)
        finally:
            link.close()
    wait_until(lambda: memory_of(daemon, "RssShmem") < len(large))


def memory_of(pid: int, kind: str) -> int:
    """Bytes of one kind that a process has in memory, as the kernel reports them."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith(f"{kind}:"))
    return int(line.split()[1]) * 1024


def rejected(link: Link) -> Failure:
    """Send eight inputs, of which three quarters of 1 MB are seven; returns the last answer."""
    for number in range(8):
        assert link.send(Predict(id=number, model="m", timeout=60.0), [BODY])
    reply, _ = link.receive(7, 60.0)
    assert isinstance(reply, Failure)
    assert reply.code == QueueFull.code
    return reply


@pytest.mark.settings('[queue]\nmemory = "64MB"\n')
def test_messages_that_are_begun_and_never_ended_do_not_fill_the_daemon_nor_keep_others_out(
    home: Home, register: Callable[..., Any]
) -> None:
    register("m", 2, "Moody")
    home.sire("load", "m")
    daemon, part = home.pid(), bytes(1_000_000)
    begun = GREETING + ready(b"DEALER") + b"\1\0\2" + (60_000_000).to_bytes(8)
    with ExitStack() as opened, home.connect() as connection:
        before = memory_of(daemon, "VmRSS")
        lines = [opened.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(20)]
        for line in lines:
            line.connect(str(home.paths.socket))
            line.sendall(begun)
            line.setblocking(False)
        for line in lines * 20:
            with suppress(OSError):  # it is not read, or has been closed
                line.send(part)
        assert memory_of(daemon, "VmRSS") < before + 100_000_000
        link = opened.enter_context(closing(connection.open_link()))
        for size in (10, 5_000_000):
            assert link.send(Predict(id=size, model="m"), [b"[0, 1, 1, 1]" + b" " * size])
            assert not isinstance(link.receive(size, 60.0)[0], Failure)


BLANK = """
import numpy as np

class Blank:
    def load(self, path): pass
    def predict(self, x): return np.zeros(1_000_000, np.float32)
"""


@pytest.mark.settings('[queue]\nmemory = "64MB"\n')
def test_a_client_that_reads_no_answer_is_disconnected_and_what_it_left_is_dropped(
    home: Home, tmp_path: Path
) -> None:
    source = tmp_path / "blank.py"
    source.write_text(BLANK)
    home.register("blank", source, "--runtime", "python", "--class", f"{source}:Blank")
    home.sire("load", "blank")
    daemon, ask = home.pid(), Predict(id=1, model="blank", accept=TENSORS, timeout=60.0)
    before = len(os.listdir(f"/proc/{daemon}/fd"))
    with ExitStack() as opened, home.connect() as connection:
        line = opened.enter_context(socket.socket(socket.AF_UNIX))
        line.connect(str(home.paths.socket))
        line.sendall(GREETING + ready(b"DEALER"))
        line.sendall(b"".join(map(bytes, encode([b"", encode_request(ask), b"[1]"]))) * 40)
        wait_until(lambda: len(os.listdir(f"/proc/{daemon}/fd")) > before + 30)
        link = opened.enter_context(closing(connection.open_link()))
        assert link.send(ask, [b"[1]"])
        assert not isinstance(link.receive(1, 60.0)[0], Failure)
        wait_until(lambda: len(os.listdir(f"/proc/{daemon}/fd")) <= before + 10)
        assert link.send(ask, [b"[1]"])
        assert not isinstance(link.receive(1, 60.0)[0], Failure)


def test_a_client_that_sends_pings_and_reads_no_answer_does_not_fill_the_daemon(
    home: Home,
) -> None:
    home.sire("ls")
    ping = b"\4\xff" + b"\4PING\0\5" + b"x" * 248
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(home.paths.socket))
        line.sendall(GREETING + ready(b"DEALER"))
        before = memory_of(home.pid(), "VmRSS")
        for _ in range(1000):
            line.sendall(ping * 200)
        assert memory_of(home.pid(), "VmRSS") < before + 16_000_000
