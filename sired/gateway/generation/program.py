"""Text from programs that speak OpenAI's API, for clients that speak another."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from sire.client.aio.connection import AsyncConnection
from sire.errors import InferenceError, InvalidInput, QueueFull, SireError
from sire.protocol.requests import TakeSlot
from sired.gateway.generation.request import Generated, Generation, GenerationPrompt
from sired.gateway.programs.forwarding import Exchange, Forwarder

_OK, _CLIENT_ERROR, _TOO_MANY, _SERVER_ERROR = 200, 400, 429, 500
_LONGEST_MESSAGE = 500


class _Content(msgspec.Struct, frozen=True):
    content: str | None = None


class ProgramChoice(msgspec.Struct, frozen=True):
    """What was generated."""

    message: _Content = _Content()
    delta: _Content = _Content()
    text: str = ""
    finish_reason: str | None = None

    @property
    def words(self) -> str:
        """Its text."""
        return self.message.content or self.delta.content or self.text


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Completion(msgspec.Struct, frozen=True):
    """A completion, or an event of its stream."""

    choices: tuple[ProgramChoice, ...] = ()
    usage: _Usage | None = None


_completion = msgspec.json.Decoder(Completion)


class ProgramGenerator:
    """Translates to OpenAI's API, which llama.cpp, vLLM and others serve."""

    def __init__(self, daemon: AsyncConnection, forwarder: Forwarder) -> None:
        self._daemon = daemon
        self._forwarder = forwarder

    async def whole(self, asked: Generation) -> tuple[Generated, ...]:
        """See ``Generator.whole``; the prompts are sent at the same time."""
        return tuple(await asyncio.gather(*(self._one(asked, prompt) for prompt in asked.prompts)))

    async def _one(self, asked: Generation, prompt: GenerationPrompt) -> Generated:
        async with self._answering(asked, prompt, stream=False) as exchange:
            found = _decoded(await exchange.response.read(), asked.model)
            choice = found.choices[0] if found.choices else ProgramChoice()
            usage = found.usage or _Usage()
            reason = _reason(choice.finish_reason) or "stop"
            return Generated(choice.words, reason, usage.prompt_tokens, usage.completion_tokens)

    async def parts(self, asked: Generation) -> AsyncGenerator[Generated, None]:
        """See ``Generator.parts``."""
        reason, usage = "stop", _Usage()
        async with self._answering(asked, asked.prompts[0], stream=True) as exchange:
            async for found in completions(exchange.response.content, asked.model):
                usage = found.usage or usage
                for choice in found.choices[:1]:
                    reason = _reason(choice.finish_reason) or reason
                    if choice.words:
                        yield Generated(choice.words)
        yield Generated("", reason, usage.prompt_tokens, usage.completion_tokens)

    @asynccontextmanager
    async def _answering(
        self, asked: Generation, prompt: GenerationPrompt, *, stream: bool
    ) -> AsyncGenerator[Exchange, None]:
        """The program's answer, once it has begun.

        Raises:
            SireError: no slot is free in time, or the program rejects the request or breaks off.
        """
        slot = TakeSlot(model=asked.model, keep_alive=asked.keep_alive)
        path, body = _request(asked, prompt, stream=stream)
        headers = [(b"content-type", b"application/json")]
        exchange = await self._forwarder.open(self._daemon, slot, "POST", path, headers, body)
        try:
            if exchange.response.status != _OK:
                raise _refusal(exchange.response.status, await exchange.response.read())
            yield exchange
        except exchange.errors as problem:
            exchange.slot.error = f"The program of {asked.model} broke off its answer: {problem}"
            raise InferenceError(exchange.slot.error) from None
        finally:
            exchange.close()


async def completions(
    content: AsyncIterable[bytes], model: str
) -> AsyncGenerator[Completion, None]:
    """The events of a stream.

    Args:
        content: its lines.
        model: whose program sends it.

    Raises:
        InferenceError: an event is none of OpenAI's API.
    """
    async for line in content:
        data = line.removeprefix(b"data:").strip()
        if line.startswith(b"data:") and data not in (b"", b"[DONE]"):
            yield _decoded(data, model)


def _request(asked: Generation, prompt: GenerationPrompt, *, stream: bool) -> tuple[bytes, bytes]:
    """The path and the body."""
    body: dict[str, Any] = {"model": asked.model, **asked.options.named("max_tokens")}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if prompt.messages is None:
        return b"/v1/completions", msgspec.json.encode({**body, "prompt": prompt.text})
    return b"/v1/chat/completions", msgspec.json.encode({**body, "messages": prompt.messages})


def _reason(given: str | None) -> str | None:
    return given if given in (None, "length") else "stop"


def _decoded(content: bytes, model: str) -> Completion:
    try:
        return _completion.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        text = content[:_LONGEST_MESSAGE].decode(errors="replace")
        raise InferenceError(
            f"The program of {model} did not answer as OpenAI's API does: {text}"
        ) from None


def _refusal(status: int, body: bytes) -> SireError:
    text = body[:_LONGEST_MESSAGE].decode(errors="replace")
    message = f"The program answered {status}: {text}"
    if status == _TOO_MANY:
        return QueueFull(message)
    if _CLIENT_ERROR <= status < _SERVER_ERROR:
        return InvalidInput(message)
    return InferenceError(message)
