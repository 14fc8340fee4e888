"""What a worker makes of the process it finds itself in, before it loads anything."""

import contextlib
import ctypes
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

from sired.workers.confinement import Confinement, confine
from sired.workers.descendants import adopt_orphans, end_descendants, forget_the_dead
from sired.workers.log_files import forgiving
from sired.workers.messages import DeviceGrant

_PR_SET_NAME = 15
_A_MINUTE = 60_000
_before_leaving: list[Callable[[], None]] = []
_leaving = threading.Lock()


def settle_in(line: socket.socket, log_path: str, confinement: Confinement) -> None:
    """Leave the daemon's terminal, print to the log, and end when the other end of ``line`` does.

    The worker leads a session of its own: signals from the daemon's terminal do not reach it, and
    what the model starts belongs to a group that can be ended with it.
    """
    os.setsid()
    adopt_orphans()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print_to(log_path)
    confine(confinement)  # before there are threads, each of which would have to
    faulthandler.enable()
    _exit_with_the_daemon(line)


def print_to(log_path: str) -> None:
    """Have everything that is printed from now on go to this file, or nowhere if it cannot be."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    try:
        descriptor = os.open(log_path, flags, 0o600)
    except OSError:  # the disk is full or read-only: that must not keep a model from its work
        descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout, sys.stderr = forgiving(1), forgiving(2)


def _exit_with_the_daemon(line: socket.socket) -> None:
    """End the process when the other end closes, also in the middle of a computation."""
    poller = select.poll()
    poller.register(line.fileno(), select.POLLRDHUP)

    def watch() -> None:
        while not poller.poll(_A_MINUTE):
            forget_the_dead()
        leave()

    threading.Thread(target=watch, name="watch-daemon", daemon=True).start()


def before_leaving(do: Callable[[], None]) -> None:
    """Have something done when this process ends by itself."""
    _before_leaving.append(do)


def leave(code: int = 0) -> NoReturn:
    """End the process, whatever threads the model left running in it; whoever is first does it."""
    _leaving.acquire()
    for do in _before_leaving:
        with contextlib.suppress(BaseException):
            do()
    end_descendants()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # closed by the model, or the disk is full
            stream.flush()
    os._exit(code)


def take_device(device: DeviceGrant) -> None:
    """Make the granted device the only one that the frameworks see."""
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    os.environ["CUDA_VISIBLE_DEVICES"] = device.uuid if device.kind == "cuda" else ""
    if device.cores:
        os.sched_setaffinity(0, device.cores)
    threads = len(os.sched_getaffinity(0))
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if (torch := sys.modules.get("torch")) is not None and torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def name_process(name: str) -> None:
    """Have ps and top show the process under a name."""
    # The kernel keeps 15 bytes of it.
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def open_context() -> None:
    """Have CUDA make this process's context on the one GPU it sees, which takes a while.

    Other frameworks than PyTorch use the same one.
    """
    torch = importlib.import_module("torch")
    torch.zeros(1, device="cuda")
    torch.cuda.synchronize()
