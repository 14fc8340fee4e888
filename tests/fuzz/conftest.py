"""A daemon with one loaded model, for every test here."""

import shutil

import psutil
import pytest

from sire.client.autostart import daemon_runs
from sire.client.connection import Connection
from tests.fuzz.daemon import register_kept
from tests.home import Home


@pytest.fixture(scope="session")
def running(zoo):
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
def process(running):
    """The daemon."""
    return psutil.Process(running.pid())


@pytest.fixture
def connection(running):
    """A connection to it."""
    with Connection(running.paths, autostart=False) as connection:
        yield connection
