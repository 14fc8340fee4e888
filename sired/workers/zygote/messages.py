"""What the daemon and the zygote say to each other, one packet of a socket pair each.

1. The zygote says ``READY`` once it has imported everything.
2. A ``Fork`` comes with two descriptors: the connection of the new worker, and a socket on which
   the zygote reports about it. The first report is ``Forked``, with a pidfd, or ``NotForked``; the
   second one is ``Ended``.
"""

import select
import socket

import msgspec

from sired.workers.confinement import Confinement

READY = b"ready"
# The longest path is 4 KiB.
_LARGEST = 16 << 10
_CLOSE_ON_EXEC = int(socket.MSG_CMSG_CLOEXEC)


class Fork(msgspec.Struct, frozen=True):
    """A request for a worker.

    Attributes:
        log: path of the file that its output goes to.
    """

    log: str
    confinement: Confinement


class Forked(msgspec.Struct, frozen=True, tag=True):
    """The worker exists, under this process id."""

    pid: int


class NotForked(msgspec.Struct, frozen=True, tag=True):
    """There is no worker: the system refused the fork, with this error number."""

    error: int


class Ended(msgspec.Struct, frozen=True, tag=True):
    """The worker has ended, with this exit code; negative for a signal."""

    code: int


Report = Forked | NotForked | Ended


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets for packets."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(end: socket.socket, message: Fork | Report, *descriptors: int) -> None:
    """Send a message and descriptors.

    Raises:
        OSError: the peer has closed the connection.
    """
    socket.send_fds(end, [msgspec.msgpack.encode(message)], descriptors)


def receive(end: socket.socket) -> tuple[bytes, list[int]]:
    """Wait for a packet and its descriptors; an empty one if the peer has closed the connection."""
    packet, descriptors, _, _ = socket.recv_fds(end, _LARGEST, 2, _CLOSE_ON_EXEC)
    return packet, descriptors


def arrives(end: socket.socket, seconds: float) -> bool:
    """Wait for something to receive, if only the end of the connection; False after that time."""
    poller = select.poll()
    poller.register(end, select.POLLIN)
    return bool(poller.poll(seconds * 1000))
