"""Which processes ask, and when one of them has ended.

ZeroMQ does not tell when a client goes away. The kernel does: whoever asks for the first time over
a connection has their process watched until its end.
"""

import asyncio
import os
from collections.abc import Callable


class Peers:
    """The processes behind the connections.

    Args:
        loop: the event loop to listen in.
        gone: called with the connections of a process that has ended.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, gone: Callable[[frozenset[bytes]], None]
    ) -> None:
        self._loop = loop
        self._gone = gone
        self._known: set[bytes] = set()
        self._by_pid: dict[int, tuple[int, set[bytes]]] = {}

    def see(self, connection: bytes, find_pid: Callable[[], int | None]) -> None:
        """A message came over this connection; ``find_pid`` is asked for the first one only."""
        if connection in self._known:
            return
        self._known.add(connection)
        pid = find_pid()
        if pid is None:  # of another container, for instance
            return
        if pid not in self._by_pid:
            try:
                pidfd = os.pidfd_open(pid)
            except OSError as problem:
                self._known.discard(connection)
                if not isinstance(problem, ProcessLookupError):  # out of descriptors: next time
                    return
                self._loop.call_soon(self._gone, frozenset((connection,)))
                return
            self._by_pid[pid] = pidfd, set()
            self._loop.add_reader(pidfd, self._ended, pid)
        self._by_pid[pid][1].add(connection)

    def knows(self, connection: bytes) -> bool:
        """Whether this connection has been seen, and nobody has ended who could read from it."""
        return connection in self._known

    def _ended(self, pid: int) -> None:
        pidfd, connections = self._by_pid.pop(pid)
        self._loop.remove_reader(pidfd)
        os.close(pidfd)
        self._known -= connections
        self._gone(frozenset(connections))
