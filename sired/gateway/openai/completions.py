"""``/v1/chat/completions`` and ``/v1/completions``, whole or as a stream of events."""

import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from starlette.responses import Response, StreamingResponse

from sire.errors import InvalidInput, SireError
from sired.gateway.call import Call
from sired.gateway.describe import EVENTS, describe
from sired.gateway.errors import code_of, json_response
from sired.gateway.generation.generators import Generators
from sired.gateway.generation.request import Generated, Generation, GenerationPrompt, Options
from sired.gateway.openai.requests import ChatRequest, CompletionRequest, read
from sired.gateway.streams import started

_DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Form:
    """How responses of one path are called and laid out."""

    prefix: str
    whole: str
    part: str
    is_chat: bool

    def choice(self, index: int, text: str, reason: str | None) -> dict[str, Any]:
        """One choice of a whole response."""
        content: dict[str, Any] = {"text": text}
        if self.is_chat:
            content = {"message": {"role": "assistant", "content": text, "refusal": None}}
        return {"index": index, **content, "logprobs": None, "finish_reason": reason}

    def delta(self, text: str | None, reason: str | None) -> dict[str, Any]:
        """The choice of one event."""
        content: dict[str, Any] = {"text": text or ""}
        if self.is_chat:
            content = {"delta": {} if text is None else {"content": text}}
        return {"index": 0, **content, "logprobs": None, "finish_reason": reason}


CHAT = Form("chatcmpl", "chat.completion", "chat.completion.chunk", is_chat=True)
TEXT = Form("cmpl", "text_completion", "text_completion", is_chat=False)


class Completions:
    """Answers chats and texts with any model that generates text."""

    def __init__(self, generators: Generators) -> None:
        self._generators = generators

    @describe(ChatRequest, streams=EVENTS)
    async def chat(self, call: Call) -> Response:
        """Answer a chat.

        Raises:
            SireError: the errors of a prediction.
        """
        wanted = read(call.json(), ChatRequest)
        options = wanted.options()
        if wanted.max_completion_tokens is not None:
            options = replace(options, max_tokens=wanted.max_completion_tokens)
        prompts = (GenerationPrompt(messages=wanted.messages),)
        return await self._respond(call, wanted, prompts, options, CHAT)

    @describe(CompletionRequest, streams=EVENTS)
    async def complete(self, call: Call) -> Response:
        """Continue one text or several.

        Raises:
            SireError: the errors of a prediction.
        """
        wanted = read(call.json(), CompletionRequest)
        texts = [wanted.prompt] if isinstance(wanted.prompt, str) else wanted.prompt
        prompts = tuple(map(GenerationPrompt, texts))
        return await self._respond(call, wanted, prompts, wanted.options(), TEXT)

    async def _respond(
        self,
        call: Call,
        wanted: ChatRequest | CompletionRequest,
        prompts: tuple[GenerationPrompt, ...],
        options: Options,
        form: Form,
    ) -> Response:
        info = await call.choose(wanted.model)
        generator = self._generators.of_model(info)
        asked = Generation(info.model.name, prompts, options)
        if wanted.stream and len(prompts) != 1:
            raise InvalidInput("A stream answers one prompt.", param="prompt")
        head = {
            "id": f"{form.prefix}-{uuid.uuid4().hex}",
            "object": form.part if wanted.stream else form.whole,
            "created": int(time.time()),
            "model": asked.model,
        }
        if wanted.stream:
            usage = wanted.stream_options is not None and wanted.stream_options.include_usage
            events = await started(_events(generator.parts(asked), head, form, usage=usage), _last)
            return StreamingResponse(events, media_type="text/event-stream")
        answers = await generator.whole(asked)
        choices = [form.choice(n, one.text, one.finish_reason) for n, one in enumerate(answers)]
        return json_response({**head, "choices": choices, "usage": _usage(answers)})


async def _events(
    parts: AsyncGenerator[Generated, None], head: dict[str, Any], form: Form, *, usage: bool
) -> AsyncGenerator[bytes, None]:
    """The events of a stream."""
    unused = {"usage": None} if usage else {}
    async with aclosing(parts):
        begun = not form.is_chat
        async for part in parts:
            if not begun:
                first = {"role": "assistant", "content": ""}
                choice = {"index": 0, "delta": first, "finish_reason": None}
                yield _event({**head, "choices": [choice], **unused})
                begun = True
            last = part.finish_reason
            text = part.text if part.text or not last else None
            yield _event({**head, "choices": [form.delta(text, last)], **unused})
            if last and usage:
                yield _event({**head, "choices": [], "usage": _usage((part,))})
    yield _DONE


def _last(error: SireError) -> bytes:
    """The events that report an error."""
    described = {"message": str(error), "type": "server_error", "code": code_of(error)}
    return _event({"error": described}) + _DONE


def _usage(answers: tuple[Generated, ...]) -> dict[str, int]:
    prompt = sum(one.prompt_tokens for one in answers)
    completion = sum(one.completion_tokens for one in answers)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _event(value: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(value)
