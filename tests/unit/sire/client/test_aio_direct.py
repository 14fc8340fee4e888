"""A direct connection of the client for event loops, with the worker's end in the test's hands."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sire.client.aio.direct import AsyncDirectConnection
from sire.client.direct.exchange import ConnectionLost
from sire.protocol.direct import Opened
from sire.protocol.requests import Predict
from sire.protocol.runs import RunModel, RunResult
from sire.transport.busy_polling import BusyPolling
from sire.transport.channel import Channel

REQUEST = Predict(model="m")
ANSWER = RunResult(0, "text/plain", (), 0.0, 0)


@contextmanager
def connected() -> Iterator[tuple[AsyncDirectConnection, Channel[RunModel]]]:
    """A connection that regards every wait as short, and the worker's end of it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    connection = AsyncDirectConnection(ours, asyncio.get_running_loop())
    connection._terms = Opened(1, 60.0, 1 << 20)
    connection._polling = BusyPolling(60.0)
    worker: Channel[RunModel] = Channel(theirs, RunModel)
    yield connection, worker
    connection.close()
    worker.close()


async def ask(connection: AsyncDirectConnection, *, alone: bool) -> bytes:
    _, frames = await connection.ask(REQUEST, [b"x"], alone=alone)
    return bytes(frames[0])


def test_an_answer_that_arrives_at_once_is_taken_without_the_event_loop() -> None:
    async def run() -> None:
        with connected() as (connection, worker):
            worker.send(ANSWER, [b"first"])
            assert await ask(connection, alone=True) == b"first"  # there was no wait before
            worker.send(ANSWER, [b"second"])
            with pytest.raises(StopIteration) as done:
                ask(connection, alone=True).send(None)
            assert done.value.value == b"second"

    asyncio.run(run())


def test_the_event_loop_goes_on_while_it_has_something_else_to_do() -> None:
    async def run() -> None:
        with connected() as (connection, worker):
            worker.send(ANSWER, [b"first"])
            await ask(connection, alone=False)
            waiting = asyncio.create_task(ask(connection, alone=False))
            await asyncio.sleep(0)
            assert not waiting.done()
            worker.send(ANSWER, [b"second"])
            assert await waiting == b"second"

    asyncio.run(run())


def test_a_connection_that_ends_meanwhile_is_lost() -> None:
    async def run() -> None:
        with connected() as (connection, worker):
            worker.send(ANSWER, [b"first"])
            await ask(connection, alone=True)
            worker.close()
            with pytest.raises(ConnectionLost):
                await ask(connection, alone=True)
            assert not connection.usable

    asyncio.run(run())
