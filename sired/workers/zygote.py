"""The zygote: a process with the frameworks imported, from which workers are forked.

It runs no operation of any framework and never touches CUDA: neither thread pools nor CUDA
contexts survive a fork. (OpenBLAS does start its threads at once, but ends them before a fork and
starts them again where they are needed.)
"""

import importlib
import importlib.util
import multiprocessing
import multiprocessing.forkserver
import os
import socket
import sys
import threading
from collections.abc import Collection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType

from sired.workers.confinement import Confinement

# The last one freezes what the others have imported.
PRELOAD = ("numpy", "torch", "onnxruntime", "sired.workers.preload")
# What takes seconds to import, and is imported ahead only if models of these runtimes are known.
HEAVY = {"huggingface": "sired.runtimes.huggingface.runtime"}


class Zygote:
    """Forks workers. Starting it blocks for as long as the frameworks take to import.

    Args:
        runtimes: of the models that are known by now; others' workers import what they need.
        confinement: what every worker is kept from; without it, from all there is.
    """

    def __init__(
        self, runtimes: Collection[str] = (), confinement: Confinement | None = None
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
        self._one_at_a_time = threading.Lock()
        self._context = multiprocessing.get_context("forkserver")
        heavy = [module for runtime, module in HEAVY.items() if runtime in runtimes]
        wanted = [*PRELOAD[:-1], *heavy, PRELOAD[-1]]
        there = [name for name in wanted if importlib.util.find_spec(name.partition(".")[0])]
        self._context.set_forkserver_preload(there)

    def warm(self) -> None:
        """Start it and wait until it has imported everything; call this in a thread."""
        process = self._context.Process(target=_nothing)
        self._fork(process)
        process.join()

    def start(self, line: socket.socket, log: Path) -> BaseProcess:
        """Fork a worker that talks over ``line`` and writes what it prints to ``log``.

        Raises:
            OSError: it cannot be forked. A zygote that has ended is replaced by the next start.
        """
        # As a "daemon" it is ended, not waited for, when the daemon exits without having done so.
        arguments = (line, str(log), self._confinement)
        process = self._context.Process(target=run_child, args=arguments, daemon=True)
        self._fork(process)
        return process

    def _fork(self, process: BaseProcess) -> None:
        """Start a process that does not run our main module again, as multiprocessing would."""
        with self._one_at_a_time:
            main = sys.modules["__main__"]
            sys.modules["__main__"] = ModuleType("__main__")
            try:
                process.start()
            except EOFError:
                raise ChildProcessError("the zygote ended before it had forked") from None
            finally:
                sys.modules["__main__"] = main


def _nothing() -> None:
    """What the process does that only waits for the zygote."""


def run_child(line: socket.socket, log: str, confinement: Confinement) -> None:
    """What a forked worker runs."""
    # A "daemon" may not start processes of its own, but models do.
    multiprocessing.current_process().daemon = False
    # By name, so that the daemon, which imports this module, does not import the frameworks.
    importlib.import_module("sired.workers.child").main(line, log, confinement)
