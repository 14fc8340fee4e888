"""Detecting whether a daemon runs, and starting one in the background."""

import fcntl
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sire.errors import DaemonUnavailable
from sire.paths import Paths, check_owner, find_paths, private_directory

# Longer than any start takes, so that only a daemon that hangs exceeds it.
START_TIMEOUT_SECONDS = 20.0
_LINES_OF_LOG = 5


def daemon_runs(paths: Paths) -> bool:
    """Whether a daemon holds the lock: it is starting, ready or stopping.

    The lock file, not the socket, decides which process is the daemon.

    Raises:
        DaemonUnavailable: the lock file belongs to another user, or cannot be opened.
    """
    try:
        check_owner(paths.runtime)
        lock = os.open(paths.lock, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as problem:
        raise DaemonUnavailable(f"Cannot open {paths.lock}: {problem.strerror}.") from None
    try:
        # Shared, so that concurrent clients do not mistake each other for a daemon.
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def ensure_daemon(paths: Paths) -> None:
    """Start a daemon unless one accepts connections.

    With systemd socket activation (``sired.socket``) a connection starts it; otherwise it is
    started in the background.

    Raises:
        DaemonUnavailable: the daemon did not start, or hangs.
    """
    paths.checked_socket()
    private_directory(paths.runtime)
    if not _started_by_connecting(paths):
        start_daemon(paths)


def _started_by_connecting(paths: Paths) -> bool:
    """Connect, and wait for the daemon's greeting; False without socket activation.

    Raises:
        DaemonUnavailable: the socket accepts the connection, but no greeting arrives.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(START_TIMEOUT_SECONDS)
        try:
            probe.connect(str(paths.socket))
            # ZeroMQ sends first. End of file means that a daemon is ending, or systemd gave up.
            return bool(probe.recv(1))
        except TimeoutError:
            raise DaemonUnavailable(
                f"A process listens on {paths.socket}, but no daemon answered within "
                f"{START_TIMEOUT_SECONDS:.0f} s.",
                hint="See: systemctl --user status sired.service",
            ) from None
        except OSError:
            return False


def start_daemon(paths: Paths, *, arguments: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
    """Start a daemon in the background and return once one accepts connections.

    If another daemon acquires the lock first, that one is waited for instead.

    Args:
        paths: its socket, lock and log.
        arguments: options for ``sired``.

    Returns:
        The process started; it has exited already if another daemon was first.

    Raises:
        DaemonUnavailable: the process ended (with the last lines of its output), or hangs.
    """
    paths.checked_socket()
    private_directory(paths.runtime)
    log = _DaemonOutput(paths)
    process = _launch(paths, arguments, log)
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    second_try = False
    while not _accepts_connections(paths):
        if process.poll() is not None and not daemon_runs(paths):
            # A client that tested the lock at that moment may have kept it from the daemon. Any
            # other failure occurs a second time as well.
            if second_try:
                raise _did_not_start(process.returncode, log)
            second_try = True
            process = _launch(paths, arguments, log)
        if time.monotonic() > deadline:
            raise DaemonUnavailable(
                f"The daemon did not answer within {START_TIMEOUT_SECONDS:.0f} s of its start.",
                hint=f"See its logs: {paths.daemon_log} and {paths.daemon_output}",
            )
        time.sleep(0.005)
    return process


class _DaemonOutput:
    """The file that a daemon prints to, and the offset of its latest start."""

    def __init__(self, paths: Paths) -> None:
        private_directory(paths.logs)
        self.path: Path = paths.daemon_output
        self._start = 0

    def open(self) -> int:
        """A descriptor that appends to the file, which only its owner may read."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self.path, flags, 0o600)
        self._start = os.fstat(descriptor).st_size
        return descriptor

    def last_lines(self) -> list[str]:
        """The last lines written since the latest start."""
        with self.path.open("rb") as log:
            log.seek(self._start)
            lines = log.read().decode(errors="replace").splitlines()
        return [line for line in lines if line.strip()][-_LINES_OF_LOG:]


def _launch(
    paths: Paths, arguments: Sequence[str], log: _DaemonOutput
) -> "subprocess.Popen[bytes]":
    output = log.open()
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "sired", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # `-m` imports from here first, so that the daemon is of the client's installation
            # whatever the caller's directory contains; and that directory can be unmounted.
            cwd=Path(__file__).parents[2],
            env=_environment(paths),
            start_new_session=True,
        )
    finally:
        os.close(output)


def _environment(paths: Paths) -> dict[str, str]:
    environment = dict(os.environ)
    if environment.get("SIRE_HOME") or paths != find_paths():
        # Absolute, since the daemon runs in another directory. Paths other than the environment's
        # come from a SIRE_HOME that the caller chose.
        environment["SIRE_HOME"] = str(paths.runtime.parent)
    return environment


def _accepts_connections(paths: Paths) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(paths.socket))
        except OSError:
            return False
    return True


def _did_not_start(exit_code: int, log: _DaemonOutput) -> DaemonUnavailable:
    lines = log.last_lines()
    return DaemonUnavailable(
        "\n".join([f"The daemon did not start; it exited with code {exit_code}.", *lines]),
        hint=f"Its whole output is in {log.path}",
        exit_code=exit_code,
        log=lines,
    )
