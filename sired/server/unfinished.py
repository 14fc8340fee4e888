"""The messages that have begun and not ended, over all connections.

What a client announces is received in the place where it stays, so that a process which begins many
large messages and ends none would fill the daemon. Together they have room for as much as may be
queued. A connection for whose message there is no room is not read meanwhile; the kernel has the
rest. One that holds room which others wait for, and sends nothing, is closed.
"""

import time
from collections.abc import Callable

import msgspec

from sired.server.closable import ClosableConnection

# Bytes of an unfinished message that are not counted.
SMALL = 64 * 1024
# While others wait: how long a message may make no progress, and how long it may take.
STALLED_SECONDS = 5.0
LONGEST_SECONDS = 60.0


class _Begun(msgspec.Struct, eq=False):
    size: int
    since: float
    progressed: float


class UnfinishedMessages:
    """Bounds their bytes.

    Args:
        limit: bytes of all of them together. One alone may have more.
        clock: returns seconds.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._begun: dict[ClosableConnection, _Begun] = {}
        self._total = 0

    def may_read(self, connection: ClosableConnection, size: int) -> bool:
        """Whether there is room for a connection's unfinished message; if not, ask again later.

        Args:
            connection: that has made progress, or asks again.
            size: bytes of the message as far as it is known.
        """
        if size <= SMALL:
            self.forget(connection)
            return True
        now = self._clock()
        begun = self._begun.get(connection)
        others = self._total - (begun.size if begun is not None else 0)
        if others and others + size > self._limit:
            self._close_stalled(connection, now)
            return False
        if begun is None:
            begun = self._begun[connection] = _Begun(0, now, now)
        self._total += size - begun.size
        begun.size, begun.progressed = size, now
        return True

    def forget(self, connection: ClosableConnection) -> None:
        """Forget a message that has ended, or whose connection has."""
        if (begun := self._begun.pop(connection, None)) is not None:
            self._total -= begun.size

    def _close_stalled(self, waiting: ClosableConnection, now: float) -> None:
        for connection, begun in list(self._begun.items()):
            stalled = now - begun.progressed > STALLED_SECONDS
            if connection is not waiting and (stalled or now - begun.since > LONGEST_SECONDS):
                self.forget(connection)
                connection.close()
