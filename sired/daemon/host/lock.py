"""The daemon's lock: the process that holds it is the daemon, whatever the socket looks like."""

import fcntl
import os
import time
from pathlib import Path

from sire.errors import DaemonUnavailable

# A client that checks whether a daemon runs holds the lock for an instant.
PATIENCE_SECONDS = 0.5


def hold_lock(path: Path) -> int:
    """Take the daemon's lock and write our pid into it; it is held until the process ends.

    Returns:
        The descriptor of the lock file.

    Raises:
        DaemonUnavailable: another daemon holds the lock.
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
                    f"sired is already running (pid {pid}).", hint="Stop it: sire daemon stop"
                ) from None
            time.sleep(0.01)
        else:
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
            return lock


def holds(lock: int, path: Path) -> bool:
    """Whether the lock file we hold is still the one at the path, where clients check it."""
    try:
        found = path.stat()
    except OSError:
        return False
    return os.path.samestat(found, os.fstat(lock))


def _held_by_daemon(lock: int) -> bool:
    """Whether the holder is a daemon, whose lock is exclusive; clients take a shared one.

    It matters because a daemon that waited for another one would replace it as soon as that one is
    stopped.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(lock, fcntl.LOCK_UN)
    return False
