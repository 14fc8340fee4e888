"""The bodies of requests, and what of them is refused by name."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from sire.errors import InvalidInput, error_text, shown

# Fields that concern the caller's bookkeeping, or how OpenAI runs its service.
_WITHOUT_EFFECT = frozenset(
    {
        *("user", "metadata", "store", "service_tier", "safety_identifier"),
        *("prompt_cache_key", "prompt_cache_retention"),
    }
)
# What other fields may say: that nothing is wanted of them.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
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
}
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

    def options(self) -> dict[str, Any]:
        """The options of a prompt of the runtime huggingface."""
        stop = [self.stop] if isinstance(self.stop, str) else list(self.stop or ())
        given = {
            "max_new_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "seed": self.seed,
            "stop": stop or None,
        }
        return {name: value for name, value in given.items() if value is not None}


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
    if not isinstance(body, Mapping):
        raise InvalidInput("The body is not a JSON object.")
    known = {field.name for field in msgspec.structs.fields(kind)}
    for name, value in body.items():
        if name in known or name in _WITHOUT_EFFECT or value is None:
            continue
        if value not in _NEUTRAL.get(name, ()):
            raise InvalidInput(
                f"{shown(name)} is not supported for models that sire runs itself.",
                hint="Omit it, or run the model by a program that knows it: sire register --cmd",
                param=name,
            )
    given = {name: value for name, value in body.items() if value is not None}
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as problem:
        raise InvalidInput(f"The request is not valid: {error_text(problem)}.") from None
