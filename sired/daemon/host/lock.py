"""Who is the daemon: whoever holds the lock, not whoever finds the socket free."""

import fcntl
import os
import time
from pathlib import Path

from sire.errors import DaemonUnavailable

# A client that looks whether a daemon runs holds the lock for an instant.
PATIENCE_SECONDS = 0.5


def hold_lock(path: Path) -> int:
    """Take the daemon's lock and write our pid into it; it is held until the process ends.

    Raises:
        DaemonUnavailable: another daemon holds it.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline or _held_by_daemon(lock):
                pid = os.read(lock, 20).decode(errors="replace").strip() or "?"
                os.close(lock)
                raise DaemonUnavailable(
                    f"sired is running already (pid {pid}).", hint="Stop it: sire daemon stop"
                ) from None
            time.sleep(0.01)
        else:
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
            return lock


def holds(lock: int, path: Path) -> bool:
    """Whether the lock we hold is still the one that clients look at."""
    try:
        found = path.stat()
    except OSError:
        return False
    return os.path.samestat(found, os.fstat(lock))


def _held_by_daemon(lock: int) -> bool:
    """Whether it is a daemon that has the lock, which it does not share; clients do.

    A daemon that waited for another one would take its place in the moment that one is stopped.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(lock, fcntl.LOCK_UN)
    return False
