"""Where answers go: to clients through the front, or to the jobs that asked."""

from typing import Protocol

from sire.errors import SireError
from sire.protocol.content import Buffer
from sire.protocol.requests import Message
from sired.server.front import Client, Front

# A client has a connection; a job has none, and its id is that of its request.
NO_CONNECTION = b""


class ReplySink(Protocol):
    """Takes the answers to what was asked."""

    def reply(self, client: Client, message: Message, payload: tuple[Buffer, ...] = ()) -> None:
        """Take an answer."""

    def fail(self, client: Client, error: SireError) -> None:
        """Take an error."""


class ReplyRouter:
    """Tells clients and jobs apart.

    Attributes:
        jobs: who takes the answers for jobs.
    """

    def __init__(self, front: Front) -> None:
        self.jobs: ReplySink = front
        self._front = front

    def reply(self, client: Client, message: Message, payload: tuple[Buffer, ...] = ()) -> None:
        """Send an answer."""
        self._for(client).reply(client, message, payload)

    def fail(self, client: Client, error: SireError) -> None:
        """Send an error."""
        self._for(client).fail(client, error)

    def _for(self, client: Client) -> ReplySink:
        return self._front if client.connection else self.jobs


def asked_by_daemon(model: str) -> Client:
    """As whom the daemon itself asks for a model; no job's id has a space in it."""
    return Client(NO_CONNECTION, f"daemon {model}")


def asked_by_job(job: str) -> Client:
    """As whom a job asks for its prediction."""
    return Client(NO_CONNECTION, job)
