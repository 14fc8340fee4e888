"""What is asked of a model that generates text, and what it answers."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from sire.spec import KeepAlive


@dataclass(frozen=True, slots=True)
class Options:
    """How text is generated; None for the model's own setting.

    Attributes:
        stop: texts at whose first occurrence the answer ends, without them.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def named(self, max_tokens: str) -> dict[str, Any]:
        """Those that are given, by name; the first has the name ``max_tokens``."""
        given = {
            max_tokens: self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "seed": self.seed,
            "stop": list(self.stop) or None,
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class GenerationPrompt:
    """What is continued: a text, or a chat in OpenAI's form."""

    text: str = ""
    messages: tuple[dict[str, Any], ...] | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """A request for text.

    Attributes:
        prompts: at least one; each is answered by itself.
        keep_alive: how long the model stays loaded afterwards; None for its own setting.
    """

    model: str
    prompts: tuple[GenerationPrompt, ...]
    options: Options = field(default_factory=Options)
    keep_alive: KeepAlive = None


class Generated(msgspec.Struct, frozen=True):
    """A text, or a part of one; the last part has the counts.

    Attributes:
        finish_reason: "stop" or "length"; None if more follows.
    """

    text: str
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Generator(Protocol):
    """Has one kind of model generate text."""

    async def whole(self, asked: Generation) -> tuple[Generated, ...]:
        """The answers to all prompts, each with its counts.

        Raises:
            SireError: the errors of a prediction.
        """

    def parts(self, asked: Generation) -> AsyncGenerator[Generated, None]:
        """The answer to the first prompt, as it is generated; closing it cancels the request.

        Raises:
            SireError: the errors of a prediction, perhaps after some parts.
        """
