"""``/v1/messages``, whole or as a stream of events, and errors as Anthropic's clients read them."""

import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from sire.errors import SireError
from sired.gateway.anthropic.requests import MessagesRequest, read
from sired.gateway.call import Call, Endpoint
from sired.gateway.describe import EVENTS, describe
from sired.gateway.errors import LoadState, json_response, refusal, status_of
from sired.gateway.generation.generators import Generators
from sired.gateway.generation.request import Generated
from sired.gateway.programs.by_model import ProgramOr
from sired.gateway.programs.forwarding import Forwarder
from sired.gateway.served import ServedModels
from sired.gateway.streams import started

_PATH = "/v1/messages"
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_SERVER_ERROR = "api_error"


def routes(models: ServedModels, forwarder: Forwarder, generators: Generators) -> list[BaseRoute]:
    """The paths."""
    handle = ProgramOr(forwarder, Messages(generators).create)
    return [Route(_PATH, Endpoint(models, handle, error_response), methods=["POST"])]


class Messages:
    """Answers chats with any model that generates text."""

    def __init__(self, generators: Generators) -> None:
        self._generators = generators

    @describe(MessagesRequest, streams=EVENTS)
    async def create(self, call: Call) -> Response:
        """Answer a chat.

        Raises:
            SireError: the errors of a prediction.
        """
        wanted = read(call.json())
        info = await call.choose(wanted.model)
        asked = wanted.generation(info.model.name)
        generator = self._generators.of_model(info)
        head = {
            "id": f"msg_{uuid.uuid4().hex}",
            "type": "message",
            "role": "assistant",
            "model": asked.model,
        }
        if wanted.stream:
            events = await started(_events(generator.parts(asked), head), _last)
            return StreamingResponse(events, media_type="text/event-stream")
        (answer,) = await generator.whole(asked)
        content = [{"type": "text", "text": answer.text}]
        return json_response(
            {**head, "content": content, **_ending(answer), "usage": _usage(answer)}
        )


class AnthropicErrorInfo(msgspec.Struct, frozen=True):
    """An error."""

    type: str
    message: str


class AnthropicErrorBody(LoadState, frozen=True, kw_only=True):
    """An error, as Anthropic's clients read it."""

    type: str
    error: AnthropicErrorInfo


@describe(returns=AnthropicErrorBody)
def error_response(error: SireError) -> Response:
    """The response to an error."""
    return refusal(_error(error), error)


def _error(error: SireError) -> dict[str, Any]:
    kind = _KINDS.get(status_of(error), _SERVER_ERROR)
    return {"type": "error", "error": {"type": kind, "message": str(error)}}


async def _events(
    parts: AsyncGenerator[Generated, None], head: dict[str, Any]
) -> AsyncGenerator[bytes, None]:
    """The events of a stream."""
    begun = False
    async with aclosing(parts):
        async for part in parts:
            if not begun:
                yield _start(head)
                begun = True
            if part.text:
                delta = {"type": "text_delta", "text": part.text}
                yield _event("content_block_delta", index=0, delta=delta)
            if part.finish_reason:
                yield _event("content_block_stop", index=0)
                yield _event("message_delta", delta=_ending(part), usage=_usage(part))
                yield _event("message_stop")


def _last(error: SireError) -> bytes:
    """The event that reports an error."""
    return _encoded("error", _error(error))


def _start(head: dict[str, Any]) -> bytes:
    """The first two events. The tokens of the prompt are known at the end only."""
    unknown = {"input_tokens": 0, "output_tokens": 0}
    message = {**head, "content": [], "stop_reason": None, "stop_sequence": None, "usage": unknown}
    block = {"type": "text", "text": ""}
    return _event("message_start", message=message) + _event(
        "content_block_start", index=0, content_block=block
    )


def _ending(answer: Generated) -> dict[str, Any]:
    reason = "max_tokens" if answer.finish_reason == "length" else "end_turn"
    return {"stop_reason": reason, "stop_sequence": None}


def _usage(answer: Generated) -> dict[str, int]:
    return {"input_tokens": answer.prompt_tokens, "output_tokens": answer.completion_tokens}


def _event(kind: str, **fields: Any) -> bytes:
    return _encoded(kind, {"type": kind, **fields})


def _encoded(kind: str, value: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(value))
