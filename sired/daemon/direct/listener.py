"""The socket at which clients open direct connections, and connections for payloads."""

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from sire.errors import SireError
from sire.protocol.direct import NotNow, OpenDirect, Opened, PayloadsOpened, ToListener
from sire.protocol.message import PROTOCOL_VERSION
from sire.transport.channel import INLINE_LIMIT, Channel
from sired.daemon.direct.payloads import PassedPayloads

log = logging.getLogger(__name__)

# Accepted connections that have sent nothing yet; if there are more, the oldest is closed.
MAX_SILENT = 64
BACKLOG = 128
# The pause after a failure to accept.
PAUSE_SECONDS = 1.0
# Descriptors are counted again after this many connections.
ACCEPTED_PER_CALL = 16
_CREDENTIALS = struct.Struct("3i")


class DirectAccess(Protocol):
    """What the listener needs from the daemon."""

    def connect(self, name: str, connection: socket.socket) -> tuple[int, str] | None:
        """Pass a connection to a worker of a model, or of the one that an alias stands for.

        Returns:
            The connection's number, and the model; None if the client has to send requests to the
            daemon for now.
        """

    def terms(self) -> tuple[float, int]:
        """The default timeout in seconds, and the largest request in bytes."""


class DirectListener:
    """Accepts connections, reads which model each is for, and has them passed to workers.

    Args:
        loop: the event loop.
        path: the path of the socket.
        access: passes connections to workers, and states the limits of their requests.
        payloads: takes the connections for payloads; closed with the listener.

    Attributes:
        crowded: called after every ``ACCEPTED_PER_CALL`` connections.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: Path,
        access: DirectAccess,
        payloads: PassedPayloads,
    ) -> None:
        self._loop = loop
        self._path = path
        self._access = access
        self._payloads = payloads
        self.crowded: Callable[[], None] = lambda: None
        self._accepted = 0
        self._full = False
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
        self._payloads.close()
        for descriptor in list(self._silent):
            self._forget(descriptor)
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def keep_descriptors(self, *, short: bool) -> None:
        """While few descriptors are left, close new connections, and keep no payloads open."""
        self._full = self._payloads.copying = short

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
        self._accepted += 1
        if self._accepted % ACCEPTED_PER_CALL == 0:
            self.crowded()
        if self._full:
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
        """Read what a client asks for, and pass the connection on if possible."""
        self._forget(connection.fileno(), close=False)
        channel: Channel[ToListener] = Channel(connection, ToListener, largest=INLINE_LIMIT)
        with contextlib.suppress(EOFError, OSError, SireError):
            received = channel.try_receive()
            opened = self._opened(received[0], connection) if received is not None else None
            if opened is not None:
                with contextlib.suppress(
                    OSError
                ):  # the client has disconnected, which is noticed later
                    channel.try_send(opened)
                return
            channel.try_send(NotNow())
        connection.close()

    def _opened(
        self, request: ToListener, connection: socket.socket
    ) -> Opened | PayloadsOpened | None:
        """Pass a connection on; returns what to reply, None if that is not possible now."""
        if request.v != PROTOCOL_VERSION:
            return None
        if isinstance(request, OpenDirect):
            passed = self._access.connect(request.model, connection)
            if passed is None:
                return None
            connection_number, model = passed
            return Opened(connection_number, *self._access.terms(), model)
        number = self._payloads.add(connection)
        return None if number is None else PayloadsOpened(number)

    def _forget(self, descriptor: int, *, close: bool = True) -> None:
        connection = self._silent.pop(descriptor)
        self._loop.remove_reader(descriptor)
        if close:
            connection.close()


def _uid(connection: socket.socket) -> int:
    """The user id of the process at the other end."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(credentials)[1])
