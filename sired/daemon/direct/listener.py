"""The socket at which clients ask for direct connections."""

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
from sire.protocol.requests import PROTOCOL_VERSION
from sire.transport.channel import INLINE_LIMIT, Channel

log = logging.getLogger(__name__)

# Accepted connections that have sent nothing yet: beyond this the oldest is closed.
MOST_SILENT = 64
BACKLOG = 128
# After none could be accepted.
PAUSE_SECONDS = 1.0
_CREDENTIALS = struct.Struct("3i")


class DirectAccess(Protocol):
    """What the listener needs of the daemon."""

    def connect(self, model: str, connection: socket.socket) -> int | None:
        """Pass a connection to a worker of a model; its number, or None for not now."""

    def terms(self) -> tuple[float, int]:
        """The timeout in seconds and the largest request in bytes, as ``Opened`` has them."""


class DirectListener:
    """Accepts connections, reads which model each is for, and has it connected to a worker.

    Args:
        loop: the event loop to listen in.
        path: of the socket.
        access: passes connections to workers, and knows the terms they are opened under.
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
        """Stop listening, and close what has not been passed on."""
        for descriptor in list(self._silent):
            self._dismiss(descriptor)
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError as problem:  # such as no descriptors left: it would recur at once
            log.warning("a direct connection could not be taken: %s", problem)
            self._loop.remove_reader(self._socket.fileno())
            self._loop.call_later(PAUSE_SECONDS, self._listen_again)
            return
        if _uid(connection) != os.getuid():
            log.warning("a direct connection of uid %d was refused", _uid(connection))
            connection.close()
            return
        if len(self._silent) >= MOST_SILENT:
            self._dismiss(next(iter(self._silent)))
        self._silent[connection.fileno()] = connection
        self._loop.add_reader(connection.fileno(), self._listen, connection)

    def _listen_again(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.add_reader(self._socket.fileno(), self._accept)

    def _listen(self, connection: socket.socket) -> None:
        """Read which model a client wants, and have it connected if possible."""
        self._dismiss(connection.fileno(), close=False)
        channel: Channel[OpenDirect] = Channel(connection, OpenDirect, largest=INLINE_LIMIT)
        with contextlib.suppress(EOFError, OSError, SireError):
            received = channel.try_receive()
            wanted = received[0] if received is not None else None
            known = wanted is not None and wanted.v == PROTOCOL_VERSION
            number = self._access.connect(wanted.model, connection) if wanted and known else None
            if number is not None:
                with contextlib.suppress(OSError):  # it has left, which will be noticed
                    channel.try_send(Opened(number, *self._access.terms()))
                return
            channel.try_send(NotNow())
        connection.close()

    def _dismiss(self, descriptor: int, *, close: bool = True) -> None:
        connection = self._silent.pop(descriptor)
        self._loop.remove_reader(descriptor)
        if close:
            connection.close()


def _uid(connection: socket.socket) -> int:
    """The user id of the process at the other end."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(credentials)[1])
