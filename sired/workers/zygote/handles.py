"""The daemon's handle of a worker's process, however that was started."""

import contextlib
import os
import socket
import subprocess
from collections.abc import Callable

import msgspec

from sired.runtimes.support.exit_status import exit_code
from sired.workers.descendants import add_worker, remove_worker
from sired.workers.zygote.messages import Ended, Report, arrives, receive

# What has ended is reported at once, unless the zygote hangs.
_EXIT_CODE_SECONDS = 1.0


class ProcessHandle:
    """A process that may be our child or the zygote's.

    Attributes:
        pid: its process id.
        pidfd: becomes readable when it has ended; -1 once closed.
    """

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.pidfd = pidfd
        add_worker(pid)

    def exit_code(self) -> int | None:
        """Its exit code, negative for a signal, once it has ended; None if it is not known."""
        with contextlib.suppress(ChildProcessError):
            found = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return None if found is None else exit_code(found)
        return None

    def close(self) -> None:
        """Reap it, and close all descriptors; it has ended."""
        with contextlib.suppress(ChildProcessError):  # the zygote reaps it
            os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG)
        remove_worker(self.pid)
        os.close(self.pidfd)
        self.pidfd = -1


class ForkedProcess(ProcessHandle):
    """A child of the zygote.

    Args:
        report: the socket on which the zygote reports how it has ended.
        join_zygote: waits for some seconds until the zygote has ended.
    """

    def __init__(
        self, pid: int, pidfd: int, report: socket.socket, join_zygote: Callable[[float], None]
    ) -> None:
        super().__init__(pid, pidfd)
        self._report = report
        self._join_zygote = join_zygote

    def exit_code(self) -> int | None:
        """As the zygote reports it, or the kernel where the zygote ended before."""
        if arrives(self._report, _EXIT_CODE_SECONDS):
            with contextlib.suppress(OSError):
                packet, _ = receive(self._report)
                if packet:
                    ended: Report = msgspec.msgpack.decode(packet, type=Report)
                    return ended.code if isinstance(ended, Ended) else None
            self._join_zygote(_EXIT_CODE_SECONDS)  # from then on it is our child
        return super().exit_code()

    def close(self) -> None:
        """As for any process."""
        super().close()
        self._report.close()


class SpawnedProcess(ProcessHandle):
    """A child of this process.

    Raises:
        OSError: no descriptor is left.
    """

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        super().__init__(process.pid, os.pidfd_open(process.pid))
        self._process = process

    def close(self) -> None:
        """As for any process."""
        self._process.wait()
        super().close()
