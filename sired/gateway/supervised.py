"""A gateway that the daemon keeps: it reports when it is ready, and ends with the daemon."""

import contextlib
import ctypes
import os
import signal

import msgspec

from sire.protocol.services import GatewayReport

_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; exit if it has ended already.

    At once, since the next daemon wants the address, and no request can be answered any more.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


class Reporter:
    """Tells the daemon once where this process listens, or why it cannot.

    Args:
        descriptor: of a pipe to the daemon; None if none waits.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def send(self, report: GatewayReport) -> None:
        """Send the report, unless one has been sent."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):  # the daemon has ended
                os.write(descriptor, msgspec.json.encode(report))
            os.close(descriptor)
