"""JSON: numbers become arrays; NaN and infinity, which JSON lacks, are encoded as null."""

import base64
import re
from typing import Any

import msgspec
import numpy as np
import orjson

from sire.errors import InvalidInput
from sire.protocol.content import BYTE_ORDER_MARKS, JSON, Buffer, Payload
from sire.spec import Signature
from sire.tensors import as_array
from sired.codecs.floats import shortest
from sired.codecs.media import Media
from sired.codecs.numbers import to_arrays
from sired.codecs.sizes import count
from sired.codecs.unicode import decode_text

_WHERE = re.compile(r" \(byte (\d+)\)")
# Bytes of an empty list or dict in Python, and of a number including the pointer to it.
_CONTAINER, _ITEM = 64, 32
_NO_NUMBER = re.compile(rb"-?(NaN|Infinity)")
# The first two bytes of a text with a byte order mark.
_MARKED = frozenset(mark[:2] for mark in BYTE_ORDER_MARKS)


def decode(payload: Payload, signature: Signature, media: Media) -> Any:  # noqa: ARG001
    """Decode JSON in UTF-8, or in UTF-16 with a byte order mark; lists of numbers become arrays.

    Raises:
        InvalidInput: it is not valid JSON, or a list of numbers is not an array.
    """
    content = payload.frames[0]
    if bytes(memoryview(content)[:2]) in _MARKED:
        content = decode_text(content, "The JSON input").encode()
    try:
        document = msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise _malformed(content, problem) from None
    return to_arrays(document, signature, "the input")


def decoded_bytes(payload: Payload) -> int:
    """Bytes of lists and objects, and of the numbers in them."""
    return _CONTAINER * count(payload, b"[{") + _ITEM * count(payload, b",")


def _malformed(content: Buffer, problem: Exception) -> InvalidInput:
    reason, hint = str(problem), ""
    if match := _WHERE.search(reason):
        offset = int(match[1])
        before = bytes(memoryview(content)[:offset])
        line, column = before.count(b"\n") + 1, offset - before.rfind(b"\n")
        reason = f"{reason[: match.start()]} in line {line}, column {column}"
        if found := _NO_NUMBER.match(bytes(memoryview(content)[offset : offset + 9])):
            hint = f"JSON has no {found[0].decode()}: send npy, or omit it."
    return InvalidInput(f"The input is not valid JSON: {reason}.", hint=hint)


def encode(value: Any, accept: str) -> Payload:  # noqa: ARG001
    """Encode JSON; arrays become lists, bytes become base64.

    Raises:
        InvalidInput: the output has values that JSON cannot represent.
    """
    try:
        return Payload(JSON, (orjson.dumps(_plain(value), option=orjson.OPT_SERIALIZE_NUMPY),))
    except (orjson.JSONEncodeError, RecursionError) as problem:
        raise InvalidInput(f"The output cannot be encoded as JSON: {problem}.") from None


def _plain(value: Any) -> Any:
    if (array := as_array(value)) is not None:
        return _numbers(array)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, str | int | float | None):
        return value
    raise InvalidInput(
        f"The model returned a {type(value).__name__}, which JSON cannot represent.",
        hint="Have it return arrays, numbers, strings, dicts, lists and tuples.",
    )


def _numbers(array: Any) -> Any:
    """An array in a form that orjson encodes: shortest digits, NaN and infinity as null."""
    if array.dtype.kind == "c":
        raise InvalidInput("JSON has no complex numbers.", hint="Request npy: --to npy")
    if array.dtype.kind == "O":
        return _plain(array.tolist())
    if array.dtype.kind == "f" and (not array.ndim or array.dtype == np.longdouble):
        return shortest(array).tolist()
    if array.dtype.kind not in "biuf" or not array.ndim:
        return array.tolist()
    return array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
