"""Opening a pipeline on the way that a client has to its daemon."""

from sire.client.connection import Connection
from sire.client.daemon_client import DaemonClient
from sire.client.pipeline.base import RequestPipeline
from sire.client.pipeline.pipeline import open_link_pipeline


def open_pipeline(
    client: DaemonClient, waker: int | None = None, timeout: float | None = None
) -> RequestPipeline:
    """Open a pipeline to the daemon of a client, on sockets of its own.

    Args:
        client: determines the daemon, and whether to start one.
        waker: a descriptor that interrupts ``pump`` when it becomes readable.
        timeout: seconds to wait for a daemon that is stopped; None for the limit of heartbeats.

    Raises:
        DaemonUnavailable: no daemon runs and none was started, it accepts no connections, or it
            does not respond. Of a remote daemon each request reports it.
    """
    if isinstance(client, Connection):
        return open_link_pipeline(client, waker, timeout)
    # Imported here, because ssl takes longer to import than everything else.
    from sire.client.pipeline.remote import RemotePipeline  # noqa: PLC0415
    from sire.client.remote.connection import RemoteConnection  # noqa: PLC0415

    assert isinstance(client, RemoteConnection)
    return RemotePipeline(client, waker)
