"""The zygote: a process with the frameworks imported, from which workers are forked.

It runs no operation of any framework and never uses CUDA, because neither thread pools nor CUDA
contexts survive a fork. (OpenBLAS starts threads at import, but ends them before a fork, and
restarts them on demand.)

1. It imports the frameworks of registered models only. PyTorch takes a second and 180 MB.
2. When a worker needs more, another process imports that as well and takes the place of the first
   one, which goes on to fork for others until then.
"""

import errno
import os
import socket
import threading
import time
from collections.abc import Collection
from pathlib import Path

import msgspec

from sired.runtimes.traits import RuntimeTraits, is_preloaded
from sired.workers.confinement import Confinement
from sired.workers.zygote.handles import ProcessHandle, SpawnedProcess
from sired.workers.zygote.messages import Fork, pair
from sired.workers.zygote.process import ZygoteEnded, ZygoteProcess
from sired.workers.zygote.start import start_module

# If it ends this often in a row, workers are started without it for some time.
ATTEMPTS = 2
AGAIN_AFTER_SECONDS = 60.0
# The time limit for a fork.
FORK_SECONDS = 10.0


class Zygote:
    """Forks workers. Starting it blocks for as long as the frameworks take to import.

    Args:
        runtimes: those that it imports from the beginning.
        confinement: the limits of every worker; all limits by default.
        fork_seconds: time limit for a fork, once everything is imported.

    Attributes:
        problem: why workers are started without the zygote; "" if they are started from it.
    """

    def __init__(
        self,
        runtimes: Collection[str] = (),
        confinement: Confinement | None = None,
        *,
        fork_seconds: float = FORK_SECONDS,
    ) -> None:
        self._confinement = confinement or Confinement()
        _prepare_environment()
        self.problem = ""
        self._fork_seconds = fork_seconds
        self._failures, self._again_at = 0, 0.0
        self._lock = threading.Lock()
        self._needed = frozenset(runtimes)
        # The oldest first. Each imports what those before it do, and ends them when it is ready.
        self._processes: list[ZygoteProcess] = []
        self._latest: ZygoteProcess | None = None
        self._closed = False

    def imports(self, traits: RuntimeTraits) -> bool:
        """Whether it imports the implementation of a runtime, so that workers need not."""
        return not self.problem and is_preloaded(traits, (traits.name,))

    def need(self, runtimes: Collection[str]) -> None:
        """Note what workers are going to need; ``warm`` has it imported."""
        with self._lock:
            self._needed |= frozenset(runtimes)

    def has(self, runtimes: Collection[str]) -> bool:
        """Whether a worker that needs these runtimes can be started at once."""
        with self._lock:
            process = self._find(frozenset(runtimes))
            return bool(self.problem) if process is None else process.ready

    def warm(self) -> None:
        """Start it and wait until it has imported everything; call this in a thread.

        Raises:
            OSError: no process can be started at all.
        """
        if not self._closed:
            self._ready_process(self._needed)

    def start(
        self, log: Path, runtimes: Collection[str] = ()
    ) -> tuple[ProcessHandle, socket.socket]:
        """Fork a worker whose output goes to ``log``; returns it and the connection to it.

        A zygote that has ended, or does not respond, is replaced. If the new one ends as well, the
        worker is spawned without it, and imports its framework itself.

        Args:
            log: the file that its output goes to.
            runtimes: names of those that it is going to import.

        Raises:
            OSError: no process can be started.
        """
        while (zygote := self._ready_process(frozenset(runtimes))) is not None:
            # Another connection for each attempt. A zygote may be killed after it has forked, and
            # before it has said so: the worker of that attempt ends with its connection.
            own, its_end = pair()
            try:
                with its_end:
                    request = Fork(str(log), self._confinement)
                    process = zygote.fork(request, its_end)
            except ZygoteEnded:
                own.close()
                self._failed(zygote)
            except BaseException:
                own.close()
                raise
            else:
                self._succeeded(zygote)
                return process, own
        return self._spawn(log)

    @property
    def pid(self) -> int | None:
        """The id of its latest process; None before the first one is started."""
        return None if self._latest is None else self._latest.pid

    @property
    def ended(self) -> bool:
        """Whether it has been started, and its latest process has ended."""
        return self._latest is not None and self._latest.ended

    def close(self) -> None:
        """End it, and start no worker any more; those that there are live on."""
        with self._lock:
            self._closed = True
            processes = list(self._processes)
        for process in processes:
            process.retired = True
            process.kill()

    def _ready_process(self, runtimes: frozenset[str]) -> ZygoteProcess | None:
        """A process that has imported these runtimes; None if workers are to be spawned.

        Raises:
            OSError: no process can be started at all.
        """
        while (process := self._process_for(runtimes)) is not None:
            try:
                process.wait_until_ready()
            except ZygoteEnded:
                self._failed(process)
            else:
                self._retire_older(process)
                return process
        return None

    def _process_for(self, runtimes: frozenset[str]) -> ZygoteProcess | None:
        """As ``_ready_process``, but the process may not be ready yet."""
        with self._lock:
            if self._closed:
                raise OSError(errno.ESHUTDOWN, "the daemon shuts down")
            self._needed |= runtimes
            if (process := self._find(runtimes)) is not None:
                return process
            if self._failures >= ATTEMPTS and time.monotonic() <= self._again_at:
                self.problem = (
                    "the zygote does not start: each worker imports its framework itself, "
                    "which takes seconds. See: sire daemon logs"
                )
                return None
            process = ZygoteProcess(self._needed, self._fork_seconds)
            self._latest = process
            self._processes.append(process)
            return process

    def _find(self, runtimes: frozenset[str]) -> ZygoteProcess | None:
        """A living process that imports these runtimes, rather one that is ready."""
        self._processes = [process for process in self._processes if not process.ended]
        able = (process for process in self._processes if runtimes <= process.runtimes)
        return min(able, key=lambda process: not process.ready, default=None)

    def _retire_older(self, ready: ZygoteProcess) -> None:
        """End the processes whose place this one takes."""
        with self._lock:
            known = self._processes
            older = known[: known.index(ready)] if ready in known else []
            self._processes = known[len(older) :]
        for process in older:
            process.retire()

    def _failed(self, process: ZygoteProcess) -> None:
        """Count a process that has ended or does not answer, once."""
        process.kill()
        with self._lock:
            if not process.retired:
                process.retired = True
                self._failures += 1
                self._again_at = time.monotonic() + AGAIN_AFTER_SECONDS

    def _succeeded(self, process: ZygoteProcess) -> None:
        """Forget failures, unless they were of a process that was to import more."""
        with self._lock:
            if self._needed <= process.runtimes:
                self._failures, self.problem = 0, ""

    def _spawn(self, log: Path) -> tuple[ProcessHandle, socket.socket]:
        own, its_end = pair()
        confinement = msgspec.json.encode(self._confinement).decode()
        try:
            with its_end:
                process = start_module(
                    "sired.workers.zygote.worker", its_end.fileno(), str(log), confinement
                )
            return SpawnedProcess(process), own
        except BaseException:
            own.close()
            raise


def _prepare_environment() -> None:
    """Set the variables that the zygote and its workers inherit."""
    # Otherwise importing ONNX Runtime opens a database and starts a telemetry thread; neither
    # survives a fork.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # OpenMP's threads spin for milliseconds while they wait for each other. That is fine if
    # they have the processors to themselves. With several models, a spinning thread occupies
    # the processor of the thread that it waits for: a pass of 1 ms was measured to take 15 ms.
    # Spinning for microseconds is as fast alone, and harmless otherwise.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
