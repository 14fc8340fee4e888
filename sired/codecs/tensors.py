"""Arrays as they are: what Python clients and the fastest of the others send."""

from typing import Any

from sired.protocol.content import Payload
from sired.spec import ImageOptions, Signature
from sired.tensors import pack, unpack


def decode(payload: Payload, signature: Signature, image: ImageOptions) -> Any:  # noqa: ARG001
    """Read arrays without copying them."""
    return unpack(payload)


def encode(value: Any, accept: str) -> Payload:  # noqa: ARG001
    """Write arrays without copying them; the header says whether it took a tree to do so."""
    return pack(value)
