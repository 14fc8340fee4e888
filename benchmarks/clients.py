"""The clients of the benchmarks; the only module that knows how requests are sent to sire."""

from collections.abc import Callable
from typing import Protocol

from benchmarks.workloads import Workload
from sire.client.connection import Connection
from sire.protocol.content import Buffer


class Client(Protocol):
    """A connection to one server, for one thread."""

    def ask(self, data: bytes) -> Buffer:
        """Send one input's bytes, wait, and return the bytes of the answer."""

    def close(self) -> None:
        """Close the connection."""


# Opens a client; can be pickled, since the processes that ask together each open their own.
Connect = Callable[[], Client]


class SireClient:
    """sire's Python client with tensors as bytes: what a program with arrays of its own uses."""

    def __init__(self, workload: Workload) -> None:
        self._connection = Connection(autostart=False)
        self._request = workload.request

    def ask(self, data: bytes) -> Buffer:
        """One prediction."""
        _, frames = self._connection.predict(self._request, [data])
        return frames[0]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
