"""What a worker has to do, and for whom."""

from collections.abc import Sequence

import msgspec

from sire.protocol.content import Buffer
from sired.workers.child.clients import Direct
from sired.workers.child.served_model import Turn
from sired.workers.messages import RunBatch


class Work(msgspec.Struct, frozen=True):
    """Requests to run together, and the clients they are from; without, they are the daemon's."""

    turns: Sequence[Turn]
    clients: Sequence[Direct] = ()


def of_clients(asking: Sequence[tuple[Direct, Turn]], size: int) -> list[Work]:
    """What these clients ask, so many requests together."""
    together = [asking[first : first + size] for first in range(0, len(asking), size)]
    return [Work([turn for _, turn in some], [client for client, _ in some]) for some in together]


def of_daemon(batch: RunBatch, frames: tuple[Buffer, ...]) -> Work:
    """The requests of a batch, each with its own frames."""
    turns, rest = [], frames
    for run, count in zip(batch.runs, batch.frames, strict=True):
        turns.append(Turn(run, rest[:count]))
        rest = rest[count:]
    return Work(turns)
