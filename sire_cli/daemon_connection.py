"""The connection of a command to the daemon."""

from contextlib import AbstractContextManager
from typing import TypeVar

from sire.client.connection import Connection
from sire.protocol.requests import Request

_Kind = TypeVar("_Kind")


def connect() -> AbstractContextManager[Connection]:
    """A connection to the user's daemon; starts the daemon if it is not running."""
    return Connection()


def expect(kind: type[_Kind], request: Request) -> _Kind:
    """Send one request and return its reply, which must be of this kind.

    Raises:
        SireError: the daemon replied with an error.
    """
    with Connection() as connection:
        return connection.expect(kind, request)
