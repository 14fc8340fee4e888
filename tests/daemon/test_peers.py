"""Nothing more is done for a client whose process has ended."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sire.client.connection import Connection
from sire.protocol.counts import ModelStats
from sire.protocol.replies import InstanceList, StatsReport
from sire.protocol.requests import Ps, Stats
from tests.conftest import Gate
from tests.home import Home
from tests.waiting import wait_until


@pytest.fixture
def asking(home: Home) -> Iterator[Callable[[int], subprocess.Popen[bytes]]]:
    """Starts commands that ask a model, as many as are wanted, and ends what is left of them."""
    started: list[subprocess.Popen[bytes]] = []

    def ask(mood: int) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "sire_cli", "predict", "moody", "-i", "-"],
            env=home.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin is not None
        process.stdin.write(f"[[{mood}, 1, 1, 1]]".encode())
        process.stdin.close()
        started.append(process)
        return process

    yield ask
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()


def stats(connection: Connection) -> ModelStats:
    (stats,) = connection.expect(StatsReport, Stats(name="moody")).models
    return stats


def test_requests_of_a_killed_command_leave_the_queue(
    home: Home, register: Callable[..., Any], asking: Callable[..., Any], gate: Gate
) -> None:
    register("moody", 2, "Moody")
    with home.connect() as connection:
        before = stats(connection).inference_count
        first = asking(5)
        wait_until(
            lambda: [i.state for i in connection.expect(InstanceList, Ps()).instances] == ["busy"]
        )
        others = [asking(5) for _ in range(4)]
        wait_until(lambda: stats(connection).queued == 5)
        for other in others:
            other.kill()
        # What a worker has at hand already is all that is left beside what it is at.
        wait_until(lambda: stats(connection).queued <= 2)
        gate.open()
        assert first.wait(90) == 0
        assert stats(connection).inference_count <= before + 2
