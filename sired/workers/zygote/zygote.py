"""The zygote: a process with the frameworks imported, from which workers are forked.

It runs no operation of any framework and never uses CUDA, because neither thread pools nor CUDA
contexts survive a fork. (OpenBLAS starts threads at import, but ends them before a fork, and
restarts them on demand.)
"""

import contextlib
import importlib
import multiprocessing
import multiprocessing.forkserver
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import psutil

from sired.runtimes.traits import RuntimeTraits, is_preloaded
from sired.workers.confinement import Confinement
from sired.workers.zygote import variables

# The first ends the process if the daemon ends meanwhile; the second imports what workers need.
PRELOAD = ("sired.workers.zygote.preload_watch", "sired.workers.zygote.preload")

# If it ends this often in a row during a request, workers are started without it for some time.
ATTEMPTS = 2
AGAIN_AFTER_SECONDS = 60.0
# Time limits for importing everything from a slow disk, and for a fork after that.
IMPORT_SECONDS = 120.0
FORK_SECONDS = 10.0


class Zygote:
    """Forks workers. Starting it blocks for as long as the frameworks take to import.

    Args:
        runtimes: of the registered models; others import what they need.
        confinement: the limits of every worker; all limits by default.
        fork_seconds: time limit for a fork, once everything is imported.

    Attributes:
        problem: why workers are started without the zygote; "" if they are started from it.
    """

    # A process has one fork server, whichever object started it; this is the latest one known.
    _process: ClassVar[psutil.Process | None] = None

    def __init__(
        self,
        runtimes: Collection[str] = (),
        confinement: Confinement | None = None,
        *,
        fork_seconds: float = FORK_SECONDS,
    ) -> None:
        self._confinement = confinement or Confinement()
        # Otherwise importing ONNX Runtime opens a database and starts a telemetry thread; neither
        # survives a fork.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        # OpenMP's threads spin for milliseconds while they wait for each other. That is fine if
        # they have the processors to themselves. With several models, a spinning thread occupies
        # the processor of the thread that it waits for: a pass of 1 ms was measured to take 15 ms.
        # Spinning for microseconds is as fast alone, and harmless otherwise.
        if "OMP_WAIT_POLICY" not in os.environ:
            os.environ.setdefault("GOMP_SPINCOUNT", "1000")
        self.problem = ""
        self._fork_seconds = fork_seconds
        self._failures, self._again_at = 0, 0.0
        self._forked = False
        os.environ[variables.DAEMON] = str(os.getpid())
        os.environ[variables.RUNTIMES] = ",".join(runtimes)
        self._lock = threading.Lock()
        self._runtimes = frozenset(runtimes)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(PRELOAD))

    def imports(self, traits: RuntimeTraits) -> bool:
        """Whether it imports the implementation of a runtime, so that workers need not."""
        return is_preloaded(traits, self._runtimes)

    def warm(self) -> None:
        """Start it and wait until it has imported everything; call this in a thread.

        Raises:
            OSError: no process can be started at all.
        """
        self._start(_nothing, tuple).join()

    def start(self, log: Path) -> tuple[BaseProcess, socket.socket]:
        """Fork a worker whose output goes to ``log``; returns it and the connection to it.

        A zygote that has ended, or does not respond, is replaced. If the new one ends as well, the
        worker is spawned without it, and imports its framework itself.

        Raises:
            OSError: no process can be started.
        """
        ends: list[socket.socket] = []

        def arguments() -> Sequence[object]:
            # A zygote may be killed after it has forked, and before it has said so. The worker of
            # that attempt, which is not known here, ends when its connection does.
            _close(ends)
            ends.extend(socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            return ends[1], str(log), self._confinement

        try:
            process = self._start(run_child, arguments)
        except BaseException:
            _close(ends)
            raise
        own_end, worker_end = ends
        worker_end.close()
        return process, own_end

    @property
    def pid(self) -> int | None:
        """The id of the zygote's process; None before it is started for the first time."""
        process = self._server()
        return None if process is None else process.pid

    @property
    def ended(self) -> bool:
        """Whether it has been started, and has ended."""
        process = self._server()
        if process is None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
        return True

    @classmethod
    def _server(cls) -> psutil.Process | None:
        """The process of the fork server; None before the first one is started.

        multiprocessing starts another one by itself if it finds that the server has ended, also in
        the middle of a fork, so its own record is what counts. It has no public name.
        """
        server = multiprocessing.forkserver._forkserver  # noqa: SLF001
        pid = getattr(server, "_forkserver_pid", None)
        if pid is not None and (cls._process is None or cls._process.pid != pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                cls._process = psutil.Process(pid)
        return cls._process

    def _start(
        self, target: Callable[..., None], arguments: Callable[[], Sequence[object]]
    ) -> BaseProcess:
        with self._lock, _without_main():
            while self._failures < ATTEMPTS or time.monotonic() > self._again_at:
                try:
                    process = self._fork(target, arguments())
                # Its socket is in the temporary directory, from which it may have been deleted.
                except (EOFError, ConnectionError, FileNotFoundError):
                    self._end()
                    self._failures += 1
                    self._forked = False
                    self._again_at = time.monotonic() + AGAIN_AFTER_SECONDS
                else:
                    self._failures, self.problem = 0, ""
                    return process
            self.problem = (
                "the zygote does not start: each worker imports its framework itself, "
                "which takes seconds. See: sire daemon logs"
            )
            # A "daemon" process is terminated, not joined, when the parent exits.
            spawned = multiprocessing.get_context("spawn").Process(
                target=target, args=arguments(), daemon=True
            )
            spawned.start()
            return spawned

    def _fork(self, target: Callable[..., None], arguments: Sequence[object]) -> BaseProcess:
        """Have the zygote fork; kill it if that takes too long.

        Raises:
            EOFError: the zygote ended before it had forked.
            ConnectionError: the zygote ended before it had forked.
            FileNotFoundError: its socket is gone.
        """
        process = self._context.Process(target=target, args=arguments, daemon=True)
        known = self.pid if self._forked and not self.ended else None
        over = threading.Event()
        threading.Thread(
            target=self._kill_if_slow, args=(known, over), name="fork-limit", daemon=True
        ).start()
        try:
            process.start()
        finally:
            over.set()
        self._forked = True
        return process

    def _kill_if_slow(self, known: int | None, over: threading.Event) -> None:
        """Kill the zygote if a fork takes too long.

        Args:
            known: the id of the zygote, if it has imported everything.
            over: set once the fork has been made.
        """
        if known is not None and over.wait(self._fork_seconds):
            return
        # Where another zygote has taken its place meanwhile, that one has to import everything.
        if (known is None or self.pid != known) and over.wait(IMPORT_SECONDS):
            return
        self._kill()

    def _kill(self) -> None:
        if (process := self._server()) is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def _end(self) -> None:
        """Kill a zygote that does not answer, and wait until it has ended."""
        self._kill()
        if (process := self._server()) is not None:
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Hide the main module, which multiprocessing would run again in each process."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _close(ends: list[socket.socket]) -> None:
    while ends:
        ends.pop().close()


def _nothing() -> None:
    """The target of the process that only waits for the zygote to be ready."""


def run_child(connection: socket.socket, log: str, confinement: Confinement) -> None:
    """The main function of a forked worker."""
    # multiprocessing forbids "daemon" processes to start processes, which models do.
    multiprocessing.current_process().daemon = False
    # By name, so that the daemon, which imports this module, does not import the frameworks.
    importlib.import_module("sired.workers.child.main").main(connection, log, confinement)
