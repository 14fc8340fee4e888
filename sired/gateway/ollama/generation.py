"""``/api/generate`` and ``/api/chat``, whole or as lines of JSON."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.responses import Response, StreamingResponse

from sire.errors import SireError
from sire.protocol.replies import InstanceInfo, ModelInfo, Unloaded
from sire.protocol.requests import Load, Unload
from sired.gateway.call import Call
from sired.gateway.describe import LINES, describe
from sired.gateway.errors import json_response
from sired.gateway.fields import read_fields
from sired.gateway.generation.generators import Generators
from sired.gateway.generation.request import Generated, Generation, GenerationPrompt
from sired.gateway.keys import require_manage
from sired.gateway.ollama.names import answering, choose
from sired.gateway.ollama.requests import ACCEPTED, GenerateRequest, Generating, OllamaChatRequest
from sired.gateway.streams import started

_NANOSECONDS = 1e9
_OWN_TEMPLATE = frozenset({"huggingface", "ollama"})
Words = Callable[[str], dict[str, Any]]


def _response(text: str) -> dict[str, Any]:
    return {"response": text}


def _message(text: str) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": text}}


class TextEndpoints:
    """Answers prompts and chats with any model that generates text."""

    def __init__(self, generators: Generators) -> None:
        self._generators = generators

    @describe(GenerateRequest, streams=LINES)
    async def generate(self, call: Call) -> Response:
        """Continue a prompt; without one, load the model, or unload it if it is not to be kept.

        Raises:
            SireError: the errors of a prediction.
        """
        wanted = read_fields(call.json(), GenerateRequest, ACCEPTED)
        info = await choose(call, wanted.model)
        prompt = wanted.asked(templated=info.model.runtime in _OWN_TEMPLATE)
        return await self._respond(call, wanted, info, prompt, _response)

    @describe(OllamaChatRequest, streams=LINES)
    async def chat(self, call: Call) -> Response:
        """Answer a chat; without messages as ``generate``.

        Raises:
            SireError: the errors of a prediction.
        """
        wanted = read_fields(call.json(), OllamaChatRequest, ACCEPTED)
        info = await choose(call, wanted.model)
        return await self._respond(call, wanted, info, wanted.asked(), _message)

    async def _respond(
        self,
        call: Call,
        wanted: Generating,
        info: ModelInfo,
        prompt: GenerationPrompt | None,
        words: Words,
    ) -> Response:
        generator = self._generators.of_model(info)
        if prompt is None:
            return json_response(await _load(call, wanted, info.model.name, words))
        options, kept = wanted.generation_options(), wanted.kept()
        asked = Generation(info.model.name, (prompt,), options, kept)
        name, began = answering(wanted.model, info), time.monotonic()
        if wanted.stream:
            lines = await started(_lines(generator.parts(asked), name, words, began), _last)
            return StreamingResponse(lines, media_type="application/x-ndjson")
        (answer,) = await generator.whole(asked)
        return json_response(_line(name, words, answer, began))


async def _load(call: Call, wanted: Generating, name: str, words: Words) -> dict[str, Any]:
    require_manage(call.key)
    if wanted.kept() == 0:
        await call.models.daemon.expect(Unloaded, Unload(name=name))
        done = "unload"
    else:
        await call.models.daemon.expect(InstanceInfo, Load(name=name))
        done = "load"
    return {**_head(name), **words(""), "done": True, "done_reason": done}


async def _lines(
    parts: AsyncGenerator[Generated, None], model: str, words: Words, began: float
) -> AsyncGenerator[bytes, None]:
    """The lines of a stream."""
    async with aclosing(parts):
        async for part in parts:
            yield _encoded(_line(model, words, part, began))


def _last(error: SireError) -> bytes:
    """The line that reports an error."""
    return _encoded({"error": str(error)})


def _line(model: str, words: Words, part: Generated, began: float) -> dict[str, Any]:
    line = {**_head(model), **words(part.text), "done": part.finish_reason is not None}
    if part.finish_reason is None:
        return line
    taken = int((time.monotonic() - began) * _NANOSECONDS)
    return {
        **line,
        "done_reason": part.finish_reason,
        "total_duration": taken,
        "prompt_eval_count": part.prompt_tokens,
        "eval_count": part.completion_tokens,
        "eval_duration": taken,
    }


def _head(model: str) -> dict[str, Any]:
    return {"model": model, "created_at": datetime.now(UTC).isoformat().replace("+00:00", "Z")}


def _encoded(value: dict[str, Any]) -> bytes:
    return msgspec.json.encode(value) + b"\n"
