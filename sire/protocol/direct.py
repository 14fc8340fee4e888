"""Opening a direct connection from a client to a worker.

The client connects to the daemon's second socket and sends ``OpenDirect``; the reply is ``Opened``
or ``NotNow``. After ``Opened`` the worker reads from that connection: each ``RunModel`` is answered
by ``RunResult`` or ``WorkerError``, one at a time. The connection may end at any time; a client
that waits for an answer then asks the daemon for the reason (``requests.WhyEnded``).

A client with a large payload for the daemon connects there, too, and sends ``OpenPayloads``; the
reply is ``PayloadsOpened`` or ``NotNow``. It then sends ``PayloadFollows`` with a sealed memfd for
each payload, which is not answered, and after that the request, with a ``PayloadReference``.
"""

import msgspec

from sire.protocol.runs import RunResult, WorkerError


class OpenDirect(msgspec.Struct, frozen=True, tag=True):
    """Request a direct connection to a worker of this model, or of an alias's model."""

    model: str
    v: int


class Opened(msgspec.Struct, frozen=True, tag=True):
    """The connection is open.

    Attributes:
        connection: its number, for ``WhyEnded``.
        timeout: seconds for requests that specify none.
        largest_bytes: the most bytes of payload in a request.
        model: the model that the worker holds, which an alias may stand for.
    """

    connection: int
    timeout: float
    largest_bytes: int
    model: str = ""


class OpenPayloads(msgspec.Struct, frozen=True, tag=True):
    """Request a connection for payloads."""

    v: int


class PayloadsOpened(msgspec.Struct, frozen=True, tag=True):
    """The connection for payloads is open.

    Attributes:
        connection: its number, for ``PayloadReference``.
    """

    connection: int


class PayloadFollows(msgspec.Struct, frozen=True, tag=True):
    """A payload, in the sealed memory that comes with this message.

    Attributes:
        number: chosen by the client, for ``PayloadReference``.
    """

    number: int


class NotNow(msgspec.Struct, frozen=True, tag=True):
    """No connection is granted now; requests and payloads go to the daemon's first socket."""


ToListener = OpenDirect | OpenPayloads
FromListener = PayloadsOpened | NotNow
FromDaemonOrWorker = Opened | NotNow | RunResult | WorkerError
