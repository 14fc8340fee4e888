"""The table of handlers by kind of request."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from sire.errors import SireError, error_text
from sire.protocol.content import Buffer
from sire.protocol.message import Message
from sired.server.failures import described, log_failure
from sired.server.front import Client, Front

log = logging.getLogger(__name__)

Kind = TypeVar("Kind", bound=Message)
Payload = tuple[Buffer, ...]
Handler = Callable[[Client, Kind, Payload], None]
SlowHandler = Callable[[Client, Kind, Payload], Coroutine[Any, Any, None]]


class HandlerTable:
    """Handlers, registered by the type of request they take.

    Args:
        front: where the errors of slow handlers are sent.
    """

    def __init__(self, front: Front) -> None:
        self._front = front
        self._handlers: dict[type[Message], Callable[[Client, Any, Payload], None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def kinds(self) -> frozenset[type[Message]]:
        """The kinds of request that have a handler."""
        return frozenset(self._handlers)

    def add(self, kind: type[Kind], handler: Handler[Kind]) -> None:
        """Register a handler that answers at once or begins an operation."""
        assert kind not in self._handlers, f"{kind.__name__} has two handlers"
        self._handlers[kind] = handler

    def add_slow(self, kind: type[Kind], handler: SlowHandler[Kind]) -> None:
        """Register a handler that waits, for a worker or the disk; it runs as a task."""
        self.add(kind, partial(self._begin, handler))

    def handle(self, client: Client, request: Message, payload: Payload) -> None:
        """Pass a request to its handler.

        Raises:
            SireError: it fails at once; the caller replies with the error.
        """
        self._handlers[type(request)](client, request, payload)

    def _begin(
        self, handler: SlowHandler[Kind], client: Client, request: Kind, payload: Payload
    ) -> None:
        task = asyncio.get_running_loop().create_task(
            self._answer(handler, client, request, payload)
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(
        self, handler: SlowHandler[Kind], client: Client, request: Kind, payload: Payload
    ) -> None:
        began = time.monotonic()
        try:
            await handler(client, request, payload)
        except SireError as error:
            log_failure(described(request), error, time.monotonic() - began)
            self._front.fail(client, error)
        except Exception as problem:
            log.exception("a %s request failed unexpectedly", type(request).__name__)
            unexpected = SireError(f"Unexpected {type(problem).__name__}: {error_text(problem)}")
            self._front.fail(client, unexpected)
