"""Groups of requests that a worker runs together."""

from collections.abc import Sequence

import msgspec

from sire.protocol.content import Buffer
from sired.workers.child.clients import DirectClient
from sired.workers.child.requests import WorkerRequest
from sired.workers.messages import RunBatch


class RequestGroup(msgspec.Struct, frozen=True):
    """Requests to run together, with their clients; without clients, they are the daemon's."""

    turns: Sequence[WorkerRequest]
    clients: Sequence[DirectClient] = ()


def of_clients(
    received: Sequence[tuple[DirectClient, WorkerRequest]], size: int
) -> list[RequestGroup]:
    """The requests of clients, in groups of at most ``size``."""
    groups = [received[first : first + size] for first in range(0, len(received), size)]
    return [
        RequestGroup([turn for _, turn in group], [client for client, _ in group])
        for group in groups
    ]


def of_daemon(batch: RunBatch, frames: tuple[Buffer, ...]) -> RequestGroup:
    """The requests of a batch from the daemon, each with its own frames."""
    turns, rest = [], frames
    for run, count in zip(batch.runs, batch.frames, strict=True):
        turns.append(WorkerRequest(run, rest[:count]))
        rest = rest[count:]
    return RequestGroup(turns)
