"""Everything that waits for an answer: predictions, loads, leases, unloads and the rest.

Each is an operation. They share one number space, by which the brain knows them, and one table.
An operation ends exactly once: it is answered, it fails, or its client withdraws it and the brain
fails it.
"""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

import msgspec

from sire.errors import SireError
from sire.protocol.content import Buffer
from sire.protocol.message import Message
from sire.protocol.requests import Predict
from sired.daemon.engine.numbers import first_number
from sired.daemon.engine.result_cache import CacheKey
from sired.scheduler import events
from sired.scheduler.brain import Brain
from sired.scheduler.events import Event
from sired.server.front import Client

# Jobs and the daemon itself have no connection; their operations differ by request id.
NO_CONNECTION = b""


class ReplySink(Protocol):
    """Takes the outcomes of predictions: the front for clients, the job runner for jobs."""

    def reply(self, client: Client, message: Message, payload: tuple[Buffer, ...] = ()) -> None:
        """Take an answer, or a part of one."""

    def fail(self, client: Client, error: SireError) -> None:
        """Take an error."""

    def started(self, client: Client) -> None:
        """Take the report that a worker has started the prediction."""


class PendingPrediction(msgspec.Struct, frozen=True):
    """A prediction without an answer.

    Attributes:
        arrived: the time at which it arrived, on the event loop's clock.
        cache_key: where its answer is to be cached; None for not at all.
    """

    client: Client
    sink: ReplySink
    predict: Predict
    payload: tuple[Buffer, ...]
    arrived: float
    cache_key: CacheKey | None = None

    @property
    def model(self) -> str:
        """The model it is for."""
        return self.predict.model

    def fail(self, error: SireError) -> None:
        """Answer it with an error."""
        self.sink.fail(self.client, error)


class PendingOperation(msgspec.Struct, frozen=True):
    """A load, unload, lease or the like without an answer, and how to answer it.

    Attributes:
        model: the model it concerns; "" for all models.
        arrived: the time at which it began, on the event loop's clock.
        completed: takes the instruction that completes it.
        fail: takes an error.
    """

    client: Client
    model: str
    arrived: float
    completed: Callable[[Any], None]
    fail: Callable[[SireError], None]


class Operations:
    """The table of operations.

    Args:
        loop: the event loop.
        brain: estimates how long a prediction will wait.
        front: sends replies to clients.
        feed: passes an event to the brain.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        brain: Brain,
        front: ReplySink,
        feed: Callable[[Event], None],
    ) -> None:
        self._loop = loop
        self._brain = brain
        self._front = front
        self._feed = feed
        self._pending: dict[int, PendingPrediction | PendingOperation] = {}
        self._by_client: dict[Client, int] = {}
        self._next = first_number()

    def __len__(self) -> int:
        return len(self._pending)

    def __iter__(self) -> Iterator[int]:
        """The numbers of the operations without an answer."""
        return iter(list(self._pending))

    def now(self) -> float:
        """The time on the clock in which deadlines are given."""
        return self._loop.time()

    def add(self, pending: PendingPrediction | PendingOperation) -> int:
        """Number an operation. The caller feeds the brain the event that begins it."""
        number = self._next
        self._next += 1
        self._pending[number] = pending
        self._by_client[pending.client] = number
        return number

    def begin(
        self,
        client: Client,
        model: str,
        event: Callable[[int], Event],
        completed: Callable[[Any], None],
        failed: Callable[[SireError], None] | None = None,
    ) -> None:
        """Begin any operation that is not a prediction.

        Args:
            client: where the answer goes.
            model: the model it concerns; "" for all models.
            event: makes the event that begins it, from its number.
            completed: called with the Complete or LeaseGranted that ends it.
            failed: called with an error that ends it; None to send the error to the client.
        """
        failed = failed or partial(self._front.fail, client)
        pending = PendingOperation(client, model, self.now(), completed, failed)
        self._feed(event(self.add(pending)))

    async def run(self, client: Client, model: str, event: Callable[[int], Event]) -> Any:
        """Begin an operation as ``begin`` does, and wait until it ends.

        Returns:
            The instruction that completed it.

        Raises:
            SireError: it failed.
        """
        ended: asyncio.Future[Any] = self._loop.create_future()

        def completed(do: Any) -> None:
            if not ended.done():
                ended.set_result(do)

        def failed(error: SireError) -> None:
            if not ended.done():
                ended.set_exception(error)

        self.begin(client, model, event, completed, failed)
        return await ended

    def prediction(self, number: int) -> PendingPrediction | None:
        """A prediction; None once it has been answered or withdrawn."""
        pending = self._pending.get(number)
        return pending if isinstance(pending, PendingPrediction) else None

    def pop(self, number: int) -> PendingPrediction | PendingOperation | None:
        """Remove an operation that is about to be answered; None if it has been."""
        pending = self._pending.pop(number, None)
        if pending is not None:
            self._by_client.pop(pending.client, None)
        return pending

    def complete(self, number: int, do: Any) -> None:
        """Answer an operation that is not a prediction."""
        pending = self.pop(number)
        if isinstance(pending, PendingOperation):
            # The brain's state is consistent only after all its instructions: answer then.
            self._loop.call_soon(partial(pending.completed, do))

    def cancel(self, client: Client) -> None:
        """Withdraw an operation; does nothing if it has been answered."""
        if (number := self._by_client.get(client)) is not None:
            self._feed(events.RequestCancelled(number))

    def cancel_all_from(self, connections: frozenset[bytes]) -> None:
        """Withdraw the operations that came over these connections."""
        for client in [one for one in self._by_client if one.connection in connections]:
            self.cancel(client)

    def expected_wait(self, client: Client) -> float | None:
        """Seconds until a prediction begins; None if unknown, or if it has been answered."""
        number = self._by_client.get(client)
        place = None if number is None else self._brain.position(number)
        return None if place is None else place[1]


def asked_by_daemon(model: str) -> Client:
    """The client under which the daemon itself loads a model; no job's id contains a space."""
    return Client(NO_CONNECTION, f"daemon {model}")


def asked_by_job(job: str) -> Client:
    """The client under which a job requests its prediction."""
    return Client(NO_CONNECTION, job)
