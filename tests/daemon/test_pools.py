"""Several processes of one model."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from sire.protocol.requests import Load
from tests.conftest import Gate
from tests.daemon.asking import ask, instances
from tests.home import Home
from tests.waiting import wait_until


def test_a_model_has_as_many_processes_as_it_was_registered_with(
    home: Home, register: Callable[..., Any]
) -> None:
    register("m", 2, "Scale", "--instances", "2")
    with home.connect() as connection:
        connection.ask(Load(name="m"))
        wait_until(lambda: [i.state for i in instances(connection)] == ["ready", "ready"])
        first, second = instances(connection)
        assert first.pid != second.pid
        assert ask(connection, "m", 1) == [[2, 2, 2, 2]]
    home.sire("unload", "m")
    assert home.json("ps") == []


@pytest.mark.settings('[placement]\nshrink_after = "300ms"\n')
def test_a_queue_longer_than_a_load_makes_a_pool_grow_and_rest_makes_it_shrink(
    home: Home, register: Callable[..., Any], gate: Gate
) -> None:
    register("slow", 2, "Moody", "--instances", "1..2")
    with home.connect() as connection:
        began = time.monotonic()
        connection.ask(Load(name="slow"))
        load_seconds = time.monotonic() - began

        def run() -> None:
            with home.connect(autostart=False) as another:
                ask(another, "slow", 5)

        # The first request takes three times as long as the load did.
        first = threading.Thread(target=run)
        first.start()
        wait_until(lambda: instances(connection)[0].state == "busy")
        time.sleep(3 * load_seconds)
        gate.let_one_through()
        first.join(90)
        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(instances(connection)) == 2)
        gate.open()
        for thread in threads:
            thread.join(90)
        wait_until(lambda: len(instances(connection)) == 1)


@pytest.mark.own_daemon
def test_a_daemon_that_stops_fills_no_pool_again(home: Home, register: Callable[..., Any]) -> None:
    register("m", 2, "Scale", "--instances", "2")
    with home.connect() as connection:
        connection.ask(Load(name="m"))
        wait_until(lambda: [i.state for i in instances(connection)] == ["ready", "ready"])
    home.sire("daemon", "stop")
    _, _, end = home.paths.daemon_log.read_text().partition("shutting down")
    assert end
    assert "loading m" not in end
