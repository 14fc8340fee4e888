"""The way from a command to the daemon."""

from contextlib import AbstractContextManager
from typing import TypeVar

from sire.client.connection import Connection
from sire.protocol.requests import Request

_Kind = TypeVar("_Kind")


def connect() -> AbstractContextManager[Connection]:
    """A connection to the user's daemon, which is started when none runs."""
    return Connection()


def expect(kind: type[_Kind], request: Request) -> _Kind:
    """Ask the daemon one thing; an error it replies with is raised."""
    with Connection() as connection:
        return connection.expect(kind, request)
