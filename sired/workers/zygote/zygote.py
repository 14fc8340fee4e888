"""The zygote: a process with the frameworks imported, from which workers are forked.

It runs no operation of any framework and never touches CUDA: neither thread pools nor CUDA
contexts survive a fork. (OpenBLAS does start its threads at once, but ends them before a fork and
starts them again where they are needed.)
"""

import contextlib
import importlib
import importlib.util
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType

from sired.workers.confinement import Confinement

# The first ends it when the daemon ends meanwhile; the last freezes what the others have imported.
PRELOAD = (
    "sired.workers.zygote.preload_watch",
    "numpy",
    "torch",
    "onnxruntime",
    "sired.workers.zygote.preload",
)
# What takes seconds to import, and is imported ahead only if models of these runtimes are known.
HEAVY = {"huggingface": "sired.runtimes.huggingface.runtime"}

# It ends twice in a row while it is asked: workers are started without it, for some time.
ATTEMPTS = 2
AGAIN_AFTER_SECONDS = 60.0
# How long it may take to import everything from a slow disk, and to fork once it has.
IMPORT_SECONDS = 120.0
FORK_SECONDS = 10.0


class Zygote:
    """Forks workers. Starting it blocks for as long as the frameworks take to import.

    Args:
        runtimes: of the models that are known by now; others' workers import what they need.
        confinement: what every worker is kept from; without it, from all there is.
        fork_seconds: how long it may take to fork, once it has imported everything.

    Attributes:
        problem: why workers are started without it; "" while they are not.
    """

    def __init__(
        self,
        runtimes: Collection[str] = (),
        confinement: Confinement | None = None,
        *,
        fork_seconds: float = FORK_SECONDS,
    ) -> None:
        self._confinement = confinement or Confinement()
        # Otherwise importing ONNX Runtime opens a database and starts a thread that reports to its
        # makers; neither survives a fork, and nobody here asked for it.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        # OpenMP's threads wait for each other awake, for milliseconds. That is well where they have
        # the processors to themselves; among several models, one that waits keeps from its
        # processor the one it waits for, and a pass of 1 ms was seen to take 15. Some microseconds
        # are as good when alone, and harmless when not.
        if "OMP_WAIT_POLICY" not in os.environ:
            os.environ.setdefault("GOMP_SPINCOUNT", "1000")
        self.problem = ""
        self._fork_seconds = fork_seconds
        self._failures, self._again_at = 0, 0.0
        self._forked = False
        os.environ["SIRE_ZYGOTE_OF"] = str(os.getpid())
        self._one_at_a_time = threading.Lock()
        self._context = multiprocessing.get_context("forkserver")
        heavy = [module for runtime, module in HEAVY.items() if runtime in runtimes]
        wanted = [*PRELOAD[:-1], *heavy, PRELOAD[-1]]
        there = [name for name in wanted if importlib.util.find_spec(name.partition(".")[0])]
        self._context.set_forkserver_preload(there)

    def warm(self) -> None:
        """Start it and wait until it has imported everything; call this in a thread.

        Raises:
            OSError: no process can be started at all.
        """
        self._start(_nothing).join()

    def start(self, line: socket.socket, log: Path) -> BaseProcess:
        """Fork a worker that talks over ``line`` and writes what it prints to ``log``.

        A zygote that has ended, or does not answer, is replaced; where that ends as well, the
        worker is started without one, and imports what it needs itself.

        Raises:
            OSError: no process can be started.
        """
        return self._start(run_child, line, str(log), self._confinement)

    @property
    def ended(self) -> bool:
        """Whether it was there, and is gone."""
        pid = _pid()
        with contextlib.suppress(ChildProcessError):
            how = pid and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return bool(how)
        return True

    def _start(self, target: Callable[..., None], *arguments: object) -> BaseProcess:
        with self._one_at_a_time, _without_main():
            while self._failures < ATTEMPTS or time.monotonic() > self._again_at:
                try:
                    process = self._fork(target, arguments)
                except (EOFError, ConnectionError):
                    _end()
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
            # As a "daemon" it is ended, not waited for, when the daemon exits without doing so.
            spawned = multiprocessing.get_context("spawn").Process(
                target=target, args=arguments, daemon=True
            )
            spawned.start()
            return spawned

    def _fork(self, target: Callable[..., None], arguments: Sequence[object]) -> BaseProcess:
        """Have the zygote fork; kill it if it does not.

        Raises:
            EOFError: it ended before it had forked.
            ConnectionError: the same.
        """
        process = self._context.Process(target=target, args=arguments, daemon=True)
        patience = IMPORT_SECONDS if self.ended or not self._forked else self._fork_seconds
        alarm = threading.Timer(patience, _kill)
        alarm.daemon = True
        alarm.start()
        try:
            process.start()
        finally:
            alarm.cancel()
        self._forked = True
        return process


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Let processes not run our main module again, as multiprocessing would have them."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _pid() -> int | None:
    """The forkserver's process; the standard library tells nobody."""
    pid: int | None = multiprocessing.forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]  # noqa: SLF001
    return pid


def _kill() -> None:
    with contextlib.suppress(ProcessLookupError):
        if pid := _pid():
            os.kill(pid, signal.SIGKILL)


def _end() -> None:
    """See to it that a zygote which does not answer is gone: until then none takes its place."""
    _kill()
    with contextlib.suppress(ChildProcessError):
        if pid := _pid():
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def _nothing() -> None:
    """What the process does that only waits for the zygote."""


def run_child(line: socket.socket, log: str, confinement: Confinement) -> None:
    """What a forked worker runs."""
    # A "daemon" may not start processes of its own, but models do.
    multiprocessing.current_process().daemon = False
    # By name, so that the daemon, which imports this module, does not import the frameworks.
    importlib.import_module("sired.workers.child.main").main(line, log, confinement)
