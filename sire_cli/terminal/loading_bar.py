"""How far the load of a model is, on stderr where a person watches."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sire.client.connection import Connection
from sire.errors import SireError
from sire.protocol.replies import InstanceInfo, ModelInfo
from sire.protocol.requests import Show

_LOOK_SECONDS = 0.1


@contextmanager
def loading_bar(name: str) -> Iterator[None]:
    """Show a bar with bytes and rate while the model is loaded by what is done meanwhile.

    The daemon is asked over a connection of its own: a request for a load has one answer.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield
        return
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(name, over), name="loading-bar", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _watch(name: str, over: threading.Event) -> None:
    """Draw nothing before there is something to tell: most loads are over by then."""
    with suppress(SireError), Connection(autostart=False) as connection:
        while not over.wait(_LOOK_SECONDS):
            # The daemon may not have been started yet.
            with suppress(SireError):
                if _reading(connection, name) is not None:
                    _draw(connection, name, over)
                    return


def _reading(connection: Connection, name: str) -> InstanceInfo | None:
    """The instance that is read from the disk, if there is one."""
    instances = connection.expect(ModelInfo, Show(name=name)).instances
    return next((one for one in instances if one.loading_total_bytes), None)


def _draw(connection: Connection, name: str, over: threading.Event) -> None:
    # Here, because its import takes longer than the load of a small model.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn  # noqa: PLC0415

    columns = ("{task.description}", BarColumn(), DownloadColumn(binary_units=True))
    console = Console(stderr=True)
    with Progress(*columns, TransferSpeedColumn(), console=console, transient=True) as bar:
        task = bar.add_task(name, total=None)
        while not over.wait(_LOOK_SECONDS):
            if reading := _reading(connection, name):
                done, total = reading.loading_bytes, reading.loading_total_bytes
                bar.update(task, completed=done, total=total)
