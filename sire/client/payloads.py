"""Large payloads, which a client passes to the daemon in sealed memory of its own.

Through the daemon's first socket a payload is copied into the kernel, out of it, and to the worker.
Memory is written once here and mapped by the worker; while a request waits, the daemon holds no
more than its descriptor.
"""

import os
import socket
import time
from collections.abc import Sequence
from itertools import count

import msgspec

from sire.client.direct.exchange import OPENING_SECONDS
from sire.client.heartbeat import daemon_stopped
from sire.errors import SireError
from sire.paths import Paths
from sire.protocol.content import Buffer
from sire.protocol.direct import FromListener, OpenPayloads, PayloadFollows, PayloadsOpened
from sire.protocol.message import PROTOCOL_VERSION, PayloadReference
from sire.transport import sealed_frames
from sire.transport.channel import Channel

# Bytes. Smaller payloads take longer this way.
SMALLEST = 256 * 1024
# Seconds until a connection is requested again that was not granted.
_PAUSE_SECONDS = 10.0


class PayloadSender:
    """A connection for payloads, opened when the first one is passed.

    Args:
        paths: the daemon's second socket.
    """

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._numbers = count(1)
        self._connection = 0
        self._channel: Channel[FromListener] | None = None
        self._not_before = 0.0

    def close(self) -> None:
        """Close the connection; payloads that no request has referred to yet are lost."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def put(self, payload: Sequence[Buffer], seconds: float) -> PayloadReference | None:
        """Pass a payload; None if it has to be sent after the header of its request.

        Waits up to ``seconds`` for the connection, and at most a second; with 0 it has to be open.
        """
        if self._channel is None and seconds > 0:
            self.open(min(seconds, OPENING_SECONDS))
        if self._channel is None:
            return None
        number = next(self._numbers)
        try:
            memory = sealed_frames.write(payload)
            if self._channel.try_send_sealed(PayloadFollows(number), memory):
                return PayloadReference(self._connection, number)
        except OSError:  # the daemon has closed it, or too many descriptors are on their way
            self.close()
            self._not_before = time.monotonic() + _PAUSE_SECONDS
        except SireError:  # no memory or descriptor is left
            pass
        return None

    def open(self, seconds: float = OPENING_SECONDS) -> bool:
        """Request a connection, and wait so long for it; returns whether the daemon grants one."""
        if time.monotonic() < self._not_before or daemon_stopped(self._paths):
            return False
        self._not_before = time.monotonic() + _PAUSE_SECONDS
        line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        channel: Channel[FromListener] = Channel(line, FromListener)
        try:
            channel.set_timeout(seconds)  # of connecting, too: see open_direct
            line.connect(os.fspath(self._paths.direct_socket))
            channel.send(OpenPayloads(PROTOCOL_VERSION))
            answer, _ = channel.receive()
        except (OSError, EOFError, SireError, msgspec.MsgspecError):
            answer = None
        if not isinstance(answer, PayloadsOpened):
            channel.close()
            return False
        self._channel, self._connection = channel, answer.connection
        return True
