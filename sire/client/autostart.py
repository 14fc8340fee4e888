"""Finding out whether a daemon runs, and starting one in the background."""

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

# Longer than any start should take, so that only a daemon that hangs runs into it.
START_TIMEOUT_SECONDS = 20.0
_LINES_OF_LOG = 5


def daemon_runs(paths: Paths) -> bool:
    """Whether a daemon holds the lock, be it ready, starting or stopping.

    Raises:
        DaemonUnavailable: the lock file is somebody else's.
    """
    try:
        check_owner(paths.runtime)
        lock = os.open(paths.lock, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as problem:
        raise DaemonUnavailable(f"Cannot open {paths.lock}: {problem.strerror}.") from None
    try:
        # Shared, so that clients who look at the same time do not take each other for a daemon.
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def ensure_daemon(paths: Paths) -> None:
    """Have a daemon run that takes connections, where none does yet.

    Where somebody listens in the daemon's stead, which is systemd with ``sired.socket``, a
    connection starts it; elsewhere we start one in the background.

    Raises:
        DaemonUnavailable: it did not start, or hangs.
    """
    paths.checked_socket()
    private_directory(paths.runtime)
    if not _started_by_connecting(paths):
        start_daemon(paths)


def _started_by_connecting(paths: Paths) -> bool:
    """Connect, and wait for the daemon to greet us; False where there is nobody to start it.

    Raises:
        DaemonUnavailable: somebody listens, and nobody greets.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(START_TIMEOUT_SECONDS)
        try:
            probe.connect(str(paths.socket))
            # ZeroMQ speaks first. The end comes where a daemon is just ending, or systemd gave up.
            return bool(probe.recv(1))
        except TimeoutError:
            raise DaemonUnavailable(
                f"Somebody listens at {paths.socket}, but no daemon answered within "
                f"{START_TIMEOUT_SECONDS:.0f} s.",
                hint="See what systemd says: systemctl --user status sired.service",
            ) from None
        except OSError:
            return False


def start_daemon(paths: Paths, *, arguments: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
    """Start a daemon in the background and return once one takes connections.

    When another daemon wins the race for the lock, that one is waited for instead.

    Args:
        paths: where its socket, lock and log are.
        arguments: options for ``sired``.

    Returns:
        The process started; it has exited already where another daemon won.

    Raises:
        DaemonUnavailable: it died, with the end of what it wrote; or it hangs.
    """
    paths.checked_socket()
    private_directory(paths.runtime)
    log = _DaemonOutput(paths)
    process = _launch(paths, arguments, log)
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    second_try = False
    while not _takes_connections(paths):
        if process.poll() is not None and not daemon_runs(paths):
            # A client that looked at the lock in the very moment may have kept it from the
            # daemon; anything else that is wrong is wrong the second time as well.
            if second_try:
                raise _did_not_start(process.returncode, log)
            second_try = True
            process = _launch(paths, arguments, log)
        if time.monotonic() > deadline:
            raise DaemonUnavailable(
                f"The daemon did not answer within {START_TIMEOUT_SECONDS:.0f} s of its start.",
                hint=f"See what it wrote: {paths.daemon_log} and {paths.daemon_output}",
            )
        time.sleep(0.005)
    return process


class _DaemonOutput:
    """The file that a daemon prints to, and where in it the latest start began."""

    def __init__(self, paths: Paths) -> None:
        private_directory(paths.logs)
        self.path: Path = paths.daemon_output
        self._start = 0

    def open(self) -> int:
        """A descriptor that appends to the file; only its owner may read it."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self.path, flags, 0o600)
        self._start = os.fstat(descriptor).st_size
        return descriptor

    def last_lines(self) -> list[str]:
        """The end of what was written since the latest start."""
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
            # `-m` looks here first: the daemon is the sired its client belongs to, whatever
            # modules lie in the caller's directory; and that directory can be unmounted.
            cwd=Path(__file__).parents[2],
            env=_environment(paths),
            start_new_session=True,
        )
    finally:
        os.close(output)


def _environment(paths: Paths) -> dict[str, str]:
    environment = dict(os.environ)
    if paths != find_paths():
        # Paths that are not the environment's own come from a SIRE_HOME of the caller's choice.
        environment["SIRE_HOME"] = str(paths.runtime.parent)
    return environment


def _takes_connections(paths: Paths) -> bool:
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
        hint=f"Everything it wrote is in {log.path}",
        exit_code=exit_code,
        log=lines,
    )
