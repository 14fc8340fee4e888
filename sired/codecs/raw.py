"""Bytes that are not decoded, for models that read formats themselves."""

from typing import Any

import numpy as np

from sire.errors import InvalidInput
from sire.protocol.content import BYTES, Payload
from sire.spec import Signature
from sire.tensors import as_array
from sired.codecs.media import Media


def decode(payload: Payload, signature: Signature, media: Media) -> bytes:  # noqa: ARG001
    """The bytes of the input."""
    return bytes(payload.frames[0])


def encode(value: Any, accept: str) -> Payload:  # noqa: ARG001
    """Bytes, or an array of bytes, as they are.

    Raises:
        InvalidInput: the output is neither.
    """
    if isinstance(value, dict) and len(value) == 1:
        (value,) = value.values()
    array = as_array(value)
    if array is not None and array.dtype == np.uint8 and array.ndim == 1:
        value = array.tobytes()
    if not isinstance(value, bytes | bytearray | memoryview):
        raise InvalidInput(
            f"The output is a {type(value).__name__}, not bytes.",
            hint="Request another type: --to json",
        )
    return Payload(BYTES, (bytes(value),))
