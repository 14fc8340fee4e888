"""JSON: numbers become arrays; NaN and infinity, which JSON does not have, are written as null."""

import base64
import math
from typing import Any

import msgspec
import numpy as np

from sired.codecs.numbers import to_arrays
from sired.errors import InvalidInput
from sired.protocol.content import JSON, Payload
from sired.spec import ImageOptions, Signature
from sired.tensors import as_array


def decode(payload: Payload, signature: Signature, image: ImageOptions) -> Any:  # noqa: ARG001
    """Read JSON; lists of numbers become arrays, of the signature's dtype where it has one."""
    content = payload.frames[0]
    if not memoryview(content).nbytes:
        raise InvalidInput("The JSON input is empty.")
    try:
        document = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        hint = (
            "NaN and Infinity are no JSON."
            if b"N" in bytes(content) or b"I" in bytes(content)
            else ""
        )
        raise InvalidInput(f"The input is not valid JSON: {problem}.", hint=hint) from None
    return to_arrays(document, "the input")


def encode(value: Any, accept: str) -> Payload:  # noqa: ARG001
    """Write JSON; arrays become lists, bytes become base64."""
    return Payload(JSON, (msgspec.json.encode(_plain(value)),))


def _plain(value: Any) -> Any:
    if (array := as_array(value)) is not None:
        return _list(array)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str | int | float | None):
        return value
    raise InvalidInput(
        f"The model answered with a {type(value).__name__}, which JSON does not have.",
        hint="Have it return arrays, numbers, strings, dicts, lists and tuples.",
    )


def _list(array: Any) -> Any:
    if array.dtype.kind == "c":
        raise InvalidInput("JSON has no complex numbers.", hint="Ask for npy: --to npy")
    if array.dtype.kind != "f":
        return array.tolist()
    if array.dtype.itemsize < np.dtype(np.float64).itemsize:
        # By way of numpy's own text, which has the fewest digits that tell the values of this
        # precision apart: 0.1, not 0.10000000149.
        array = array.astype(np.str_).astype(np.float64)
    if np.isfinite(array).all():
        return array.tolist()
    boxed = array.astype(object)
    boxed[~np.isfinite(array)] = None
    return boxed.tolist()
