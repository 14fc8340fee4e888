"""Detecting a daemon that is alive but does not answer: stopped by a signal, or hung."""

import time
from pathlib import Path

from sire.errors import DaemonUnavailable
from sire.paths import Paths

# Short waits need no heartbeat.
FIRST_AFTER_SECONDS = 1.0
# Longer than any stall of a healthy daemon on an overloaded machine.
SILENT_SECONDS = 15.0
# The id of heartbeats; no request has it.
HEARTBEAT_ID = "heartbeat"
# A client that did not look for longer was stopped itself: its own absence is not silence.
_LONGEST_STEP_SECONDS = 0.5
_STOPPED = frozenset("Tt")


class Heartbeat:
    """Measures how long the daemon has been silent while a client waits for it."""

    def __init__(self) -> None:
        self._silent = 0.0
        self._looked = 0.0
        self._asked = False

    def heard(self) -> None:
        """A message arrived: the daemon is well."""
        self._silent, self._asked = 0.0, False

    def resume(self) -> None:
        """The client waits from now on; what was before counts only if a heartbeat is open."""
        self._looked = time.monotonic()
        if not self._asked:
            self._silent = 0.0

    def look(self) -> bool:
        """Count the time since the last look as silence; whether a heartbeat is to be sent now."""
        now = time.monotonic()
        self._silent += min(now - self._looked, _LONGEST_STEP_SECONDS)
        self._looked = now
        if self._asked or self._silent < FIRST_AFTER_SECONDS:
            return False
        self._asked, self._silent = True, 0.0
        return True

    @property
    def missed(self) -> bool:
        """Whether a heartbeat has not been answered for ``SILENT_SECONDS``."""
        return self._asked and self._silent > SILENT_SECONDS


def daemon_pid(paths: Paths) -> int | None:
    """The process that holds the lock, as the lock file states it; None if it states none."""
    try:
        return int(paths.lock.read_text())
    except (OSError, ValueError):
        return None


def daemon_stopped(paths: Paths) -> bool:
    """Whether the daemon's process is stopped by a signal or a debugger."""
    try:
        status = Path(f"/proc/{daemon_pid(paths)}/stat").read_text()
    except OSError:
        return False
    # The name of the process stands in brackets, and may contain any.
    return status.rpartition(")")[2].split()[0] in _STOPPED


def unresponsive(paths: Paths, seconds: float) -> DaemonUnavailable:
    """The error of a request to a daemon that has not answered anything for ``seconds``."""
    pid = daemon_pid(paths)
    process = "The daemon" if pid is None else f"The daemon (process {pid})"
    if daemon_stopped(paths):
        return DaemonUnavailable(
            f"{process} is stopped by a signal; it did not answer within {seconds:g} s.",
            hint=f"Let it continue: kill -CONT {pid}",
            pid=pid,
        )
    return DaemonUnavailable(
        f"{process} did not answer within {seconds:g} s.",
        hint=f"Try: sire daemon restart. Its log: {paths.daemon_log}",
        pid=pid,
    )
