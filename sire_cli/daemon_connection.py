"""The connection of a command to the daemon of this machine, or to another one's."""

import os
from typing import TypeVar

from sire.client.connection import Connection
from sire.client.daemon_client import DaemonClient
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
    url = gateway_url()
    if url is None:
        return Connection(autostart=autostart)
    # Imported here, because ssl takes longer to import than everything else.
    from sire.client.remote.address import gateway_address  # noqa: PLC0415
    from sire.client.remote.connection import RemoteConnection  # noqa: PLC0415

    return RemoteConnection(gateway_address(url))


def expect(kind: type[_Kind], request: Request) -> _Kind:
    """Send one request and return its reply, which must be of this kind.

    Raises:
        SireError: the daemon replied with an error.
    """
    with connect() as connection:
        return connection.expect(kind, request)
