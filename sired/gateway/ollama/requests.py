"""The bodies of requests, and what of them is refused by name."""

from typing import Any, Literal

import msgspec

from sire.errors import InvalidConfiguration, InvalidInput
from sire.options.kinds import parse_keep_alive
from sire.spec import KeepAlive
from sired.gateway.fields import Accepted, read_fields
from sired.gateway.generation.request import GenerationPrompt, Options

# Options that say how a server runs a model, which sire decides.
_RUN_OPTIONS = frozenset(
    {
        *("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "use_mmap", "numa"),
        *("num_keep", "low_vram", "use_mlock", "vocab_only"),
    }
)
ACCEPTED = Accepted(
    without_effect=frozenset({"template", "context", "truncate"}),
    neutral={
        "images": ([],),
        "suffix": ("",),
        "format": ("",),
        "think": (False,),
        "tools": ([],),
        "logprobs": (False,),
    },
)


class OptionFields(msgspec.Struct, frozen=True):
    """The field ``options``."""

    num_predict: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | tuple[str, ...] = ()


class _Common(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    keep_alive: str | float | None = None

    def kept(self) -> KeepAlive:
        """How long the model stays loaded; a negative number means forever.

        Raises:
            InvalidInput: it is not a duration.
        """
        given = self.keep_alive
        if isinstance(given, str) and given.startswith("-"):
            return "forever"
        if isinstance(given, float) and given < 0:
            return "forever"
        try:
            return parse_keep_alive(given)
        except InvalidConfiguration as problem:
            raise InvalidInput(problem.message, hint=problem.hint) from None


class Generating(_Common, frozen=True, kw_only=True):
    """What both ways to generate text take."""

    stream: bool = True
    options: dict[str, Any] = {}

    def generation_options(self) -> Options:
        """How the text is generated.

        Raises:
            InvalidInput: an option is not valid or not supported.
        """
        given = {name: value for name, value in self.options.items() if name not in _RUN_OPTIONS}
        found = read_fields(given, OptionFields, Accepted())
        most = found.num_predict
        stop = (found.stop,) if isinstance(found.stop, str) else found.stop
        return Options(
            None if most is not None and most < 0 else most,
            found.temperature,
            found.top_p,
            found.seed,
            stop,
        )


class GenerateRequest(Generating, frozen=True, kw_only=True):
    """``/api/generate``."""

    prompt: str = ""
    system: str = ""
    raw: bool = False

    def asked(self, *, templated: bool) -> GenerationPrompt | None:
        """What is continued; None if it is only wanted that the model is loaded.

        Args:
            templated: whether the model's own program makes a chat of a prompt.
        """
        if not self.prompt:
            return None
        if self.raw or (templated and not self.system):
            return GenerationPrompt(self.prompt)
        system = ({"role": "system", "content": self.system},) if self.system else ()
        return GenerationPrompt(messages=(*system, {"role": "user", "content": self.prompt}))


class OllamaMessage(msgspec.Struct, frozen=True):
    """One message of a chat."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    images: tuple[str, ...] = ()

    def as_openai(self) -> dict[str, Any]:
        """The message in OpenAI's form; pictures become parts."""
        if not self.images:
            return {"role": self.role, "content": self.content}
        pictures = [
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
            for image in self.images
        ]
        text = {"type": "text", "text": self.content}
        return {"role": self.role, "content": [text, *pictures]}


class OllamaChatRequest(Generating, frozen=True, kw_only=True):
    """``/api/chat``."""

    messages: tuple[OllamaMessage, ...] = ()

    def asked(self) -> GenerationPrompt | None:
        """What is continued; None if it is only wanted that the model is loaded."""
        if not self.messages:
            return None
        return GenerationPrompt(messages=tuple(one.as_openai() for one in self.messages))


class EmbedRequest(_Common, frozen=True, kw_only=True):
    """``/api/embed``."""

    input: str | tuple[str, ...] = ()
    dimensions: int | None = None


class OldEmbedRequest(_Common, frozen=True, kw_only=True):
    """``/api/embeddings``."""

    prompt: str = ""
