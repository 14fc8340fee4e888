"""Instances of one's own, through the daemon."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from sire import ModelManager
from sire.errors import DeadlineExceeded, WorkerCrashed
from tests.home import Home
from tests.waiting import wait_until


@pytest.fixture
def manager(home: Home) -> Iterator[ModelManager]:
    with ModelManager(home=home.path) as manager:
        yield manager


def test_a_leased_instance_serves_its_holder_only(
    manager: ModelManager, register: Callable[..., Any]
) -> None:
    register("m", 2)
    with manager.acquire("m", timeout=30) as instance:
        assert instance.predict(np.ones(4, np.float32)).tolist() == [2.0] * 4
        assert manager.pool_stats("m") == {
            "available": 0,
            "in_use": 1,
            "total": 1,
            "max_instances": 1,
        }
        with pytest.raises(DeadlineExceeded), manager.acquire("m", timeout=0.2):
            pass
        with pytest.raises(DeadlineExceeded):
            manager.predict("m", np.ones(4, np.float32), timeout=0.2)
    assert manager.predict("m", np.ones(4, np.float32)).tolist() == [2.0] * 4
    assert manager.pool_stats("m")["available"] == 1


def test_an_instance_can_be_destroyed_after_use(
    manager: ModelManager, register: Callable[..., Any]
) -> None:
    register("m", 2)
    with manager.acquire("m", destroy_after_use=True) as instance:
        first = instance.instance
    wait_until(lambda: manager.pool_stats("m")["total"] == 0)
    with manager.acquire("m") as instance:
        assert instance.instance != first


def test_a_crash_takes_the_lease_with_it(
    manager: ModelManager, register: Callable[..., Any]
) -> None:
    register("moody", 2, "Moody")
    with manager.acquire("moody") as instance:
        with pytest.raises(WorkerCrashed):
            instance.predict(np.full((1, 4), 2, np.float32))
        with pytest.raises(WorkerCrashed, match="about to go"):
            instance.predict(np.zeros((1, 4), np.float32))
    assert manager.predict("moody", np.zeros((1, 4), np.float32)).tolist() == [[0.0] * 4]


def test_a_holder_that_dies_gives_its_instance_back(
    home: Home, manager: ModelManager, register: Callable[..., Any]
) -> None:
    register("m", 2)
    script = textwrap.dedent(
        """
        import sys, time
        from sire import ModelManager

        with ModelManager(home=sys.argv[1]) as manager, manager.acquire("m"):
            print("held", flush=True)
            time.sleep(60)
        """
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(home.path)], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    assert manager.pool_stats("m")["in_use"] == 1
    os.kill(holder.pid, signal.SIGKILL)
    with manager.acquire("m", timeout=20):
        pass
    holder.wait()
    holder.stdout.close()


def test_holders_wait_for_each_other(manager: ModelManager, register: Callable[..., Any]) -> None:
    register("m", 2)
    held, most = 0, 0

    def work() -> None:
        nonlocal held, most
        for _ in range(5):
            with manager.acquire("m", timeout=30) as instance:
                held += 1
                most = max(most, held)
                instance.predict(np.ones(4, np.float32))
                held -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (held, most) == (0, 1)


def test_cleaning_up_unloads_what_is_idle(
    manager: ModelManager, register: Callable[..., Any]
) -> None:
    register("a", 1)
    register("b", 2)
    manager.load_model("a")
    with manager.acquire("b"):
        assert manager.cleanup() == 1
        assert manager.pool_stats("a")["total"] == 0
    assert manager.shrink("b", keep=0) == 1
