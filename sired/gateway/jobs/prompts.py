"""Prompts as the input of any model, and answers as what a client wants to read."""

from collections.abc import Sequence
from typing import Any

import msgspec

from sire.errors import InvalidInput
from sire.protocol.content import Buffer
from sire.protocol.message import Message
from sire.protocol.replies import ModelInfo, Prediction

# The fields in which Ollama, llama.cpp and OpenAI's API answer prompts.
_TEXTS = ("response", "content", "text")


def input_of(info: ModelInfo, prompt: str, images: Sequence[str] = ()) -> Any:
    """A prompt as the JSON that a model takes.

    Raises:
        InvalidInput: it takes no images.
    """
    if info.model.runtime == "ollama":
        return {"prompt": prompt, **({"images": list(images)} if images else {})}
    if images:
        raise InvalidInput(
            f"{info.model.name} takes no images beside a prompt.",
            hint="Models of an Ollama server do. Send a picture itself to /models/NAME/predict.",
            param="images",
        )
    return {"prompt": prompt} if info.serves_http else prompt


def answer_of(reply: Message, frames: Sequence[Buffer]) -> Any:
    """What a model answered to a prompt: its text if it wrote one, else its answer as data."""
    assert isinstance(reply, Prediction)
    value = msgspec.json.decode(b"".join(frames))
    if isinstance(value, dict):
        return next((value[name] for name in _TEXTS if isinstance(value.get(name), str)), value)
    return value
