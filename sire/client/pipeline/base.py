"""What every pipeline does: it sends requests, and keeps outcomes until they are taken."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from sire.client.link import Answer
from sire.errors import SireError
from sire.protocol.content import Buffer, size_of
from sire.protocol.requests import Predict

MAX_BYTES_IN_FLIGHT = 64 * 1024**2
# Interval at which the connection and deadlines are checked.
POLL_SECONDS = 0.1
# The request number of cancellations and of the first request; no prediction has it.
CONTROL = 0

Outcome = Answer | SireError


@dataclass(frozen=True, slots=True)
class PipelinedRequest:
    """A prediction to send; its frames must not change until it is answered."""

    request: Predict
    frames: Sequence[Buffer]

    @property
    def size(self) -> int:
        """Bytes in all frames."""
        return size_of(self.frames)


class RequestPipeline(ABC):
    """Sends requests, and keeps their outcomes until they are taken; for one thread.

    Attributes:
        disconnected: whether the daemon went away, or does not respond: the pipeline is of no
            further use.
    """

    def __init__(self) -> None:
        self.disconnected = False
        self._numbers = itertools.count(CONTROL + 1)
        self._outcomes: dict[int, tuple[Outcome, int]] = {}
        self._bytes = 0

    @property
    @abstractmethod
    def idle(self) -> bool:
        """Whether no request is in flight."""

    @abstractmethod
    def has_room(self) -> bool:
        """Whether another request may be sent now."""

    @abstractmethod
    def send(self, prediction: PipelinedRequest) -> int:
        """Send a request; returns its number, which ``pop`` takes."""

    @abstractmethod
    def pump(self, seconds: float = 0.0) -> None:
        """Receive available answers; wait up to ``seconds`` for one if there are none."""

    @abstractmethod
    def cancel(self, number: int) -> None:
        """Cancel a request, which then has no outcome; does nothing if it was answered."""

    @abstractmethod
    def close(self) -> None:
        """Cancel requests in flight."""

    def fail(self, error: SireError) -> int:
        """Add a failed outcome for a request that could not be built; returns its number."""
        number = next(self._numbers)
        self._outcomes[number] = error, 0
        return number

    def answered(self) -> list[int]:
        """The numbers of requests that have an outcome."""
        return list(self._outcomes)

    def pop(self, number: int) -> Outcome | None:
        """Take the outcome of a request; None if it has none yet."""
        outcome, size = self._outcomes.pop(number, (None, 0))
        self._bytes -= size
        return outcome
