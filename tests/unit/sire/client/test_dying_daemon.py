"""A connection that the kernel accepts for a process which is being killed."""

import fcntl
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from sire.client.connection import Connection
from sire.client.link import Answer, Link
from sire.errors import DaemonUnavailable
from sire.paths import Paths, find_paths, private_directory
from sire.protocol.requests import Load


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = find_paths({"SIRE_HOME": str(tmp_path)})
    private_directory(paths.runtime)
    return paths


@pytest.fixture
def lock(paths: Paths) -> Iterator[int]:
    """The lock, held as a daemon holds it."""
    lock = os.open(paths.lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    yield lock
    os.close(lock)


def test_what_a_dying_daemon_cannot_have_read_is_sent_to_the_next(
    paths: Paths, lock: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a request that changes something, because no daemon has received it."""
    waits, take = Event(), Link.take

    def waiting(link: Link) -> Answer:
        waits.set()
        return take(link)

    monkeypatch.setattr(Link, "take", waiting)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(paths.socket))
    listener.listen()
    with Connection(paths, autostart=False) as connection, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(connection.ask, Load(name="m"))
        accepted, _ = listener.accept()
        assert waits.wait(60)
        listener.close()
        fcntl.flock(lock, fcntl.LOCK_UN)
        accepted.close()
        # What the client says when it looks for the next daemon.
        with pytest.raises(DaemonUnavailable, match="No daemon is running"):
            asked.result(60)
