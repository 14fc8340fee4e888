"""Which codec does what. Codecs are imported when first used: most models need one or two."""

import importlib
import math
from functools import cache
from types import ModuleType
from typing import Any

from sire.errors import InvalidInput
from sire.protocol import content
from sire.protocol.content import Payload, sniff
from sire.spec import ImageOptions, Signature
from sired.codecs.check import check
from sired.codecs.sizes import LARGEST_DECODED, check_decoded

_DECODERS = {
    content.JSON: "json",
    content.NPY: "npy",
    content.NPZ: "npy",
    content.CSV: "csv",
    content.TEXT: "text",
    content.SAFETENSORS: "safetensors",
    content.PNG: "image",
    content.JPEG: "image",
    content.WAV: "wav",
    content.TENSORS: "tensors",
    content.TREE: "tensors",
}
# What may take a multiple of its bytes once it is decoded, and how many times as many at most.
_MOST_GROWTH = {
    content.JSON: 64,
    content.CSV: 64,
    content.NPZ: math.inf,
    content.PNG: math.inf,
    content.JPEG: math.inf,
}
_ENCODERS = {kind: module for kind, module in _DECODERS.items() if module not in {"image", "wav"}}


def decode(
    payload: Payload,
    signature: Signature,
    image: ImageOptions,
    largest: int = LARGEST_DECODED,
) -> Any:
    """Turn a request's payload into what the model takes.

    Args:
        payload: what came.
        signature: what the model takes, as far as that is known.
        image: how pixels become numbers.
        largest: bytes that the input may take once it is decoded.

    Returns:
        An array, a string, or dicts, lists and tuples of them, held against the signature.

    Raises:
        InvalidInput: the bytes are not what they are said to be, not what the model takes, or
            too much.
    """
    kind = payload.content_type
    if kind not in _DECODERS:
        kind = _known(payload)
        payload = Payload(kind, payload.frames, payload.tensors)
    if kind not in {content.TENSORS, content.TREE}:
        _check_frame(payload)
    module = _module(_DECODERS[kind])
    if payload.size * _MOST_GROWTH.get(kind, 0) > largest:
        check_decoded(module.decoded_bytes(payload), largest)
    data = module.decode(payload, signature, image)
    return check(data, signature)


def encode(value: Any, accept: str) -> Payload:
    """Turn a model's answer into the content type that was asked for.

    Raises:
        InvalidInput: nothing is written in that content type, or not this value.
    """
    if accept not in _ENCODERS:
        raise InvalidInput(
            f"Answers cannot be written as {accept!r}.",
            hint=f"They can as: {', '.join(_ENCODERS)}.",
        )
    answer: Payload = _module(_ENCODERS[accept]).encode(value, accept)
    return answer


@cache
def _module(name: str) -> ModuleType:
    return importlib.import_module(f"sired.codecs.{name}")


def _check_frame(payload: Payload) -> None:
    kind = payload.content_type
    if len(payload.frames) != 1:
        raise InvalidInput(f"{kind} comes in one frame of payload, not {len(payload.frames)}.")
    if not payload.size:
        raise InvalidInput(f"The input is empty: {kind} was to come.")


def _known(payload: Payload) -> str:
    """The content type that was meant, by its name without parameters, or by the first bytes."""
    named = payload.content_type.partition(";")[0].strip().lower()
    if named in _DECODERS:
        return named
    head = bytes(memoryview(payload.frames[0])[:16]) if payload.frames else b""
    found = sniff(head)
    if found is None:
        raise InvalidInput(
            f"The input's type {payload.content_type!r} is not understood, and its bytes do not "
            "tell.",
            hint=f"Name it: --from {', '.join(content.BY_NAME)}",
        )
    return found
