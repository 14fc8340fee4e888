"""Who holds which lease, and whether they still live."""

import asyncio
import os
from collections.abc import Callable

from sired.server.front import Client


class Holders:
    """The holders of leases; one whose process is gone gives its instance back.

    Args:
        loop: the event loop to listen in.
        gone: called with each lease of a holder that is gone.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, gone: Callable[[int], None]) -> None:
        self._loop = loop
        self._gone = gone
        self._pidfds: dict[int, int] = {}
        self._asked_by: dict[Client, int] = {}

    def add(self, lease: int, client: Client, pid: int | None) -> None:
        """A lease was granted; ``pid`` is None where the system does not tell who asked."""
        self._asked_by[client] = lease
        if pid is None:
            return
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:  # gone before it was granted
            self._loop.call_soon(self._ended, lease)
            return
        self._pidfds[lease] = pidfd
        self._loop.add_reader(pidfd, self._ended, lease)

    def lease_of(self, client: Client) -> int | None:
        """The lease that was granted to this request, if it is still held."""
        return self._asked_by.get(client)

    def remove(self, lease: int) -> None:
        """A lease was given back."""
        self._asked_by = {who: held for who, held in self._asked_by.items() if held != lease}
        if (pidfd := self._pidfds.pop(lease, None)) is not None:
            self._loop.remove_reader(pidfd)
            os.close(pidfd)

    def _ended(self, lease: int) -> None:
        self.remove(lease)
        self._gone(lease)
