"""How long requests wait for a model to be loaded: then clients are told when to try again."""

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar

import msgspec

from sire.client.aio.connection import AsyncConnection
from sire.client.link import Answer
from sire.errors import SireError
from sire.paths import Paths
from sire.protocol.content import Buffer
from sire.protocol.replies import ModelInfo
from sire.protocol.requests import Load, Predict, Request, Show, TakeSlot
from sire.units import format_duration
from sired.gateway.errors import ModelLoading

DEFAULT_LOADING_WAIT = 60.0
# An instance in one of these states answers requests, sooner or later.
_LOADED = frozenset({"ready", "busy", "leased"})
_MOVING = frozenset({"loading", "waking"})


_Limited = TypeVar("_Limited", bound=Predict | TakeSlot)


class PatientConnection(AsyncConnection):
    """A connection to the daemon whose predictions wait for a load only so long.

    The load goes on after that, so that a later request finds the model loaded. Requests that are
    sent directly to a worker, which holds the model, are not affected.

    Args:
        paths: of the daemon; by default those of the environment.
        greeting: the first request of each connection.
        loading_wait: seconds that a request waits while its model is not loaded.
        timeout: seconds for predictions that state none; None for the daemon's default.
    """

    def __init__(
        self,
        paths: Paths | None = None,
        *,
        greeting: Request | None = None,
        loading_wait: float = DEFAULT_LOADING_WAIT,
        timeout: float | None = None,
    ) -> None:
        super().__init__(paths, greeting=greeting)
        self._loading_wait = loading_wait
        self._timeout = timeout
        self._loads: dict[str, asyncio.Task[None]] = {}

    async def ask(self, request: Request, payload: Sequence[Buffer] = ()) -> Answer:
        """See ``AsyncConnection.ask``.

        Raises:
            ModelLoading: the model of a prediction was not loaded in time.
        """
        if not isinstance(request, Predict | TakeSlot):
            return await super().ask(request, payload)
        async with self._bounded(request.model):
            return await super().ask(self._limited(request), payload)

    async def predict(self, request: Predict, payload: Sequence[Buffer] = ()) -> Answer:
        """See ``AsyncConnection.predict``."""
        return await super().predict(self._limited(request), payload)

    async def stream(
        self, request: Predict, payload: Sequence[Buffer] = ()
    ) -> AsyncGenerator[Answer, None]:
        """See ``AsyncConnection.stream``.

        Raises:
            ModelLoading: the model was not loaded in time.
        """
        async with aclosing(super().stream(self._limited(request), payload)) as replies:
            async with self._bounded(request.model):
                first = await anext(replies)
            yield first
            async for reply in replies:
                yield reply

    def _limited(self, request: _Limited) -> _Limited:
        """The request, with the default timeout of this gateway."""
        if self._timeout is None or request.timeout is not None:
            return request
        return msgspec.structs.replace(request, timeout=self._timeout)

    @asynccontextmanager
    async def _bounded(self, model: str) -> AsyncGenerator[None, None]:
        """Cancel what is done within if it still waits for a load after a while.

        Raises:
            ModelLoading: it did.
        """
        if math.isinf(self._loading_wait):
            yield
            return
        loop = asyncio.get_running_loop()
        watching: list[asyncio.Task[ModelInfo | None]] = []
        limit = asyncio.timeout(None)
        timer = loop.call_later(
            self._loading_wait, lambda: watching.append(loop.create_task(self._watch(model, limit)))
        )
        try:
            async with limit:
                yield
        except TimeoutError:
            if limit.expired() and (info := watching[0].result()):
                raise model_loading(info, self._loading_wait) from None
            raise
        finally:
            timer.cancel()
            for task in watching:
                task.cancel()

    async def _watch(self, model: str, limit: asyncio.Timeout) -> ModelInfo | None:
        """Look at a model now and again; once it is not loaded, end the wait and return it."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                info = await self.expect(ModelInfo, Show(name=model))
            except SireError:  # which the request itself reports
                return None
            if info.state not in _LOADED:
                self._keep_loading(info)
                limit.reschedule(loop.time())
                return info
            await asyncio.sleep(max(self._loading_wait, 1.0))

    def _keep_loading(self, info: ModelInfo) -> None:
        """Have the daemon go on with a load for which no other request may wait."""
        name = info.model.name
        # After a failed load it takes requests to try again, not earlier than is sensible.
        if info.retry_seconds is None and name not in self._loads:
            self._loads[name] = asyncio.ensure_future(self._load(name))

    async def _load(self, name: str) -> None:
        try:
            await self.ask(Load(name=name))
        except SireError:
            return  # the next request learns why
        finally:
            del self._loads[name]


def model_loading(info: ModelInfo, waited: float) -> ModelLoading:
    """The error for a model that is not loaded after ``waited`` seconds."""
    moving = next((one for one in info.instances if one.state in _MOVING), None)
    percent = moving.loading_percent if moving else None
    eta = info.retry_seconds
    if moving and info.load_seconds:
        eta = max(info.load_seconds - moving.uptime_seconds, 0.0) or None
    return ModelLoading(
        f"{info.model.name} is not loaded after {format_duration(waited)}; it is {info.state}.",
        hint="Its load goes on; try again.",
        model=info.model.name,
        state=info.state,
        progress=None if percent is None else round(percent / 100, 3),
        eta=None if eta is None else round(eta, 1),
    )
