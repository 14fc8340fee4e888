"""A daemon with one loaded model, for every test here."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from psutil import Process

from sire.client.autostart import daemon_runs
from sire.client.connection import Connection
from tests.fuzz.daemon import register_kept
from tests.home import Home


@pytest.fixture(scope="session")
def running(zoo: Path) -> Iterator[Home]:
    """Its home; ``kept`` is loaded."""
    home = Home()
    home.configure('[daemon]\nmax_message = "2MiB"\nmax_decoded = "8MiB"\n')
    with home.connect() as connection:
        register_kept(connection, zoo / "x2.safetensors", f"{zoo}/classes.py:Scale")
    yield home
    if daemon_runs(home.paths):
        home.sire("daemon", "stop")
    shutil.rmtree(home.path, ignore_errors=True)


@pytest.fixture
def process(running: Home) -> Process:
    """The daemon."""
    return psutil.Process(running.pid())


@pytest.fixture
def connection(running: Home) -> Iterator[Connection]:
    """A connection to it."""
    with Connection(running.paths, autostart=False) as connection:
        yield connection
