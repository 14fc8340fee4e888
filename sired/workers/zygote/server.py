"""The main function of the zygote's process: import what workers need, then fork them.

It ends when the daemon closes its end of the socket, also while it imports.
"""

import fcntl
import importlib
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from typing import NoReturn

import msgspec

from sired.runtimes.support.exit_status import exit_code
from sired.workers.process_name import name_process
from sired.workers.zygote import messages
from sired.workers.zygote.huge_pages import HugePages
from sired.workers.zygote.messages import READY, Ended, Fork, Forked, NotForked
from sired.workers.zygote.worker import run_worker

NAME = "sired:zygote"


def main() -> None:
    """Serve on the socket whose descriptor is the first argument.

    The second argument names the runtimes to import, separated by commas.
    """
    name_process(NAME)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal that the daemon runs in
    number, runtimes = sys.argv[1:]
    del sys.argv[1:]
    control = socket.socket(fileno=int(number))
    control.set_inheritable(False)
    with suppress(OSError):  # the daemon has ended
        _end_with_daemon(control, at_once=True)
        importlib.import_module("sired.workers.zygote.preload").preload(runtimes.split(","))
        _end_with_daemon(control, at_once=False)
        control.send(READY)
        ForkServer(control).run()


def _end_with_daemon(control: socket.socket, *, at_once: bool) -> None:
    """Have the kernel end this process at once when the daemon closes the socket, or no longer.

    It sends SIGIO then. It would for a packet as well, but the daemon sends none before this
    process is ready.

    Raises:
        OSError: the daemon has closed it already.
    """
    flags = fcntl.fcntl(control, fcntl.F_GETFL)
    flags = flags | os.O_ASYNC if at_once else flags & ~os.O_ASYNC
    fcntl.fcntl(control, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(control, fcntl.F_SETFL, flags)
    if messages.arrives(control, 0):
        raise ConnectionResetError


class ForkServer:
    """Forks a worker per request, and reports how each has ended.

    It is the parent of its workers. If it ends before them, the daemon becomes their parent.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        # By the pidfd of a worker, the socket to report on.
        self._reports: dict[int, socket.socket] = {}
        self._poller = select.poll()
        self._poller.register(control, select.POLLIN)
        self._huge_pages = HugePages()

    def run(self) -> None:
        """Serve until the daemon closes the connection.

        Raises:
            OSError: it closed the connection, and left a request unanswered.
        """
        while True:
            pause = self._huge_pages.pause
            found = self._poller.poll(None if pause is None else pause * 1000)
            if not found:
                self._huge_pages.collapse_next()
            for descriptor, _ in found:
                if descriptor in self._reports:
                    self._report_end(descriptor)
                elif not self._serve():
                    return

    def _serve(self) -> bool:
        """Serve a request; False if the daemon has closed the connection."""
        packet, descriptors = messages.receive(self._control)
        if not packet:
            return False
        request = msgspec.msgpack.decode(packet, type=Fork)
        connection, report = (socket.socket(fileno=each) for each in descriptors)
        try:
            pid = os.fork()
        except OSError as problem:  # another zygote could do no better
            with connection, report, suppress(OSError):
                messages.send(report, NotForked(problem.errno or 0))
            return True
        if pid == 0:
            report.close()
            self._become_worker(request, connection)
        connection.close()
        self._watch(pid, report)
        self._huge_pages.wait()
        return True

    def _become_worker(self, request: Fork, connection: socket.socket) -> NoReturn:
        """In the new process: leave behind what belongs to the zygote."""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._control.close()
        for pidfd, report in self._reports.items():
            os.close(pidfd)
            report.close()
        run_worker(connection, request.log, request.confinement)

    def _watch(self, pid: int, report: socket.socket) -> None:
        # Only this process reaps the worker, so that until then its id is not another one's.
        pidfd = os.pidfd_open(pid)
        self._reports[pidfd] = report
        self._poller.register(pidfd, select.POLLIN)
        with suppress(OSError):  # the daemon no longer waits for it
            messages.send(report, Forked(pid), pidfd)

    def _report_end(self, pidfd: int) -> None:
        self._poller.unregister(pidfd)
        found = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        os.close(pidfd)
        assert found is not None
        with self._reports.pop(pidfd) as report, suppress(OSError):
            messages.send(report, Ended(exit_code(found)))
