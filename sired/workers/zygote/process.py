"""One process of the zygote, from the daemon's side."""

import os
import socket
import subprocess
import threading
from contextlib import suppress

import msgspec

from sired.workers.zygote.handles import ForkedProcess
from sired.workers.zygote.messages import (
    READY,
    Fork,
    Forked,
    NotForked,
    Report,
    arrives,
    pair,
    receive,
    send,
)
from sired.workers.zygote.start import start_module

# A time limit for importing everything from a slow disk.
IMPORT_SECONDS = 120.0


class ZygoteEnded(Exception):
    """A zygote has ended, or does not answer and has been killed."""


class ZygoteProcess:
    """Imports the frameworks of some runtimes from when it is constructed, then forks workers.

    Args:
        runtimes: names of the runtimes.
        fork_seconds: time limit for a fork.

    Attributes:
        ready: whether it has imported everything.
        retired: whether it has been replaced or closed; its end is expected then.

    Raises:
        OSError: no process can be started.
    """

    def __init__(self, runtimes: frozenset[str], fork_seconds: float) -> None:
        self.runtimes = runtimes
        self.ready = self.retired = False
        self._fork_seconds = fork_seconds
        self._lock = threading.Lock()
        self._control, its_end = pair()
        try:
            self._process: subprocess.Popen[bytes] = start_module(
                "sired.workers.zygote.server", its_end.fileno(), ",".join(sorted(runtimes))
            )
        except BaseException:
            self._control.close()
            raise
        finally:
            its_end.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def wait_until_ready(self) -> None:
        """Wait until it has imported everything.

        Raises:
            ZygoteEnded: it ended before, or has been killed because it takes too long.
        """
        with self._lock:
            if not self.ready:
                packet, _ = self._receive(self._control, IMPORT_SECONDS)
                self.ready = packet == READY

    def fork(self, request: Fork, connection: socket.socket) -> ForkedProcess:
        """Have it fork a worker.

        Args:
            request: what the worker is to be.
            connection: the worker's end of its connection.

        Raises:
            ZygoteEnded: it ended before it has answered, or has been killed because it does not.
            OSError: the system refused the fork.
        """
        own, its_end = pair()
        try:
            with self._lock:  # also until the worker is known, lest it be taken for an orphan
                with its_end:
                    self._send(request, connection, its_end)
                return self._forked(own)
        except BaseException:
            own.close()
            raise

    def _send(self, request: Fork, connection: socket.socket, report: socket.socket) -> None:
        try:
            send(self._control, request, connection.fileno(), report.fileno())
        except OSError:
            self.kill()
            raise ZygoteEnded from None

    def _forked(self, own: socket.socket) -> ForkedProcess:
        packet, descriptors = self._receive(own, self._fork_seconds)
        report: Report = msgspec.msgpack.decode(packet, type=Report)
        if isinstance(report, NotForked):
            raise OSError(report.error, os.strerror(report.error))
        assert isinstance(report, Forked)
        return ForkedProcess(report.pid, descriptors[0], own, self._join)

    def _receive(self, end: socket.socket, seconds: float) -> tuple[bytes, list[int]]:
        with suppress(OSError, ValueError):  # the socket is closed when it is killed
            if arrives(end, seconds) and (received := receive(end))[0]:
                return received
        self.kill()
        raise ZygoteEnded

    def _join(self, seconds: float) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def retire(self) -> None:
        """End it once it has made the fork that it is at, if any. Its workers live on."""
        self.retired = True
        if not self.ready:  # what it imports is not needed
            self.kill()
        with self._lock:
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        self._control.close()
