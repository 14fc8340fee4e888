"""A worker process as the daemon holds it."""

import contextlib
import os
import signal
import socket
from multiprocessing.process import BaseProcess
from pathlib import Path

import msgspec

from sire.transport.channel import Channel
from sired.workers import log_files
from sired.workers.descendants import spare, spare_no_longer
from sired.workers.messages import EstimateModel, FromWorker, LoadModel, StandBy
from sired.workers.zygote.zygote import Zygote

# What a worker is told first.
First = LoadModel | StandBy | EstimateModel

# The zygote tells how a process ended; it needs a moment after the end.
_TELLING_SECONDS = 1.0
# What multiprocessing makes of an exit that the zygote did not live to tell of.
_LOST = 255


class WorkerProcess:
    """One worker; its pidfd becomes readable when the process is gone.

    Attributes:
        pid: its process id.
        pidfd: a descriptor of the process, which cannot come to mean another one; -1 once closed.
        channel: the line to it.
        log: the file that it prints to.
    """

    def __init__(
        self, process: BaseProcess, channel: Channel[FromWorker], log: Path, log_start: int
    ) -> None:
        assert process.pid is not None
        self.pid: int = process.pid
        spare(self.pid)
        self.pidfd: int = os.pidfd_open(self.pid)
        self.channel = channel
        self._process = process
        self.log = log
        self._log_start = log_start

    def take_over(self, job: LoadModel, log: Path) -> None:
        """Give a worker that stands by its model to load; it prints to ``log`` from now on."""
        self.log, self._log_start = log, _begin_log(log)
        _say(self.channel, msgspec.structs.replace(job, log=str(log)))

    def terminate(self) -> None:
        """Close the line, which the worker takes as its end."""
        self.channel.close()

    def kill(self) -> None:
        """End the process at once, whatever it is doing."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        self.channel.close()

    def exit_status(self) -> str:
        """How the process ended, in words; call it once the pidfd is readable."""
        self._process.join(_TELLING_SECONDS)
        code = self._process.exitcode
        if code is None or code == _LOST:
            code = self._inherited_status()
        if code is None:
            return "nobody could tell how"
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exit code {code}"

    def _inherited_status(self) -> int | None:
        """The exit code of a process that became ours when the zygote ended before it."""
        with contextlib.suppress(ChildProcessError):
            how = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if how is not None:
                return how.si_status if how.si_code == os.CLD_EXITED else -how.si_status
        return None

    def last_lines(self, count: int = 10) -> list[str]:
        """The last lines it printed; where it died of a signal, its innermost calls."""
        return log_files.last_lines(self.log, self._log_start, count)

    def close(self) -> None:
        """Release every descriptor and end what the model started; the process itself is gone."""
        self.channel.close()
        # It led a group of its own, whose number is not given away while the group has members.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.join(_TELLING_SECONDS)
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG)
        spare_no_longer(self.pid)
        os.close(self.pidfd)
        self.pidfd = -1
        with contextlib.suppress(ValueError):  # nobody told, so it counts as running
            self._process.close()


def start_worker(zygote: Zygote, first: First, log: Path) -> WorkerProcess:
    """Fork a worker and tell it what to be. Blocks while the zygote is still importing.

    Raises:
        OSError: no process could be started.
    """
    log_start = _begin_log(log)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel: Channel[FromWorker] = Channel(ours, FromWorker)
    with theirs:
        process = zygote.start(theirs, log)
    worker = WorkerProcess(process, channel, log, log_start)
    _say(channel, first)
    return worker


def _say(channel: Channel[FromWorker], message: First) -> None:
    # A process that died this early is noticed through its pidfd.
    with contextlib.suppress(OSError):
        channel.send(message)


def _begin_log(log: Path) -> int:
    """Put a long log aside; returns where the next line will begin."""
    if log.is_symlink():  # what it leads to is no log of ours
        log.unlink()
    log_files.trim(log)
    return log.stat().st_size if log.exists() else 0
