"""A progress bar for the load of a model, on stderr if it is a terminal."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sire.client.daemon_client import DaemonClient
from sire.errors import SireError
from sire.protocol.replies import InstanceInfo, ModelInfo
from sire.protocol.requests import Show
from sire_cli.daemon_connection import connect

_POLL_SECONDS = 0.1


@contextmanager
def loading_bar(name: str) -> Iterator[None]:
    """Show bytes read and rate while the body of the ``with`` statement loads the model.

    Uses its own connection, because a load request has a single reply.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield
        return
    finished = threading.Event()
    watcher = threading.Thread(
        target=_watch, args=(name, finished), name="loading-bar", daemon=True
    )
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()


def _watch(name: str, finished: threading.Event) -> None:
    """Draw only once bytes are being read: most loads finish before that."""
    with suppress(SireError), connect(autostart=False) as connection:
        while not finished.wait(_POLL_SECONDS):
            # The daemon may still be starting.
            with suppress(SireError):
                if _reading(connection, name) is not None:
                    _draw(connection, name, finished)
                    return


def _reading(connection: DaemonClient, name: str) -> InstanceInfo | None:
    """The instance whose file is being read; None if there is none."""
    instances = connection.expect(ModelInfo, Show(name=name)).instances
    return next((one for one in instances if one.loading_total_bytes), None)


def _draw(connection: DaemonClient, name: str, finished: threading.Event) -> None:
    # Imported here, because the import takes longer than loading a small model.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn  # noqa: PLC0415

    columns = ("{task.description}", BarColumn(), DownloadColumn(binary_units=True))
    console = Console(stderr=True)
    with Progress(*columns, TransferSpeedColumn(), console=console, transient=True) as bar:
        task = bar.add_task(name, total=None)
        while not finished.wait(_POLL_SECONDS):
            if reading := _reading(connection, name):
                done, total = reading.loading_bytes, reading.loading_total_bytes
                bar.update(task, completed=done, total=total)
