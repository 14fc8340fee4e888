"""Selects the codec of a content type. Codecs are imported when they are first used."""

import importlib
import math
from functools import cache
from types import ModuleType
from typing import Any

from sire.errors import InvalidInput
from sire.protocol import content
from sire.protocol.content import Payload, is_json, is_text, sniff
from sire.spec import AudioOptions, ImageOptions, Signature, TensorSpec
from sire.tensors import ANYTHING, TEXT_DTYPES
from sired.codecs import parts
from sired.codecs.check import check
from sired.codecs.media import Media
from sired.codecs.recordings import is_rate
from sired.codecs.sizes import LARGEST_DECODED, check_decoded

_DECODERS = {
    content.JSON: "json",
    content.NPY: "npy",
    content.NPZ: "npy",
    content.CSV: "csv",
    content.TSV: "csv",
    content.TEXT: "text",
    content.SAFETENSORS: "safetensors",
    **dict.fromkeys(sorted(content.PICTURES), "image"),
    **dict.fromkeys(sorted(content.SOUNDS), "sound"),
    content.BYTES: "raw",
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
    **dict.fromkeys(content.PICTURES | content.SOUNDS, math.inf),
}
_READ_ONLY = (content.PICTURES | content.SOUNDS) - {content.PNG, content.WAV}
_ENCODERS = {kind: module for kind, module in _DECODERS.items() if kind not in _READ_ONLY}


def decode(
    payload: Payload,
    signature: Signature,
    image: ImageOptions,
    largest: int = LARGEST_DECODED,
    audio: AudioOptions = AudioOptions(),  # noqa: B008 (frozen)
) -> Any:
    """Decode a request's payload, and check it against the model's signature.

    Args:
        payload: of the request.
        signature: of the model, as far as it is known.
        image: how pixels are converted to numbers.
        largest: maximum number of bytes of the decoded input.
        audio: how audio is converted to samples.

    Returns:
        An array, a string, bytes, or dicts, lists and tuples of them.

    Raises:
        InvalidInput: the bytes are not of their content type, do not match the signature, or exceed
            the limit once they are decoded.
    """
    media = Media(image, audio, largest)
    if payload.content_type == content.PARTS:
        data = _decode_parts(payload, signature, media)
    else:
        data = _decode(payload, signature, media)
    return check(data, signature)


def _decode(payload: Payload, signature: Signature, media: Media) -> Any:
    """Decode one payload, without checking the result."""
    kind = payload.content_type
    if kind not in _DECODERS:
        kind, payload = _known(payload, signature)
    if kind not in {content.TENSORS, content.TREE}:
        _check_frame(payload)
    module = _module(_DECODERS[kind])
    if payload.size * _MAX_GROWTH.get(kind, 0) > media.largest:
        check_decoded(module.decoded_bytes(payload), media.largest)
    return module.decode(payload, signature, media)


def _decode_parts(payload: Payload, signature: Signature, media: Media) -> Any:
    """Decode each named input as the model takes it."""
    specs = {spec.name: spec for spec in signature.inputs}
    given = parts.split(payload)
    # The sampling rate of a recording is an input of its own, unless the request gives it.
    rates = tuple(one for one in signature.inputs if is_rate(one) and one.name not in given)
    decoded: dict[str, Any] = {}
    for name, part in given.items():
        own: tuple[TensorSpec, ...] = (specs[name],) if name in specs else ()
        if own and part.content_type in content.SOUNDS:
            own += rates
        try:
            data = _decode(part, Signature(own), media)
        except InvalidInput as problem:
            raise parts.named(name, problem) from None
        decoded.update(data if len(own) > 1 and isinstance(data, dict) else {name: data})
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


def _known(payload: Payload, signature: Signature) -> tuple[str, Payload]:
    """The content type without parameters, by its name or else by the bytes."""
    named = payload.content_type.partition(";")[0].strip().lower()
    if named in _DECODERS:
        # Only the parameters of tables matter: whether there is a header.
        exact = payload.content_type.lower() if named in _WITH_PARAMETERS else named
        return named, Payload(exact, payload.frames, payload.tensors)
    head = bytes(memoryview(payload.frames[0])[:16]) if payload.frames else b""
    found = sniff(head) or _guess(payload, signature, named)
    return found, Payload(found, payload.frames, payload.tensors)


def _guess(payload: Payload, signature: Signature, named: str) -> str:
    """The content type of bytes without a known beginning, by what the model takes."""
    dtypes = {spec.dtype for spec in signature.required()}
    if len(payload.frames) == 1 and named == content.UNKNOWN:
        if dtypes and dtypes <= {*TEXT_DTYPES, ANYTHING} and is_text(payload.frames[0]):
            return content.TEXT
        if is_json(payload.frames[0]):
            return content.JSON
    if not dtypes:
        return content.BYTES
    raise InvalidInput(
        f"The input's content type {payload.content_type!r} is not supported, and its bytes "
        "are not recognised.",
        hint=f"Specify it: --from {', '.join(content.BY_NAME)}",
    )
