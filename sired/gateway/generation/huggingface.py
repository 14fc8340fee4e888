"""Text from models of the runtime huggingface."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

from sire.client.aio.connection import AsyncConnection
from sire.errors import InvalidInput
from sire.protocol.content import JSON
from sire.protocol.replies import Part
from sire.protocol.requests import Predict
from sired.gateway.generation.request import Generated, Generation, GenerationPrompt

_answers = msgspec.json.Decoder(tuple[Generated, ...])
_parts = msgspec.json.Decoder(Generated | tuple[Generated, ...])


class HuggingFaceGenerator:
    """Sends prompts with their options to the model, which counts tokens itself."""

    def __init__(self, daemon: AsyncConnection) -> None:
        self._daemon = daemon

    async def whole(self, asked: Generation) -> tuple[Generated, ...]:
        """See ``Generator.whole``; the prompts run as one batch."""
        _, frames = await self._daemon.predict(*_request(asked))
        answers: tuple[Generated, ...] = _decoded(_answers, b"".join(frames), asked.model)
        return answers

    async def parts(self, asked: Generation) -> AsyncGenerator[Generated, None]:
        """See ``Generator.parts``."""
        async with aclosing(self._daemon.stream(*_request(asked))) as replies:
            async for reply, frames in replies:
                content = b"".join(frames)
                if not (isinstance(reply, Part) or content):
                    continue
                parts = _decoded(_parts, content, asked.model)
                for part in parts if isinstance(parts, tuple) else (parts,):
                    yield part


def _request(asked: Generation) -> tuple[Predict, list[bytes]]:
    options = asked.options.named("max_new_tokens")
    prompts = [_prompt(prompt, options) for prompt in asked.prompts]
    request = Predict(
        model=asked.model, content_type=JSON, accept=JSON, keep_alive=asked.keep_alive
    )
    return request, [msgspec.json.encode(prompts)]


def _prompt(prompt: GenerationPrompt, options: dict[str, Any]) -> dict[str, Any]:
    if prompt.messages is not None:
        return {"messages": prompt.messages, **options}
    # An object with nothing but text would be answered with text, without counts.
    return {"text": prompt.text, **(options or {"stop": []})}


def _decoded(decoder: "msgspec.json.Decoder[Any]", content: bytes, model: str) -> Any:
    """What a model answered.

    Raises:
        InvalidInput: it is not a text with its counts, so the model is for another task.
    """
    try:
        return decoder.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise InvalidInput(
            f"{model} does not generate text from prompts.",
            hint="Use a model of the task text-generation.",
            param="model",
        ) from None
