"""Selects the codec of a content type. Codecs are imported when they are first used."""

import importlib
import math
from functools import cache
from types import ModuleType
from typing import Any

from sire.errors import InvalidInput
from sire.protocol import content
from sire.protocol.content import Payload, sniff
from sire.spec import ImageOptions, Signature
from sired.codecs import parts
from sired.codecs.check import check
from sired.codecs.sizes import LARGEST_DECODED, check_decoded

_DECODERS = {
    content.JSON: "json",
    content.NPY: "npy",
    content.NPZ: "npy",
    content.CSV: "csv",
    content.TSV: "csv",
    content.TEXT: "text",
    content.SAFETENSORS: "safetensors",
    content.PNG: "image",
    content.JPEG: "image",
    content.WAV: "wav",
    content.TENSORS: "tensors",
    content.TREE: "tensors",
}
_WITH_PARAMETERS = frozenset({content.CSV, content.TSV})
# Bounds of decoded bytes per encoded byte, for types that can grow.
_MAX_GROWTH = {
    content.JSON: 64,
    content.CSV: 64,
    content.TSV: 64,
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
    """Decode a request's payload, and check it against the model's signature.

    Args:
        payload: of the request.
        signature: of the model, as far as it is known.
        image: how pixels are converted to numbers.
        largest: maximum number of bytes of the decoded input.

    Returns:
        An array, a string, or dicts, lists and tuples of them.

    Raises:
        InvalidInput: the bytes are not of their content type, do not match the signature, or exceed
            the limit once they are decoded.
    """
    if payload.content_type == content.PARTS:
        data = _decode_parts(payload, signature, image, largest)
    else:
        data = _decode(payload, signature, image, largest)
    return check(data, signature)


def _decode(payload: Payload, signature: Signature, image: ImageOptions, largest: int) -> Any:
    """Decode one payload, without checking the result."""
    kind = payload.content_type
    if kind not in _DECODERS:
        kind, payload = _known(payload)
    if kind not in {content.TENSORS, content.TREE}:
        _check_frame(payload)
    module = _module(_DECODERS[kind])
    if payload.size * _MAX_GROWTH.get(kind, 0) > largest:
        check_decoded(module.decoded_bytes(payload), largest)
    return module.decode(payload, signature, image)


def _decode_parts(payload: Payload, signature: Signature, image: ImageOptions, largest: int) -> Any:
    """Decode each named input as the model takes it."""
    specs = {spec.name: spec for spec in signature.inputs}
    decoded = {}
    for name, part in parts.split(payload).items():
        own = Signature((specs[name],)) if name in specs else Signature()
        try:
            decoded[name] = _decode(part, own, image, largest)
        except InvalidInput as problem:
            raise parts.named(name, problem) from None
    return decoded


def encode(value: Any, accept: str) -> Payload:
    """Encode a model's output in the requested content type.

    Args:
        value: arrays, numbers, strings, and dicts, lists and tuples of them.
        accept: a content type.

    Raises:
        InvalidInput: outputs cannot be encoded in that content type, or not this output.
    """
    if accept not in _ENCODERS:
        raise InvalidInput(
            f"Outputs cannot be encoded as {accept!r}.",
            hint=f"Supported are: {', '.join(_ENCODERS)}.",
        )
    output: Payload = _module(_ENCODERS[accept]).encode(value, accept)
    return output


@cache
def _module(name: str) -> ModuleType:
    return importlib.import_module(f"sired.codecs.{name}")


def _check_frame(payload: Payload) -> None:
    kind = payload.content_type
    if len(payload.frames) != 1:
        raise InvalidInput(f"{kind} takes one payload frame (got {len(payload.frames)}).")
    if not payload.size:
        raise InvalidInput(f"The input is empty; {kind} was expected.")


def _known(payload: Payload) -> tuple[str, Payload]:
    """The content type without parameters, by its name or else by the first bytes."""
    named = payload.content_type.partition(";")[0].strip().lower()
    if named in _DECODERS:
        # Only the parameters of tables matter: whether there is a header.
        exact = payload.content_type.lower() if named in _WITH_PARAMETERS else named
        return named, Payload(exact, payload.frames, payload.tensors)
    head = bytes(memoryview(payload.frames[0])[:16]) if payload.frames else b""
    found = sniff(head)
    if found is None:
        raise InvalidInput(
            f"The input's content type {payload.content_type!r} is not supported, and its bytes "
            "are not recognised.",
            hint=f"Specify it: --from {', '.join(content.BY_NAME)}",
        )
    return found, Payload(found, payload.frames, payload.tensors)
