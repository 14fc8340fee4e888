"""Sets up the process of a worker, before it loads anything."""

import contextlib
import faulthandler
import importlib
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from sired.runtimes import granted_gpu
from sired.store import file_leases
from sired.workers.confinement import Confinement, confine
from sired.workers.descendants import adopt_orphans, end_descendants, reap_zombies
from sired.workers.log_files import lossy_stream
from sired.workers.messages import DeviceGrant

_CHECK_MILLISECONDS = 60_000
_exit_callbacks: list[Callable[[], None]] = []
_exiting = threading.Lock()


def set_up(connection: socket.socket, log_path: str, confinement: Confinement) -> None:
    """Detach from the daemon's terminal, redirect output to the log, and end with the daemon.

    The worker leads a session of its own: signals from the daemon's terminal do not reach it, and
    its descendants belong to a process group that can be killed with it.
    """
    os.setsid()
    adopt_orphans()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [file_leases.SIGNAL])  # before threads exist
    redirect_output(log_path)
    confine(confinement)  # before threads exist, because it applies to the calling thread
    faulthandler.enable()
    seed_generators()
    _exit_with_daemon(connection)


def seed_generators() -> None:
    """Give the generators of random numbers new seeds, as in a process that was not forked.

    Python's own is seeded by each fork.
    """
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed()
    if (torch := sys.modules.get("torch")) is not None:
        torch.default_generator.seed()


def redirect_output(log_path: str) -> None:
    """Redirect stdout and stderr to a file, or to /dev/null if it cannot be opened."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    try:
        descriptor = os.open(log_path, flags, 0o600)
    except OSError:  # the disk is full or read-only, which must not break a model
        descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout, sys.stderr = lossy_stream(1), lossy_stream(2)


def _exit_with_daemon(connection: socket.socket) -> None:
    """End the process when the daemon closes the connection, also during a computation."""
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLRDHUP)

    def watch() -> None:
        while not poller.poll(_CHECK_MILLISECONDS):
            reap_zombies()
        exit_process()

    threading.Thread(target=watch, name="watch-daemon", daemon=True).start()


def at_exit(do: Callable[[], None]) -> None:
    """Register a function to call when this process ends by itself."""
    _exit_callbacks.append(do)


def exit_process(code: int = 0) -> NoReturn:
    """End the process and its descendants, whatever threads are running; the first call counts."""
    _exiting.acquire()
    for do in _exit_callbacks:
        with contextlib.suppress(BaseException):
            do()
    end_descendants()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # closed by the model, or the disk is full
            stream.flush()
    os._exit(code)


def take_device(device: DeviceGrant) -> None:
    """Make the granted device the only one that frameworks can see."""
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    if device.kind == "cuda":
        granted_gpu.announce(device.uuid, device.index, device.memory_bytes, device.total_bytes)
    else:
        granted_gpu.announce_none()
    if device.cores:
        os.sched_setaffinity(0, device.cores)
    threads = len(os.sched_getaffinity(0))
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if (torch := sys.modules.get("torch")) is not None and torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def open_context() -> None:
    """Create the CUDA context of this process, which takes a while.

    All frameworks of the process share it.
    """
    torch = importlib.import_module("torch")
    torch.zeros(1, device="cuda")
    torch.cuda.synchronize()
