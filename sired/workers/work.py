"""What a worker has to do, and for whom."""

import socket
from collections.abc import Sequence

import msgspec

from sired.protocol.framing import LARGEST_HEADER
from sired.protocol.runs import RunModel
from sired.transport.channel import Channel
from sired.workers.messages import TakeConnection
from sired.workers.model import Turn


class Direct:
    """A client that asks this worker itself."""

    def __init__(self, take: TakeConnection, descriptor: int) -> None:
        self.number = take.connection
        self.channel: Channel[RunModel] = Channel(
            socket.socket(fileno=descriptor),
            RunModel,
            steady=True,
            largest=take.largest_bytes + LARGEST_HEADER,
        )


class Work(msgspec.Struct, frozen=True):
    """Requests to run together, and the clients they are from; without, they are the daemon's."""

    turns: Sequence[Turn]
    clients: Sequence[Direct] = ()
