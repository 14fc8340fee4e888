"""Daemons to do harm to."""

import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from psutil import Process

from sire.client.autostart import daemon_runs
from sire.client.connection import Connection
from sire.protocol.replies import InstanceInfo, InstanceList
from sire.protocol.requests import Load, Predict, Ps, Register
from sire.spec import ModelSpec
from tests.home import Home
from tests.waiting import wait_until

MODELS = Path(__file__).with_name("models.py")


class House(Home):
    """A private daemon, and short words for what is asked of it."""

    def register_faulty(self, name: str = "m", kind: str = "Faulty", **options: Any) -> None:
        options.setdefault("args", {})
        spec = ModelSpec(
            name=name, path=str(MODELS), runtime="python", model_class=f"{MODELS}:{kind}", **options
        )
        with self.connect() as connection:
            connection.ask(Register(model=spec, replace=True))

    def predict(self, name: str = "m", timeout: float = 90.0, **asked: Any) -> Any:
        with self.connect() as connection:
            return predict(connection, name, timeout, **asked)

    def load(self, name: str = "m") -> None:
        with self.connect() as connection:
            connection.ask(Load(name=name))

    def instances(self, name: str = "m") -> list[InstanceInfo]:
        with self.connect() as connection:
            return [i for i in connection.expect(InstanceList, Ps()).instances if i.model == name]

    def daemon(self) -> Process:
        return psutil.Process(self.pid())

    def end(self) -> None:
        if daemon_runs(self.paths):
            self.sire("daemon", "stop")
        shutil.rmtree(self.path, ignore_errors=True)


def predict(connection: Connection, name: str = "m", timeout: float = 90.0, **asked: Any) -> Any:
    _, frames = connection.ask(Predict(model=name, timeout=timeout), [json.dumps(asked).encode()])
    return json.loads(bytes(frames[0]))


@contextlib.contextmanager
def stopped(house: House) -> Iterator[None]:
    """The daemon does nothing meanwhile."""
    pid = house.pid()
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def new_house(config: str = "") -> House:
    house = House(Path(tempfile.mkdtemp(prefix="sire-", dir="/tmp")))
    house.configure(config)
    return house


@pytest.fixture
def house() -> Iterator[House]:
    """A daemon of the test's own; it is started by the first who asks."""
    house = new_house()
    yield house
    house.end()


@pytest.fixture(scope="module")
def shared() -> Iterator[House]:
    """A daemon that the tests of a file share, with little patience."""
    house = new_house('[daemon]\nhung_after = "300ms"\nload_timeout = "5s"\n')
    house.sire("daemon", "start")
    wait_until(lambda: house.json("health")["status"] == "ok")
    yield house
    house.end()


@pytest.fixture
def faulty(shared: House) -> House:
    """It, with the faulty model registered anew: nothing of an earlier test is held against it."""
    shared.register_faulty()
    return shared
