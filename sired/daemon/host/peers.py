"""Which processes are connected, and when one of them has ended.

A connection stays open while any process holds it: those that a killed client has forked, for
instance. So the client is watched as well, from its first request until it ends.
"""

import asyncio
import os
from collections.abc import Callable


class Peers:
    """The processes behind the connections.

    Args:
        loop: the event loop in which processes are watched.
        gone: called with connections that are closed, or whose process has ended.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, gone: Callable[[frozenset[bytes]], None]
    ) -> None:
        self._loop = loop
        self._gone = gone
        # The process of each connection; None if it is not watched.
        self._known: dict[bytes, int | None] = {}
        self._by_pid: dict[int, tuple[int, set[bytes]]] = {}

    def watch(self, connection: bytes, find_pid: Callable[[bytes], int | None]) -> None:
        """Watch the process behind a connection; ``find_pid`` is called for a new one only."""
        if connection in self._known:
            return
        self._known[connection] = None
        pid = find_pid(connection)
        if pid is None:  # in another container, for instance
            return
        if pid not in self._by_pid:
            try:
                pidfd = os.pidfd_open(pid)
            except OSError as problem:
                del self._known[connection]
                if not isinstance(problem, ProcessLookupError):  # out of descriptors: retry later
                    return
                self._loop.call_soon(self._gone, frozenset((connection,)))
                return
            self._by_pid[pid] = pidfd, set()
            self._loop.add_reader(pidfd, self._ended, pid)
        self._by_pid[pid][1].add(connection)
        self._known[connection] = pid

    def is_connected(self, connection: bytes) -> bool:
        """Whether a connection is known and its process has not ended."""
        return connection in self._known

    def owner(self, connection: bytes) -> str:
        """What all connections of a process have in common; a connection's own if it is unknown."""
        pid = self._known.get(connection)
        return connection.hex() if pid is None else f"pid {pid}"

    def disconnected(self, connection: bytes) -> None:
        """Note that a connection was closed; its process is watched while it has others."""
        if connection not in self._known:
            return
        if (pid := self._known.pop(connection)) is not None:
            pidfd, connections = self._by_pid[pid]
            connections.discard(connection)
            if not connections:
                self._stop_watching(pid, pidfd)
        self._gone(frozenset((connection,)))

    def _ended(self, pid: int) -> None:
        pidfd, connections = self._by_pid[pid]
        self._stop_watching(pid, pidfd)
        for connection in connections:
            del self._known[connection]
        self._gone(frozenset(connections))

    def _stop_watching(self, pid: int, pidfd: int) -> None:
        del self._by_pid[pid]
        self._loop.remove_reader(pidfd)
        os.close(pidfd)
