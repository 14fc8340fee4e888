"""Which client a program gets: of this machine's daemon, or of another one's gateway."""

from sire.client.connection import Connection
from sire.client.daemon_client import DaemonClient
from sire.paths import Paths


def open_client(
    url: str | None = None,
    key: str | None = None,
    *,
    paths: Paths | None = None,
    autostart: bool = True,
) -> DaemonClient:
    """A client, which connects with its first request.

    Args:
        url: of the gateway of another machine; None for a daemon of this one.
        key: an API key for the gateway; None for that in ``SIRE_KEY``.
        paths: of the daemon of this machine; by default those of the environment.
        autostart: start that daemon if none runs.

    Raises:
        InvalidConfiguration: the URL is not one, or the key cannot be sent.
    """
    if url is None:
        return Connection(paths, autostart=autostart)
    # Imported here, because ssl takes longer to import than everything else.
    from sire.client.remote.address import gateway_address  # noqa: PLC0415
    from sire.client.remote.connection import RemoteConnection  # noqa: PLC0415

    return RemoteConnection(gateway_address(url, key))
