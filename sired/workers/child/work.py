"""What a worker has to do, and for whom."""

from collections.abc import Sequence

import msgspec

from sire.protocol.content import Buffer
from sired.workers.child.clients import DirectClient
from sired.workers.child.served_model import WorkerRequest
from sired.workers.messages import RunBatch


class RequestGroup(msgspec.Struct, frozen=True):
    """Requests to run together, and the clients they are from; without, they are the daemon's."""

    turns: Sequence[WorkerRequest]
    clients: Sequence[DirectClient] = ()


def of_clients(
    asking: Sequence[tuple[DirectClient, WorkerRequest]], size: int
) -> list[RequestGroup]:
    """What these clients ask, so many requests together."""
    together = [asking[first : first + size] for first in range(0, len(asking), size)]
    return [
        RequestGroup([turn for _, turn in some], [client for client, _ in some])
        for some in together
    ]


def of_daemon(batch: RunBatch, frames: tuple[Buffer, ...]) -> RequestGroup:
    """The requests of a batch, each with its own frames."""
    turns, rest = [], frames
    for run, count in zip(batch.runs, batch.frames, strict=True):
        turns.append(WorkerRequest(run, rest[:count]))
        rest = rest[count:]
    return RequestGroup(turns)
