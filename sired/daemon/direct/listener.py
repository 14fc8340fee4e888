"""The socket at which clients open direct connections."""

import asyncio
import contextlib
import logging
import os
import socket
import struct
from pathlib import Path
from typing import Protocol

from sire.errors import SireError
from sire.protocol.direct import NotNow, OpenDirect, Opened
from sire.protocol.message import PROTOCOL_VERSION
from sire.transport.channel import INLINE_LIMIT, Channel

log = logging.getLogger(__name__)

# Accepted connections that have sent nothing yet; if there are more, the oldest is closed.
MAX_SILENT = 64
BACKLOG = 128
# The pause after a failure to accept.
PAUSE_SECONDS = 1.0
_CREDENTIALS = struct.Struct("3i")


class DirectAccess(Protocol):
    """What the listener needs from the daemon."""

    def connect(self, model: str, connection: socket.socket) -> int | None:
        """Pass a connection to a worker of a model.

        Returns:
            The connection's number; None if the client has to send requests to the daemon for now.
        """

    def terms(self) -> tuple[float, int]:
        """The default timeout in seconds, and the largest request in bytes."""


class DirectListener:
    """Accepts connections, reads which model each is for, and has them passed to workers.

    Args:
        loop: the event loop.
        path: the path of the socket.
        access: passes connections to workers, and states the limits of their requests.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: Path,
        access: DirectAccess,
    ) -> None:
        self._loop = loop
        self._path = path
        self._access = access
        self._silent: dict[int, socket.socket] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def open(self) -> None:
        """Start listening."""
        self._path.unlink(missing_ok=True)  # stale: this process holds the lock
        self._socket.bind(str(self._path))
        self._socket.listen(BACKLOG)
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket.fileno(), self._accept)

    def close(self) -> None:
        """Stop listening, and close the connections that have not been passed to a worker."""
        for descriptor in list(self._silent):
            self._forget(descriptor)
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError as problem:  # out of descriptors, for instance: it would recur at once
            log.warning("a direct connection could not be accepted: %s", problem)
            self._loop.remove_reader(self._socket.fileno())
            self._loop.call_later(PAUSE_SECONDS, self._resume)
            return
        if _uid(connection) != os.getuid():
            log.warning("a direct connection from uid %d was rejected", _uid(connection))
            connection.close()
            return
        if len(self._silent) >= MAX_SILENT:
            self._forget(next(iter(self._silent)))
        self._silent[connection.fileno()] = connection
        self._loop.add_reader(connection.fileno(), self._open, connection)

    def _resume(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.add_reader(self._socket.fileno(), self._accept)

    def _open(self, connection: socket.socket) -> None:
        """Read which model a client asks for, and pass the connection to a worker if possible."""
        self._forget(connection.fileno(), close=False)
        channel: Channel[OpenDirect] = Channel(connection, OpenDirect, largest=INLINE_LIMIT)
        with contextlib.suppress(EOFError, OSError, SireError):
            received = channel.try_receive()
            request = received[0] if received is not None else None
            known = request is not None and request.v == PROTOCOL_VERSION
            number = self._access.connect(request.model, connection) if request and known else None
            if number is not None:
                with contextlib.suppress(
                    OSError
                ):  # the client has disconnected, which is noticed later
                    channel.try_send(Opened(number, *self._access.terms()))
                return
            channel.try_send(NotNow())
        connection.close()

    def _forget(self, descriptor: int, *, close: bool = True) -> None:
        connection = self._silent.pop(descriptor)
        self._loop.remove_reader(descriptor)
        if close:
            connection.close()


def _uid(connection: socket.socket) -> int:
    """The user id of the process at the other end."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(credentials)[1])
