"""Only its owner can talk to a daemon, even where the directories would admit others."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from sire.errors import DaemonUnavailable
from sire.paths import private_directory
from sired.server.front import Front
from tests.home import Home
from tests.trust.conftest import CarelessHome

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
STRANGER = 65_534
# What takes time or files is imported before we become a user who may not read them.
AS_STRANGER = """
import os, socket, sys
import msgspec, zmq
os.setgroups([])
os.setgid({uid})
os.setuid({uid})
"""
ASK = """
with zmq.Context() as context, context.socket(zmq.REQ) as asking:
    asking.linger, asking.rcvtimeo = 0, {patience}
    asking.connect("ipc://" + sys.argv[1])
    asking.send_multipart([msgspec.msgpack.encode({{"op": "list", "id": 1}})])
    try:
        print(msgspec.msgpack.decode(asking.recv_multipart()[0])["code"])
    except zmq.Again:
        print("no answer")
"""
ASK_DIRECTLY = """
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
    try:
        asking.connect(sys.argv[1])
        print(asking.recv(1000))
    except OSError as problem:
        print(type(problem).__name__)
"""


def as_stranger(code: str, path: Path, **values: Any) -> str:
    """What a program of another user prints that is pointed at a socket."""
    script = (AS_STRANGER + code).format(uid=STRANGER, **values)
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextmanager
def opened(home: Home) -> Iterator[None]:
    """All doors open that modes can open."""
    parents = [home.paths.runtime, *list(home.paths.runtime.parents)[:3]]
    before = {directory: directory.stat().st_mode for directory in parents}
    for directory in parents:
        directory.chmod(0o755)
    home.paths.socket.chmod(0o777)
    home.paths.direct_socket.chmod(0o777)
    yield
    for directory, mode in before.items():
        directory.chmod(mode)


@needs_root
def test_others_do_not_come_near_the_sockets(careless: CarelessHome) -> None:
    assert as_stranger(ASK, careless.paths.socket, patience=300) == "no answer"
    assert as_stranger(ASK_DIRECTLY, careless.paths.direct_socket) == "PermissionError"


@needs_root
def test_where_they_do_they_are_refused_before_what_they_say_is_read(
    careless: CarelessHome,
) -> None:
    with opened(careless):
        refused = as_stranger(ASK, careless.paths.socket, patience=90_000)
        assert refused == "DaemonUnavailable"
        # The line is cut: there is nothing to read, not even a refusal.
        assert as_stranger(ASK_DIRECTLY, careless.paths.direct_socket) == "b''"
    log = careless.paths.daemon_log.read_text()
    assert f"uid {STRANGER} was rejected" in log
    careless.sire("ls")


def test_a_front_serves_the_one_user_it_is_told_to(tmp_path: Path) -> None:
    """The same without being root: here it is we who are the stranger."""
    import asyncio

    async def refusal() -> tuple[Any, ...]:
        loop = asyncio.get_running_loop()
        handled = []
        front = Front(tmp_path / "s", 1 << 20, owner=os.getuid() + 1)
        front.open(loop, lambda *request: handled.append(request))
        with zmq.Context() as context, context.socket(zmq.REQ) as asking:
            asking.linger, asking.rcvtimeo = 0, 90_000
            asking.connect(f"ipc://{tmp_path}/s")
            asking.send_multipart([msgspec.msgpack.encode({"op": "list", "id": 1})])
            frames = await asyncio.to_thread(asking.recv_multipart)
        front.close()
        return handled, msgspec.msgpack.decode(frames[0])

    handled, said = asyncio.run(refusal())
    assert handled == []
    assert said["code"] == "DaemonUnavailable"
    assert str(os.getuid() + 1) in said["message"]


def test_a_directory_in_which_everybody_may_rename_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(DaemonUnavailable, match="All users can write") as caught:
        private_directory(shared / "sire")
    assert "chmod o-w" in caught.value.hint
    shared.chmod(0o1777)  # as /tmp is: only owners rename there
    private_directory(shared / "sire")


@pytest.mark.own_daemon
def test_a_daemon_in_such_a_directory_says_why_it_does_not_start(home: Home) -> None:
    home.path.chmod(0o777)
    said = home.sire("ls", code=6).stderr
    home.path.chmod(0o700)
    assert b"All users can write" in said
