"""Several client processes that send requests to one server at the same time."""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection as Line

from benchmarks.clients import Client, Connect

WARM_UP_CALLS = 20

_SPAWN = multiprocessing.get_context("spawn")


class Crowd:
    """Client processes, connected and warm, that send requests on command."""

    def __init__(self, lines: list[Line]) -> None:
        self._lines = lines
        self._receive()

    def rate(self, seconds: float) -> float:
        """Return the answers per second of all clients together, without pauses for that long."""
        self._tell(seconds)
        return sum(self._receive())

    def _tell(self, seconds: float) -> None:
        for line in self._lines:
            line.send(seconds)

    def _receive(self) -> list[float]:
        return [line.recv() for line in self._lines]


@contextmanager
def crowd(connect: Connect, data: bytes, clients: int) -> Iterator[Crowd]:
    """Start N client processes, which end with the block.

    Raises:
        EOFError: one of them failed; it has printed why.
    """
    pairs = [_SPAWN.Pipe() for _ in range(clients)]
    processes = [
        _SPAWN.Process(target=_ask_when_told, args=(connect, data, theirs), daemon=True)
        for _, theirs in pairs
    ]
    for process in processes:
        process.start()
    for _, theirs in pairs:
        theirs.close()
    try:
        yield Crowd([ours for ours, _ in pairs])
    finally:
        for (ours, _), process in zip(pairs, processes, strict=True):
            ours.close()
            process.join()


def _ask_when_told(connect: Connect, data: bytes, line: Line) -> None:
    client = connect()
    for _ in range(WARM_UP_CALLS):
        client.ask(data)
    line.send(0.0)
    try:
        while True:
            line.send(_rate(client, data, line.recv()))
    except EOFError:
        client.close()


def _rate(client: Client, data: bytes, seconds: float) -> float:
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        client.ask(data)
        count += 1
    return count / elapsed
