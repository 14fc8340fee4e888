"""The bodies of requests, and what of them is refused by name."""

from typing import Any, Literal

import msgspec

from sire.errors import InvalidInput
from sired.gateway.fields import Accepted, read_fields
from sired.gateway.generation.request import Generation, GenerationPrompt, Options

_ACCEPTED = Accepted(
    without_effect=frozenset({"metadata", "service_tier"}),
    neutral={
        "tools": ([],),
        "tool_choice": ({"type": "none"},),
        "thinking": ({"type": "disabled"},),
    },
)


class Text(msgspec.Struct, frozen=True):
    """A block of text."""

    type: Literal["text"]
    text: str


Content = str | tuple[Text, ...]


class AnthropicMessage(msgspec.Struct, frozen=True):
    """One message of a chat."""

    role: Literal["user", "assistant"]
    content: Content


class MessagesRequest(msgspec.Struct, frozen=True, kw_only=True):
    """``/v1/messages``."""

    model: str
    messages: tuple[AnthropicMessage, ...]
    max_tokens: int
    system: Content = ""
    stop_sequences: tuple[str, ...] = ()
    stream: bool = False
    temperature: float | None = None
    top_p: float | None = None

    def generation(self, model: str) -> Generation:
        """What is asked of the model that was chosen."""
        chat = [{"role": one.role, "content": _text(one.content)} for one in self.messages]
        if system := _text(self.system):
            chat.insert(0, {"role": "system", "content": system})
        options = Options(self.max_tokens, self.temperature, self.top_p, stop=self.stop_sequences)
        return Generation(model, (GenerationPrompt(messages=tuple(chat)),), options)


def read(body: Any) -> MessagesRequest:
    """A body as a request.

    Raises:
        InvalidInput: a field is missing, not valid, or asks for what is not supported.
    """
    request = read_fields(body, MessagesRequest, _ACCEPTED)
    if not request.messages:
        raise InvalidInput("messages is empty.", param="messages")
    return request


def _text(content: Content) -> str:
    return content if isinstance(content, str) else "".join(block.text for block in content)
