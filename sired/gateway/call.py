"""One request to the gateway, and what every endpoint does around its handler."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sire.errors import (
    InsufficientMemory,
    InvalidInput,
    LoadFailed,
    ModelNotFound,
    SireError,
    error_text,
)
from sire.keys import ApiKey
from sire.protocol.replies import ModelInfo
from sired.gateway.body import ClientGone, read_body
from sired.gateway.errors import error_response
from sired.gateway.served import ServedModels

_FORM = "multipart/form-data"

log = logging.getLogger(__name__)

# Errors of a model that cannot be loaded, whatever is asked of it.
_CANNOT_SERVE = (InsufficientMemory, LoadFailed)
# Most requests are answered before it pays to watch whether their client leaves.
_WATCH_AFTER_SECONDS = 0.02


@dataclass(slots=True)
class Call:
    """A request whose body has been read.

    Attributes:
        request: its method, path, query and headers.
        body: all of its body.
        models: the models that the gateway serves, and the daemon that has them.
        chosen: the models for the names that it has, by name.
        tried: the models that were chosen for aliases so far, by alias.
    """

    request: Request
    body: bytes
    models: ServedModels
    chosen: dict[str, ModelInfo] = field(default_factory=dict)
    tried: dict[str, tuple[str, ...]] = field(default_factory=dict)

    async def choose(self, name: str) -> ModelInfo:
        """The model for this request: the one of that name, or one of those of an alias.

        The answer is the same until the request is tried with another model.

        Raises:
            ModelNotFound: it is not registered, or not served.
        """
        if (found := self.chosen.get(name)) is not None:
            return found
        tried = self.tried.get(name, ())
        info = self.chosen[name] = await self.models.choose(name, tried)
        if info.model.name != name:
            self.tried[name] = (*tried, info.model.name)
        return info

    @property
    def key(self) -> ApiKey | None:
        """The key of the request; None if none is demanded."""
        return self.request.scope.get("sire.key")

    def json(self) -> Any:
        """The body, decoded from JSON; an empty one is an empty object.

        Raises:
            InvalidInput: it is not JSON.
        """
        try:
            return msgspec.json.decode(self.body or b"{}")
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as problem:
            raise InvalidInput(f"The body is not valid JSON: {error_text(problem)}.") from None

    @property
    def is_form(self) -> bool:
        """Whether the body is a form with files."""
        return self.request.headers.get("content-type", "").lower().startswith(_FORM)

    async def form(self) -> FormData:
        """The fields and files of the body.

        Raises:
            InvalidInput: it is not a valid form.
        """
        parser = MultiPartParser(self.request.headers, _once(self.body))
        try:
            return await parser.parse()
        except (MultiPartException, KeyError) as problem:
            raise InvalidInput(f"The form is not valid: {error_text(problem)}.") from None


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body


Handler = Callable[[Call], Awaitable[Response]]
ErrorRenderer = Callable[[SireError], Response]


class BaseEndpoint(ABC):
    """An ASGI application that answers with a response, or with the error that was raised.

    Args:
        models: what the gateway serves.
        render: makes the response of an error.
    """

    def __init__(self, models: ServedModels, render: ErrorRenderer = error_response) -> None:
        self._models = models
        self.render = render

    @staticmethod
    async def _answer(call: Call, handle: Handler) -> Response:
        """The response of a handler: with other models of an alias if one cannot be loaded."""
        error: SireError | None = None
        while True:
            tried = dict(call.tried)
            call.chosen.clear()
            try:
                return await handle(call)
            except ModelNotFound as problem:
                if error is not None:
                    raise error from None  # there is no other model
                error = problem
            except _CANNOT_SERVE as problem:
                error = problem
            if call.tried == tried:
                raise error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            response = await self._respond(scope, receive)
        except ClientGone:
            return
        except SireError as error:
            response = self.render(error)
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            response = self.render(
                SireError("The gateway failed to answer this request.", hint="See its output.")
            )
        await response(scope, receive, send)

    @abstractmethod
    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        """The response to a request.

        Raises:
            ClientGone: the client went away.
            SireError: the error to answer with.
        """

    def _call(self, scope: Scope, receive: Receive, body: bytes) -> Call:
        models = self._models.allowed_to(scope.get("sire.key"))
        return Call(Request(scope, receive), body, models)


class Endpoint(BaseEndpoint):
    """Answers with what a handler returns for a request whose body is complete.

    If the client goes away, the handler is cancelled, which cancels what it asked the daemon.
    """

    def __init__(
        self, models: ServedModels, handle: Handler, render: ErrorRenderer = error_response
    ) -> None:
        super().__init__(models, render)
        self.handle = handle

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        body = await read_body(scope, receive, await self._models.daemon.largest())
        call = self._call(scope, receive, body)
        return await _unless_gone(self._answer(call, self.handle), receive)


async def _unless_gone(work: Awaitable[Response], receive: Receive) -> Response:
    """The result of the work, which is cancelled if the client goes away.

    Raises:
        ClientGone: it did.
    """
    task = asyncio.current_task()
    assert task is not None
    watching: list[asyncio.Task[None]] = []
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        task.cancel()

    timer = asyncio.get_running_loop().call_later(
        _WATCH_AFTER_SECONDS, lambda: watching.append(asyncio.ensure_future(watch()))
    )
    try:
        return await work
    except asyncio.CancelledError:
        if gone:
            task.uncancel()
            raise ClientGone from None
        raise
    finally:
        timer.cancel()
        for watcher in watching:
            watcher.cancel()
