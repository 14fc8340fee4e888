"""One call of a method, and what is done around its handler."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from google.protobuf.message import Message
from grpc.aio import AbortError, ServicerContext

from sire.errors import SireError
from sire.keys import ApiKey
from sired.gateway.rpc.errors import code_of, metadata_of, text_of
from sired.gateway.served import ServedModels

log = logging.getLogger(__name__)

Context = ServicerContext[Any, Message]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Attributes:
        models: those that its key may use.
        key: None if none is demanded.
    """

    models: ServedModels
    key: ApiKey | None


# Messages are Any: their fields are those of inference.proto, which no class has.
Handler = Callable[[Caller, Any], Awaitable[Message]]
StreamHandler = Callable[[Caller, AsyncIterator[Any]], AsyncIterator[Message]]


async def answer(handle: Handler, caller: Caller, request: Any, context: Context) -> Message:
    """The response of a handler; its error becomes the status of the call.

    If the client cancels the call, or its deadline passes, the handler is cancelled, which cancels
    what it asked the daemon.
    """
    try:
        return await handle(caller, request)
    except Exception as problem:
        await _abort(context, problem)


async def answer_stream(
    handle: StreamHandler, caller: Caller, requests: AsyncIterator[Any], context: Context
) -> AsyncIterator[Message]:
    """The responses of a handler that takes and sends any number of messages."""
    try:
        async for response in handle(caller, requests):
            yield response
    except Exception as problem:
        await _abort(context, problem)


async def refuse(error: SireError, requests: AsyncIterator[Any], context: Context) -> NoReturn:  # noqa: ARG001
    """Answer with an error, without reading the request."""
    await _abort(context, error)


async def _abort(context: Context, problem: Exception) -> NoReturn:
    if isinstance(problem, AbortError):
        raise problem
    error = reported(problem)
    await context.abort(code_of(error), text_of(error), metadata_of(error))


def reported(problem: Exception) -> SireError:
    """The error that a client is told; one that should not occur is logged."""
    if isinstance(problem, SireError):
        return problem
    log.error("A call over gRPC failed", exc_info=problem)
    return SireError("The gateway failed to answer this request.", hint="See its output.")
