"""The client for event loops: many requests at once, over the daemon and directly to workers."""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest

from sire.client.aio.connection import AsyncConnection
from sire.errors import DaemonUnavailable, InferenceError, InvalidInput, WorkerCrashed
from sire.protocol.replies import HealthReport, InstanceList, Prediction
from sire.protocol.requests import Health, Predict, Ps
from tests.conftest import Gate
from tests.home import Home


async def predict(connection: AsyncConnection, first: int) -> list[list[float]]:
    body = json.dumps([[first, 1, 1, 1]]).encode()
    _, frames = await connection.predict(Predict(model="m"), [body])
    rows: list[list[float]] = json.loads(bytes(frames[0]))
    return rows


async def until_queued(connection: AsyncConnection, counts: range) -> None:
    """Wait until the daemon and its worker have this many requests."""
    while True:
        instances = (await connection.expect(InstanceList, Ps())).instances
        if sum(one.queued for one in instances) in counts:
            return
        await asyncio.sleep(0.01)


def test_many_at_once_get_their_own_answers_most_of_them_from_the_worker_itself(
    home: Home, register: Callable[..., Any]
) -> None:
    async def client(connection: AsyncConnection, first: int) -> None:
        for step in range(20):
            number = 100 * first + step
            assert await predict(connection, number) == [[2 * number, 2, 2, 2]]

    async def run() -> None:
        connection = AsyncConnection(home.paths)
        await asyncio.gather(*(client(connection, first) for first in range(1, 9)))
        # A model may take longer than direct connections are for, where the machine is busy.
        route = connection._routes.to("m")
        while not route.open:
            await predict(connection, 7)
        connection.close()

    register()
    asyncio.run(run())


def test_errors_of_a_worker_are_raised_and_others_go_on(
    home: Home, register: Callable[..., Any]
) -> None:
    async def run() -> None:
        connection = AsyncConnection(home.paths)
        for _ in range(5):
            assert await predict(connection, 7) == [[14, 2, 2, 2]]
            with pytest.raises(InferenceError):
                await predict(connection, 1)
        with pytest.raises(WorkerCrashed):
            await predict(connection, 2)
        assert await predict(connection, 7) == [[14, 2, 2, 2]]
        connection.close()

    register("m", 2, "Moody")
    asyncio.run(run())


def test_cancelled_requests_are_withdrawn(
    home: Home, register: Callable[..., Any], gate: Gate
) -> None:
    async def run() -> None:
        connection = AsyncConnection(home.paths)
        body = b"[[5, 0, 0, 0]]"
        tasks = [asyncio.create_task(connection.ask(Predict(model="m"), [body])) for _ in range(6)]
        await until_queued(connection, range(6, 7))
        for task in tasks[2:]:
            task.cancel()
        await until_queued(connection, range(3))
        gate.open()
        assert all(isinstance(reply, Prediction) for reply, _ in await asyncio.gather(*tasks[:2]))
        connection.close()

    register("m", 2, "Moody")
    asyncio.run(run())


def test_a_stream_ends_with_the_prediction(home: Home, register: Callable[..., Any]) -> None:
    async def run() -> list[str]:
        connection = AsyncConnection(home.paths)
        async with aclosing(connection.stream(Predict(model="m"), [b"[[1, 2, 3, 4]]"])) as replies:
            kinds = [type(reply).__name__ async for reply, _ in replies]
        connection.close()
        return kinds

    register()
    assert asyncio.run(run())[-1] == "Prediction"


@pytest.mark.settings("[daemon]\nmax_message = '1MiB'\n")
def test_a_payload_over_the_limit_fails_alone(home: Home, register: Callable[..., Any]) -> None:
    async def run() -> None:
        connection = AsyncConnection(home.paths)
        with pytest.raises(InvalidInput, match="limit is 1048576"):
            await connection.predict(Predict(model="m"), [bytes(2 << 20)])
        assert await predict(connection, 7) == [[14, 2, 2, 2]]
        connection.close()

    register()
    asyncio.run(run())


@pytest.mark.own_daemon
def test_a_daemon_that_is_killed_fails_its_requests_and_the_next_is_found(
    home: Home, register: Callable[..., Any], gate: Gate
) -> None:
    async def run() -> None:
        connection = AsyncConnection(home.paths)
        waiting = asyncio.create_task(connection.ask(Predict(model="m"), [b"[[5, 0, 0, 0]]"]))
        await until_queued(connection, range(1, 2))
        os.kill(home.pid(), signal.SIGKILL)
        with pytest.raises(DaemonUnavailable, match="went away"):
            await waiting
        gate.open()
        assert (await connection.expect(HealthReport, Health())).version
        assert await predict(connection, 7) == [[14, 2, 2, 2]]
        connection.close()

    register("m", 2, "Moody")
    asyncio.run(run())
