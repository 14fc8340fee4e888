"""Which processes are connected, and when one of them has ended.

ZeroMQ does not report that a client has gone away. The kernel does: a process is watched from its
first request over a connection until it ends.
"""

import asyncio
import os
from collections.abc import Callable


class Peers:
    """The processes behind the connections.

    Args:
        loop: the event loop in which processes are watched.
        gone: called with the connections of a process that has ended.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, gone: Callable[[frozenset[bytes]], None]
    ) -> None:
        self._loop = loop
        self._gone = gone
        self._known: set[bytes] = set()
        self._by_pid: dict[int, tuple[int, set[bytes]]] = {}

    def watch(self, connection: bytes, find_pid: Callable[[], int | None]) -> None:
        """Watch the process behind a connection; ``find_pid`` is called for a new one only."""
        if connection in self._known:
            return
        self._known.add(connection)
        pid = find_pid()
        if pid is None:  # in another container, for instance
            return
        if pid not in self._by_pid:
            try:
                pidfd = os.pidfd_open(pid)
            except OSError as problem:
                self._known.discard(connection)
                if not isinstance(problem, ProcessLookupError):  # out of descriptors: retry later
                    return
                self._loop.call_soon(self._gone, frozenset((connection,)))
                return
            self._by_pid[pid] = pidfd, set()
            self._loop.add_reader(pidfd, self._ended, pid)
        self._by_pid[pid][1].add(connection)

    def is_connected(self, connection: bytes) -> bool:
        """Whether a connection is known and its process has not ended."""
        return connection in self._known

    def _ended(self, pid: int) -> None:
        pidfd, connections = self._by_pid.pop(pid)
        self._loop.remove_reader(pidfd)
        os.close(pidfd)
        self._known -= connections
        self._gone(frozenset(connections))
