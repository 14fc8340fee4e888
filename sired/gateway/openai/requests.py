"""The bodies of requests, and what of them is refused by name."""

from typing import Annotated, Any, Literal, TypeVar

import msgspec

from sired.gateway.fields import Accepted, read_fields
from sired.gateway.generation.request import Options

_ACCEPTED = Accepted(
    without_effect=frozenset(
        {
            *("user", "metadata", "store", "service_tier", "safety_identifier"),
            *("prompt_cache_key", "prompt_cache_retention"),
        }
    ),
    neutral={
        "n": (1,),
        "best_of": (1,),
        "logprobs": (False,),
        "frequency_penalty": (0,),
        "presence_penalty": (0,),
        "logit_bias": ({},),
        "response_format": ({"type": "text"},),
        "tool_choice": ("none",),
        "tools": ([],),
        "echo": (False,),
        "suffix": ("",),
        "modalities": (["text"],),
        "parallel_tool_calls": (True, False),
    },
)
_Kind = TypeVar("_Kind", bound=msgspec.Struct)


class StreamOptions(msgspec.Struct, frozen=True):
    """What a stream has besides text."""

    include_usage: bool = False


class _Generation(msgspec.Struct, frozen=True, kw_only=True):
    """What both kinds of completions take."""

    model: str
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | tuple[str, ...] | None = None

    def options(self) -> Options:
        """How the text is generated."""
        stop = (self.stop,) if isinstance(self.stop, str) else self.stop or ()
        return Options(self.max_tokens, self.temperature, self.top_p, self.seed, stop)


class ChatRequest(_Generation, frozen=True, kw_only=True):
    """``/v1/chat/completions``."""

    messages: tuple[dict[str, Any], ...]
    max_completion_tokens: int | None = None


class CompletionRequest(_Generation, frozen=True, kw_only=True):
    """``/v1/completions``."""

    prompt: str | tuple[str, ...]


class EmbeddingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """``/v1/embeddings``."""

    model: str
    input: str | Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None


def read(body: Any, kind: type[_Kind]) -> _Kind:
    """A body as a request of a kind.

    Raises:
        InvalidInput: a field is missing, not valid, or asks for what is not supported.
    """
    return read_fields(body, kind, _ACCEPTED)
