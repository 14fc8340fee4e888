"""One gateway's process, from the daemon's side."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from sire.paths import private_directory
from sire.protocol.services import GatewayReport, ServiceSpec, gateway_arguments
from sired.runtimes.support.exit_status import described
from sired.workers import log_files

_LINES_OF_OUTPUT = 10
_MOST_BYTES = 1 << 16


class GatewayProcess:
    """A gateway that listens on a socket of the daemon's. It ends with the daemon.

    Args:
        loop: the daemon's event loop.
        spec: what it is started with.
        listening: the socket on which it takes connections.
        log: the file that its output goes to.
        reported: called with its report, once it takes requests or cannot.
        ended: called once it has ended, with how, such as "exit code 1".

    Attributes:
        pid: its process id.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        spec: ServiceSpec,
        listening: socket.socket,
        log: Path,
        reported: Callable[[GatewayReport], None],
        ended: Callable[[str], None],
    ) -> None:
        self._loop, self._reported, self._ended = loop, reported, ended
        self._log, self._received = log, b""
        self._report, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._process, self._log_start = _start(spec, listening, theirs, log)
        except OSError:
            os.close(self._report)
            raise
        finally:
            os.close(theirs)
        self.pid = self._process.pid
        self._pidfd = os.pidfd_open(self.pid)
        loop.add_reader(self._report, self._read)
        loop.add_reader(self._pidfd, self._exited)

    def terminate(self) -> None:
        """Have it finish the requests in progress and end; one that is stopped continues first."""
        self._send(signal.SIGTERM)
        self._send(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it."""
        self._send(signal.SIGKILL)

    def last_lines(self) -> list[str]:
        """The last lines that it printed."""
        return log_files.last_lines(self._log, self._log_start, _LINES_OF_OUTPUT)

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def _read(self) -> None:
        """Read the report, which is complete when the other end is closed."""
        try:
            part = os.read(self._report, _MOST_BYTES)
        except BlockingIOError:
            return
        self._received += part
        if part and len(self._received) < _MOST_BYTES:
            return
        self._close_report()
        with contextlib.suppress(msgspec.DecodeError):  # it has ended before it could report
            self._reported(msgspec.json.decode(self._received, type=GatewayReport))

    def _close_report(self) -> None:
        self._loop.remove_reader(self._report)
        os.close(self._report)
        self._report = -1

    def _exited(self) -> None:
        if self._report != -1:
            self._read()  # what it may have reported just before
        if self._report != -1:  # a process that it has left holds the other end
            self._close_report()
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._ended(described(self._process.wait()))


def _start(
    spec: ServiceSpec, listening: socket.socket, report: int, log: Path
) -> "tuple[subprocess.Popen[bytes], int]":
    """Start the process; returns it, and where its output begins in the log."""
    private_directory(log.parent)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(output).st_size
        process = subprocess.Popen(
            _command(spec, listening.fileno(), report),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "SIRE_NO_AUTOSTART": "1"},
            pass_fds=(listening.fileno(), report),
            # Ctrl-C in the daemon's terminal is for the daemon, which ends it.
            process_group=0,
        )
    finally:
        os.close(output)
    return process, size


def _command(spec: ServiceSpec, listening: int, report: int) -> list[str]:
    # -P: the gateway must not import modules from the working directory.
    command = [sys.executable, "-P", "-m", "sired.gateway", "--socket", str(listening)]
    command += ["--report", str(report), "--parent", str(os.getpid())]
    return [*command, *gateway_arguments(spec)]
