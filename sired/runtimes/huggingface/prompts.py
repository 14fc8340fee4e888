"""Requests to generate text that are objects: prompts or chats, with options of their own."""

import copy
from collections.abc import Generator, Iterable
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from sire.errors import InvalidInput, error_text
from sired.runtimes.huggingface.items import items_in
from sired.runtimes.huggingface.task import texts_in

_Count = Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]
_Share = Annotated[float, msgspec.Meta(gt=0, le=1)]


class TextPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a message."""

    type: Literal["text"]
    text: str


class ChatMessage(msgspec.Struct, frozen=True):
    """One message of a chat."""

    role: str
    content: str | tuple[TextPart, ...]

    def for_template(self) -> dict[str, str]:
        """The message as chat templates read it."""
        if isinstance(self.content, str):
            return {"role": self.role, "content": self.content}
        return {"role": self.role, "content": "".join(part.text for part in self.content)}


class Prompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to continue, and how; an option that is None is that of the model.

    Attributes:
        text: to continue; None for a chat.
        messages: a chat, which the model's template turns into text.
        max_new_tokens: most tokens to generate.
        temperature: 0 takes the most likely token each time.
        top_p: only the most likely tokens with this probability together are drawn from.
        seed: of what is drawn.
        stop: texts at whose first occurrence the answer ends, without them.
    """

    text: str | None = None
    messages: tuple[ChatMessage, ...] = ()
    max_new_tokens: _Count | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None
    top_p: _Share | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def applied_to(self, config: Any) -> Any:
        """A copy of a generation config with these options."""
        config = copy.copy(config)
        if self.max_new_tokens is not None:
            room = config.max_new_tokens or self.max_new_tokens
            config.max_new_tokens = min(self.max_new_tokens, room)
            config.max_length = None
        if self.temperature == 0:
            config.do_sample, config.temperature, config.top_p = False, None, None
        elif self.temperature is not None or self.top_p is not None:
            config.do_sample = True
            config.temperature = self.temperature or config.temperature
            config.top_p = self.top_p or config.top_p
        return config


def prompts_in(data: Any) -> list[str | Prompt]:
    """The prompts of a request: texts, and objects; one that has only texts stands for them.

    Raises:
        InvalidInput: an item is neither.
    """
    found: list[str | Prompt] = []
    for item in items_in(data):
        if isinstance(item, dict) and item.keys() == {"text"}:
            found += texts_in(item)
        else:
            found.append(item if isinstance(item, str) else _prompt(item))
    if not found:
        raise InvalidInput("The model takes text: a string, or a list of strings.")
    return found


def _prompt(item: Any) -> Prompt:
    try:
        prompt = msgspec.convert(_plain(item), Prompt)
    except msgspec.ValidationError as problem:
        raise InvalidInput(
            f"The prompt is neither text nor an object of one: {error_text(problem)}."
        ) from None
    if (prompt.text is None) == (not prompt.messages):
        raise InvalidInput("A prompt needs either text or messages.")
    return prompt


def _plain(item: Any) -> Any:
    """The item with Python's numbers and lists, which codecs decode to arrays."""
    if isinstance(item, dict):
        return {name: _plain(value) for name, value in item.items()}
    if isinstance(item, list | tuple):
        return [_plain(value) for value in item]
    return item.tolist() if isinstance(item, np.ndarray | np.generic) else item


def until_stop(parts: Iterable[str], stops: tuple[str, ...]) -> Generator[str, None, bool]:
    """The parts up to the first of some texts; returns whether there was one.

    What could be the beginning of one is held back until the next part.
    """
    if not any(stops):
        yield from parts
        return False
    stops = tuple(filter(None, stops))
    held = ""
    for part in parts:
        held += part
        found = min((place for stop in stops if (place := held.find(stop)) >= 0), default=-1)
        if found >= 0:
            if held[:found]:
                yield held[:found]
            return True
        keep = max(_overlap(held, stop) for stop in stops)
        if ready := held[: len(held) - keep]:
            yield ready
        held = held[len(held) - keep :]
    if held:
        yield held
    return False


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of a text that a stop begins with."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
