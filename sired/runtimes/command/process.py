"""Starts a program, waits until it serves, and terminates it with its descendants."""

import contextlib
import ctypes
import http.client
import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from sire.errors import InvalidModel, LoadFailed
from sired.http.client import Server
from sired.runtimes.command.arguments import Program, fill, split
from sired.runtimes.granted_gpu import GrantedGpu, granted_gpu
from sired.runtimes.out_of_memory import is_out_of_memory
from sired.runtimes.support.exit_status import described, wait_for_exit
from sired.runtimes.wanted import check_wanted

HOST = "127.0.0.1"
# How long after SIGTERM it is killed.
GRACE_SECONDS = 8.0
_KILLED_SECONDS = 1.0
_SHORTEST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 0.5
_HEALTH_SECONDS = 5.0
_LAST_LINES = 10
_TAIL_BYTES = 16 * 1024
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class Process:
    """A program that was started to serve on a local port.

    It shares this process's output and ends with it, as do its own descendants.

    Raises:
        InvalidModel: the program does not exist or cannot be executed.
    """

    def __init__(self, program: Program, path: str, device: str) -> None:
        self.port = _free_port()
        self.server = Server(HOST, self.port, check_wanted)
        self._printed = _Printed()
        self._program = program
        gpu = granted_gpu() if device != "cpu" else GrantedGpu()
        values = {
            "path": path,
            "port": str(self.port),
            "device": device,
            "gpu": gpu.uuid,
            "index": gpu.index,
            "fraction": gpu.fraction,
        }
        words = [fill(word, values) for word in split(program.cmd)]
        added = {name: fill(text, values) for name, text in program.env.items()}
        added = {**gpu.environment, **added}
        self._running = _start(words, program.directory, added)

    @property
    def pids(self) -> list[int]:
        """The program and its descendants."""
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self._running.pid).children(recursive=True)
            return [self._running.pid, *(child.pid for child in children)]
        return [self._running.pid]

    def ended(self, within: float = 0.0) -> str | None:
        """How it has ended, in words, with the last lines it printed; None while it runs.

        Args:
            within: seconds to wait for it.
        """
        if (code := self._exit_code(within)) is None:
            return None
        lines = self._printed.last_lines()
        return f"({described(code)}).{''.join(f'{os.linesep}  {line}' for line in lines)}"

    def _exit_code(self, within: float) -> int | None:
        """Its exit code, negative for a signal; None if it still runs after ``within`` seconds.

        It is not reaped: what else watches it in this process reads how it ended as well.
        """
        if self._running.returncode is not None:
            return self._running.returncode
        try:
            pidfd = os.pidfd_open(self._running.pid)
        except ProcessLookupError:  # reaped by ``end``
            return self._running.wait()
        try:
            return wait_for_exit(pidfd, within)
        finally:
            os.close(pidfd)

    def wait_until_healthy(self) -> bool:
        """Wait until it serves; False if it ended because its port was taken meanwhile.

        Raises:
            LoadFailed: it has ended, or has stalled.
            MemoryError: it has ended because memory is exhausted.
        """
        pause, alive = _SHORTEST_PAUSE_SECONDS, time.monotonic()
        signs = self._signs_of_life()
        while True:
            if how := self.ended(pause):
                if _taken(self.port):
                    return False
                raise _failure(f"The program ended before it served {how}")
            if self._healthy():
                return True
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            now, signs_now = time.monotonic(), self._signs_of_life()
            if signs_now != signs:
                signs, alive = signs_now, now
            elif now - alive > self._program.stall:
                raise self._stalled()

    def _healthy(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if self._program.health:
                return self.server.request("GET", self._program.health, timeout=_HEALTH_SECONDS).ok
            with socket.create_connection((HOST, self.port), _HEALTH_SECONDS):
                return True
        return False

    def _signs_of_life(self) -> tuple[int, int]:
        """Bytes of output, and CPU time in tenths of a second."""
        seconds = 0.0
        for pid in self.pids:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = psutil.Process(pid).cpu_times()
                seconds += times.user + times.system
        return self._printed.size(), int(10 * seconds)

    def _stalled(self) -> LoadFailed:
        attempt = f"GET {self._program.health}" if self._program.health else "A connection"
        lines = "".join(f"\n  {line}" for line in self._printed.last_lines())
        return LoadFailed(
            f"The program has been idle for {self._program.stall:g} s and does not serve: "
            f"{attempt} to port {self.port} has not succeeded.{lines}",
            hint="Check that it serves on {port} and that --health is right, or allow it more "
            "time: --arg stall=600",
        )

    def end(self) -> None:
        """Terminate it and its descendants; returns once they have ended."""
        there = []
        for pid in self.pids:
            with contextlib.suppress(psutil.NoSuchProcess):
                there.append(psutil.Process(pid))
        _signal(there, signal.SIGTERM)
        _, left = psutil.wait_procs(there, GRACE_SECONDS)
        _signal(left, signal.SIGKILL)
        psutil.wait_procs(left, _KILLED_SECONDS)


class _Printed:
    """The output of this process from now on, if it goes to a file."""

    def __init__(self) -> None:
        status = os.fstat(1)
        self._file = Path("/proc/self/fd/1") if stat.S_ISREG(status.st_mode) else None
        self._start = status.st_size

    def size(self) -> int:
        return os.fstat(1).st_size - self._start if self._file else 0

    def last_lines(self) -> list[str]:
        if self._file is None:
            return []
        with contextlib.suppress(OSError), self._file.open("rb") as file:
            file.seek(max(self._start, os.fstat(1).st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
            return [line for line in lines if line.strip()][-_LAST_LINES:]
        return []


def _start(words: Sequence[str], directory: str, added: dict[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            cwd=directory or None,
            env={**os.environ, **added},
            # The program ends with this process, even if that is killed.
            preexec_fn=_end_with_parent,  # noqa: PLW1509 (it only makes a system call)
        )
    except OSError as problem:
        what = f"in {problem.filename}" if problem.filename == directory else words[0]
        raise InvalidModel(
            f"The program cannot be started: {what}: {problem.strerror}.",
            hint=f"Specify its absolute path, or start the daemon with a PATH that contains it: "
            f"{os.environ.get('PATH')}",
        ) from None


def _end_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _failure(message: str) -> Exception:
    failure = LoadFailed(message)
    return MemoryError(message) if is_out_of_memory(failure) else failure


def _signal(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False
