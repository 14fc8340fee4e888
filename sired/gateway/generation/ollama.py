"""Text from models of an Ollama server."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec

from sire.client.aio.connection import AsyncConnection
from sire.errors import InferenceError, InvalidInput, shown
from sire.protocol.content import JSON
from sire.protocol.replies import Part
from sire.protocol.requests import Predict
from sired.gateway.generation.request import Generated, Generation, GenerationPrompt

_DATA_URL = "data:"


class _Message(msgspec.Struct, frozen=True):
    content: str = ""


class _Answer(msgspec.Struct, frozen=True):
    """What the server answers, to prompts and chats alike."""

    response: str = ""
    message: _Message = _Message()
    done: bool = True
    done_reason: str = "stop"
    prompt_eval_count: int = 0
    eval_count: int = 0

    def generated(self) -> Generated:
        text = self.response or self.message.content
        if not self.done:
            return Generated(text)
        reason = "length" if self.done_reason == "length" else "stop"
        return Generated(text, reason, self.prompt_eval_count, self.eval_count)


_answer = msgspec.json.Decoder(_Answer)


class OllamaGenerator:
    """Sends prompts and chats in the server's own form."""

    def __init__(self, daemon: AsyncConnection) -> None:
        self._daemon = daemon

    async def whole(self, asked: Generation) -> tuple[Generated, ...]:
        """See ``Generator.whole``; the prompts are sent at the same time."""
        return tuple(await asyncio.gather(*(self._one(asked, prompt) for prompt in asked.prompts)))

    async def _one(self, asked: Generation, prompt: GenerationPrompt) -> Generated:
        _, frames = await self._daemon.predict(*_request(asked, prompt))
        return _generated(b"".join(frames), asked.model)

    async def parts(self, asked: Generation) -> AsyncGenerator[Generated, None]:
        """See ``Generator.parts``."""
        stream = self._daemon.stream(*_request(asked, asked.prompts[0]))
        async with aclosing(stream) as replies:
            async for reply, frames in replies:
                content = b"".join(frames)
                if isinstance(reply, Part) or content:
                    yield _generated(content, asked.model)


def _generated(content: bytes, model: str) -> Generated:
    """A text, or a part of one.

    Raises:
        InferenceError: the server answered otherwise than Ollama does.
    """
    try:
        return _answer.decode(content).generated()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise InferenceError(
            f"The server of {model} did not answer as Ollama does: {shown(content)}"
        ) from None


def _request(asked: Generation, prompt: GenerationPrompt) -> tuple[Predict, list[bytes]]:
    body: dict[str, Any] = {"options": asked.options.named("num_predict")}
    if prompt.messages is None:
        body["prompt"] = prompt.text
    else:
        body["messages"] = [_message(one) for one in prompt.messages]
    request = Predict(
        model=asked.model, content_type=JSON, accept=JSON, keep_alive=asked.keep_alive
    )
    return request, [msgspec.json.encode(body)]


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message of OpenAI's form in Ollama's: text, and pictures beside it.

    Raises:
        InvalidInput: a part of it is neither text nor a picture within the request.
    """
    content = message.get("content")
    if not isinstance(content, list):
        return dict(message)
    texts, images = [], list(message.get("images") or ())
    for part in content:
        match part:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case {"type": "image_url", "image_url": {"url": str(url)}} if url[:5] == _DATA_URL:
                images.append(url.partition(",")[2])
            case _:
                raise InvalidInput(
                    "A part of a message is neither text nor a picture within the request.",
                    hint="Send pictures as image_url with a data: URL.",
                    param="messages",
                )
    return {**message, "content": "".join(texts), **({"images": images} if images else {})}
