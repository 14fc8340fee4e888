"""The connection of a command to the daemon of this machine, or to another one's."""

import os
from typing import TypeVar

from sire.client.daemon_client import DaemonClient
from sire.client.opening import open_client
from sire.protocol.requests import Request

_Kind = TypeVar("_Kind")
# The URL of the gateway to use instead of this machine's daemon; ``--host`` sets it.
HOST_VARIABLE = "SIRE_HOST"


def gateway_url() -> str | None:
    """The URL of the gateway that commands use; None for this machine's daemon."""
    return os.environ.get(HOST_VARIABLE) or None


def connect(*, autostart: bool = True) -> DaemonClient:
    """A connection to the user's daemon, or to the gateway that ``--host`` names.

    Args:
        autostart: start the daemon of this machine if it is not running.
    """
    return open_client(gateway_url(), autostart=autostart)


def expect(kind: type[_Kind], request: Request) -> _Kind:
    """Send one request and return its reply, which must be of this kind.

    Raises:
        SireError: the daemon replied with an error.
    """
    with connect() as connection:
        return connection.expect(kind, request)
