"""A request to a worker, and what it is replied with."""

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from sire.protocol.content import Buffer, Payload
from sire.protocol.runs import RunModel, RunPart, RunResult, WorkerError

Reply = tuple[RunResult | WorkerError, tuple[Buffer, ...]]
StreamedReply = tuple[RunPart | RunResult | WorkerError, tuple[Buffer, ...]]


@dataclass(slots=True)
class WorkerRequest:
    """A request, and its frames until they are taken.

    Attributes:
        run: the message.
        frames: of its payload; empty once they are taken.
        decoded: the future input, if it is decoded ahead in another thread.
        size: bytes of the payload, for requests of direct clients.
    """

    run: RunModel
    frames: tuple[Buffer, ...]
    decoded: "Future[Any] | None" = None
    size: int = 0

    def payload(self) -> Payload:
        """Take the payload; call it once, so that its memory is not kept alive here."""
        frames, self.frames = self.frames, ()
        return Payload(self.run.content_type, frames, self.run.tensors)
