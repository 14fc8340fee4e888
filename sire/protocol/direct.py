"""How a client gets a direct connection to a worker.

It connects to the daemon's second socket, says ``OpenDirect`` there and is told ``Opened`` or
``NotNow``. From then on the worker reads from that connection: ``RunModel`` asks, ``RunResult`` or
``WorkerError`` answers, one at a time. The connection may end at any moment; whoever waits for an
answer then asks the daemon why (``requests.WhyEnded``).
"""

import msgspec

from sire.protocol.runs import RunResult, WorkerError


class OpenDirect(msgspec.Struct, frozen=True, tag=True):
    """Ask for a worker of this model."""

    model: str
    v: int


class Opened(msgspec.Struct, frozen=True, tag=True):
    """A worker listens.

    Attributes:
        connection: its number, for ``WhyEnded``.
        timeout: seconds a request may take that does not say itself.
        largest_bytes: what a request may have.
    """

    connection: int
    timeout: float
    largest_bytes: int


class NotNow(msgspec.Struct, frozen=True, tag=True):
    """Ask the daemon for predictions; perhaps there will be a connection later."""


FromDaemonOrWorker = Opened | NotNow | RunResult | WorkerError
