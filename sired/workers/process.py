"""A worker process, from the daemon's side."""

import contextlib
import os
import signal
from pathlib import Path

import msgspec

from sire.transport.channel import Channel
from sired.runtimes.needs import runtimes_needed
from sired.runtimes.support.exit_status import described
from sired.workers import log_files
from sired.workers.messages import EstimateModel, FromWorker, LoadModel, StandBy
from sired.workers.zygote.handles import ProcessHandle
from sired.workers.zygote.zygote import Zygote

# The first message to a worker.
First = LoadModel | StandBy | EstimateModel


class WorkerProcess:
    """One worker; its pidfd becomes readable when the process has ended.

    Attributes:
        pid: its process id.
        channel: the connection to it.
        log: the file that its output goes to.
    """

    def __init__(
        self, process: ProcessHandle, channel: Channel[FromWorker], log: Path, log_start: int
    ) -> None:
        self.pid = process.pid
        self.channel = channel
        self._process = process
        self.log = log
        self._log_start = log_start

    @property
    def pidfd(self) -> int:
        """A descriptor of the process, which is never reused for another one; -1 once closed."""
        return self._process.pidfd

    def take_over(self, job: LoadModel, log: Path) -> None:
        """Have a standby worker load a model; its output goes to ``log`` from now on."""
        self.log, self._log_start = log, _begin_log(log)
        _send(self.channel, msgspec.structs.replace(job, log=str(log)))

    def terminate(self) -> None:
        """Close the connection, which makes the worker end."""
        self.channel.close()

    def kill(self) -> None:
        """Kill the process."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        self.channel.close()

    def exit_status(self) -> str:
        """How the process ended, such as "exit code 1"; call it once the pidfd is readable."""
        code = self._process.exit_code()
        return "exit code unknown" if code is None else described(code)

    def last_lines(self, count: int = 10) -> list[str]:
        """The last lines of its output; after a crash by a signal, its innermost calls."""
        return log_files.last_lines(self.log, self._log_start, count)

    def close(self) -> None:
        """Close all descriptors and kill what the model started; the process itself has ended."""
        self.channel.close()
        # It led a process group, whose id is not reused while the group has members.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.close()


def start_worker(zygote: Zygote, first: First, log: Path) -> WorkerProcess:
    """Fork a worker and send it its first message.

    Blocks while the zygote is importing what the worker needs.

    Raises:
        OSError: no process could be started.
    """
    log_start = _begin_log(log)
    process, connection = zygote.start(log, _runtimes_of(first))
    channel: Channel[FromWorker] = Channel(connection, FromWorker)
    worker = WorkerProcess(process, channel, log, log_start)
    _send(channel, first)
    return worker


def _runtimes_of(first: First) -> frozenset[str]:
    """The runtimes that a worker is going to import; a standby worker's are there already."""
    if isinstance(first, StandBy):
        return frozenset()
    on_gpu = isinstance(first, LoadModel) and first.device.kind == "cuda"
    return runtimes_needed(first.spec, on_gpu=on_gpu)


def _send(channel: Channel[FromWorker], message: First) -> None:
    # The end of a process this early is detected through its pidfd.
    with contextlib.suppress(OSError):
        channel.send(message)


def _begin_log(log: Path) -> int:
    """Trim a long log; returns the offset at which new output begins."""
    if log.is_symlink():  # its target is not a log of this worker
        log.unlink()
    log_files.trim(log)
    return log.stat().st_size if log.exists() else 0
