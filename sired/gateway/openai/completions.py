"""``/v1/chat/completions`` and ``/v1/completions``, whole or as a stream of events."""

import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.responses import Response, StreamingResponse

from sire.errors import InvalidInput, SireError
from sire.protocol.content import JSON
from sire.protocol.replies import Part
from sire.protocol.requests import Predict
from sired.gateway.call import Call
from sired.gateway.errors import code_of, json_response
from sired.gateway.openai.requests import ChatRequest, CompletionRequest, read
from sired.gateway.streams import started

_RUNTIME = "huggingface"
_DONE = b"data: [DONE]\n\n"


class Generated(msgspec.Struct, frozen=True):
    """A text, or a part of one; the last part has the counts."""

    text: str
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


_answers = msgspec.json.Decoder(tuple[Generated, ...])
_parts = msgspec.json.Decoder(Generated | tuple[Generated, ...])


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


async def chat(call: Call) -> Response:
    """Answer a chat.

    Raises:
        SireError: the errors of a prediction.
    """
    wanted = read(call.json(), ChatRequest)
    options = wanted.options()
    if wanted.max_completion_tokens is not None:
        options["max_new_tokens"] = wanted.max_completion_tokens
    prompts = [{"messages": wanted.messages, **options}]
    return await _respond(call, wanted, prompts, CHAT)


async def complete(call: Call) -> Response:
    """Continue one text or several.

    Raises:
        SireError: the errors of a prediction.
    """
    wanted = read(call.json(), CompletionRequest)
    texts = [wanted.prompt] if isinstance(wanted.prompt, str) else wanted.prompt
    prompts = [{"text": text, **_marked(wanted.options())} for text in texts]
    return await _respond(call, wanted, prompts, TEXT)


def _marked(options: dict[str, Any]) -> dict[str, Any]:
    """Options that make a prompt an object: one with nothing but text is answered with text."""
    return options or {"stop": []}


async def _respond(
    call: Call, wanted: ChatRequest | CompletionRequest, prompts: list[dict[str, Any]], form: Form
) -> Response:
    info = await call.models.show(wanted.model)
    if info.model.runtime != _RUNTIME:
        raise InvalidInput(
            f"{wanted.model} is a model of the runtime {info.model.runtime}; completions are "
            f"answered by models of the runtime {_RUNTIME}.",
            param="model",
        )
    if wanted.stream and len(prompts) != 1:
        raise InvalidInput("A stream answers one prompt.", param="prompt")
    request = Predict(model=wanted.model, content_type=JSON, accept=JSON)
    body = msgspec.json.encode(prompts)
    head = {
        "id": f"{form.prefix}-{uuid.uuid4().hex}",
        "object": form.part if wanted.stream else form.whole,
        "created": int(time.time()),
        "model": wanted.model,
    }
    if wanted.stream:
        usage = wanted.stream_options is not None and wanted.stream_options.include_usage
        events = await started(_events(call, request, body, head, form, usage=usage))
        return StreamingResponse(events, media_type="text/event-stream")
    _, frames = await call.models.daemon.predict(request, [body])
    answers = _decoded(_answers, b"".join(frames), wanted.model)
    choices = [form.choice(n, one.text, one.finish_reason) for n, one in enumerate(answers)]
    return json_response({**head, "choices": choices, "usage": _usage(answers)})


async def _events(
    call: Call, request: Predict, body: bytes, head: dict[str, Any], form: Form, *, usage: bool
) -> AsyncGenerator[bytes, None]:
    """The events of a stream; an error after some is the last."""
    unused = {"usage": None} if usage else {}
    sent = False
    async with aclosing(call.models.daemon.stream(request, [body])) as replies:
        try:
            async for reply, frames in replies:
                content = b"".join(frames)
                if not (isinstance(reply, Part) or content):
                    continue
                parts = _decoded(_parts, content, request.model)
                for part in parts if isinstance(parts, tuple) else (parts,):
                    if form.is_chat and not sent:
                        first = {"role": "assistant", "content": ""}
                        choice = {"index": 0, "delta": first, "finish_reason": None}
                        yield _event({**head, "choices": [choice], **unused})
                    sent = True
                    last = part.finish_reason
                    text = part.text if part.text or not last else None
                    yield _event({**head, "choices": [form.delta(text, last)], **unused})
                    if last and usage:
                        yield _event({**head, "choices": [], "usage": _usage((part,))})
        except SireError as error:
            if not sent:
                raise
            described = {"message": str(error), "type": "server_error", "code": code_of(error)}
            yield _event({"error": described})
    yield _DONE


def _decoded(decoder: "msgspec.json.Decoder[Any]", content: bytes, model: str) -> Any:
    """What a model answered.

    Raises:
        InvalidInput: it is not a text with its counts, so the model is for another task.
    """
    try:
        return decoder.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise InvalidInput(
            f"{model} does not generate text from prompts.",
            hint="Use a model of the task text-generation.",
            param="model",
        ) from None


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
