"""Short forms of what tests ask a daemon over a connection."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from sire.client.connection import Connection
from sire.protocol.counts import ModelStats
from sire.protocol.replies import InstanceInfo, InstanceList, Reply, StatsReport
from sire.protocol.requests import Predict, Ps, Request, Stats
from tests.waiting import wait_until


def ask(connection: Connection, model: str, first: int, timeout: float = 90.0) -> list[list[float]]:
    """Have a model of the zoo answer one row; returns the rows of its answer."""
    body = json.dumps([[first, 1, 1, 1]]).encode()
    _, frames = connection.ask(Predict(model=model, timeout=timeout), [body])
    rows: list[list[float]] = json.loads(bytes(frames[0]))
    return rows


def counted(connection: Connection, model: str) -> ModelStats:
    """The statistics of a model."""
    return connection.expect(StatsReport, Stats(name=model)).models[0]


def instances(connection: Connection) -> tuple[InstanceInfo, ...]:
    """The instances that exist, loaded or not."""
    return connection.expect(InstanceList, Ps()).instances


def ask_until_direct(connection: Connection, model: str, ask: Callable[[], object]) -> None:
    """Ask a model until the connection is a direct one, which takes longer on a busy machine."""

    def is_direct() -> bool:
        ask()
        return connection._routes._routes[model].direct is not None

    wait_until(is_direct)


@contextmanager
def under_way(connection: Connection, request: Request) -> Iterator[Callable[[], Reply]]:
    """Send a request that takes its time, and go on once the daemon has it.

    Yields:
        A function that waits for the reply and returns it.
    """
    link = connection.open_link(90)
    try:
        link.send(msgspec.structs.replace(request, id=1))
        # What comes over one connection is taken in order, and this is answered at once.
        link.send(Ps(id=2))
        reply, _ = link.take()
        assert reply.id == 2, reply
        yield lambda: link.take()[0]
    finally:
        link.close()
