"""The socket at which clients ask for direct connections."""

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from sire.errors import SireError
from sire.protocol.direct import NotNow, OpenDirect, Opened
from sire.protocol.requests import PROTOCOL_VERSION
from sire.transport.channel import INLINE_LIMIT, Channel

log = logging.getLogger(__name__)

# Connections that have been taken and said nothing yet: the oldest has to go.
MOST_SILENT = 64
BACKLOG = 128
# After none could be taken.
PAUSE_SECONDS = 1.0
_CREDENTIALS = struct.Struct("3i")


class DirectListener:
    """Takes connections, hears whom they are for, and leads them there.

    Args:
        loop: the event loop to listen in.
        path: of the socket.
        lead: takes a connection to a worker of the model; its number, or None for not now.
        terms: the timeout and the largest request, as ``Opened`` has them.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: Path,
        lead: Callable[[str, socket.socket], int | None],
        terms: Callable[[], tuple[float, int]],
    ) -> None:
        self._loop = loop
        self._path = path
        self._lead = lead
        self._terms = terms
        self._silent: dict[int, socket.socket] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def open(self) -> None:
        """Listen from now on."""
        self._path.unlink(missing_ok=True)  # the lock says that it is nobody's
        self._socket.bind(str(self._path))
        self._socket.listen(BACKLOG)
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket.fileno(), self._accept)

    def close(self) -> None:
        """Listen no longer."""
        for descriptor in list(self._silent):
            self._dismiss(descriptor)
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError as problem:  # out of descriptors, perhaps: it would be told again at once
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
        """Hear whom a client wants, and lead it there if that can be."""
        self._dismiss(connection.fileno(), close=False)
        channel: Channel[OpenDirect] = Channel(connection, OpenDirect, largest=INLINE_LIMIT)
        with contextlib.suppress(EOFError, OSError, SireError):
            received = channel.try_receive()
            wanted = received[0] if received is not None else None
            known = wanted is not None and wanted.v == PROTOCOL_VERSION
            number = self._lead(wanted.model, connection) if wanted and known else None
            if number is not None:
                with contextlib.suppress(OSError):  # it has left, and will be missed
                    channel.try_send(Opened(number, *self._terms()))
                return
            channel.try_send(NotNow())
        connection.close()

    def _dismiss(self, descriptor: int, *, close: bool = True) -> None:
        connection = self._silent.pop(descriptor)
        self._loop.remove_reader(descriptor)
        if close:
            connection.close()


def _uid(connection: socket.socket) -> int:
    """Whose process is at the other end."""
    said = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(said)[1])
