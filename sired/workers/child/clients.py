"""The clients with a direct connection to a worker: receives from them and replies to them."""

import select
import socket
from collections.abc import Sequence

import msgspec

from sire.errors import SireError
from sire.protocol.content import Buffer, size_of
from sire.protocol.framing import LARGEST_HEADER
from sire.protocol.runs import RunModel, RunResult, WorkerError
from sire.transport.channel import Channel
from sired.workers.child.requests import WorkerRequest
from sired.workers.messages import TakeConnection


class DirectClient:
    """A client with a direct connection to this worker."""

    def __init__(self, take: TakeConnection, descriptor: int) -> None:
        self.number = take.connection
        self.channel: Channel[RunModel] = Channel(
            socket.socket(fileno=descriptor),
            RunModel,
            steady=True,
            largest=take.largest_bytes + LARGEST_HEADER,
        )

    def connected(self) -> bool:
        """Whether the client has not disconnected."""
        return self.channel.connected()


class Clients:
    """The direct clients, by their descriptors.

    Args:
        poll: watches their connections, among others.
    """

    def __init__(self, poll: select.epoll) -> None:
        self._poll = poll
        self._connected: dict[int, DirectClient] = {}

    def __len__(self) -> int:
        return len(self._connected)

    def take(self, direct: DirectClient) -> None:
        """Add a client."""
        self._connected[direct.channel.fileno()] = direct
        self._poll.register(direct.channel.fileno(), select.EPOLLIN)

    def drop_all(self) -> None:
        """Disconnect every client, which then sends its requests to the daemon."""
        for direct in list(self._connected.values()):
            self._drop(direct)

    def _drop(self, direct: DirectClient) -> None:
        descriptor = direct.channel.fileno()
        if self._connected.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)
            direct.channel.shutdown()

    def receive(self, ready: Sequence[int]) -> list[tuple[DirectClient, WorkerRequest]]:
        """The requests of the clients among these descriptors."""
        return [
            (direct, turn)
            for descriptor in ready
            if (direct := self._connected.get(descriptor)) and (turn := self._receive(direct))
        ]

    def _receive(self, direct: DirectClient) -> WorkerRequest | None:
        try:
            received = direct.channel.try_receive()
        except (EOFError, OSError, SireError):  # it disconnected, or sent an invalid message
            self._drop(direct)
            return None
        if received is None:
            return None
        run, frames = received
        return WorkerRequest(run, frames, size=size_of(frames))

    def reply(
        self, direct: DirectClient, message: RunResult | WorkerError, frames: tuple[Buffer, ...]
    ) -> None:
        """Send a reply to one client."""
        if isinstance(message, RunResult) and direct.channel.held():
            message = msgspec.structs.replace(message, input_held=True)
        try:
            sent = direct.channel.try_send(message, frames)
        except (OSError, SireError):
            sent = False
        if not sent:  # it does not read its replies
            self._drop(direct)
