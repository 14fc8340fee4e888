"""The replies that clients leave unread, over all connections.

A large answer is memory of a worker, which the daemon holds until it is sent. A client that does
not read, because it is stopped or means harm, would have the daemon hold any number of them, with a
descriptor each. While there are more than may be, a client that reads nothing is disconnected.
"""

import asyncio

import msgspec

from sired.server.closable import ClosableConnection

# Seconds for which a client may read nothing while there is too much.
STALLED_SECONDS = 10.0
_CHECK_SECONDS = 1.0


class _Unread(msgspec.Struct, eq=False):
    size: int
    since: float


class UnreadReplies:
    """Bounds their bytes.

    Args:
        limit: bytes of all of them together.

    Attributes:
        descriptors_short: whether none may be left, because each takes a descriptor.
    """

    def __init__(self, limit: int) -> None:
        self.descriptors_short = False
        self._limit = limit
        self._unread: dict[ClosableConnection, _Unread] = {}
        self._total = 0
        self._check: asyncio.TimerHandle | None = None

    def note(
        self, connection: ClosableConnection, size: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Note how many bytes a client has left unread; if they are fewer, it has read some."""
        known = self._unread.get(connection)
        self._total += size - (0 if known is None else known.size)
        if not size:
            self._unread.pop(connection, None)
        elif known is None:
            self._unread[connection] = _Unread(size, loop.time())
        else:
            if size < known.size:
                known.since = loop.time()
            known.size = size
        if self._too_much and self._check is None:
            self._check = loop.call_later(_CHECK_SECONDS, self._close_stalled, loop)

    @property
    def _too_much(self) -> bool:
        return self._total > (0 if self.descriptors_short else self._limit)

    def _close_stalled(self, loop: asyncio.AbstractEventLoop) -> None:
        self._check = None
        for connection, unread in list(self._unread.items()):
            if self._too_much and loop.time() - unread.since > STALLED_SECONDS:
                connection.close()
        if self._too_much:
            self._check = loop.call_later(_CHECK_SECONDS, self._close_stalled, loop)
