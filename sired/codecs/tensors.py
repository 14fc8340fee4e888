"""Arrays as they are: what Python clients and the fastest of the others send."""

from typing import Any

from sire.protocol.content import TREE, Payload
from sire.spec import ImageOptions, Signature
from sire.tensors import pack, unpack
from sired.codecs.numbers import to_arrays


def decode(payload: Payload, signature: Signature, image: ImageOptions) -> Any:  # noqa: ARG001
    """Read arrays without copying them; lists of plain numbers become arrays."""
    data = unpack(payload)
    return to_arrays(data, signature, "the input") if payload.content_type == TREE else data


def encode(value: Any, accept: str) -> Payload:  # noqa: ARG001
    """Write arrays without copying them; the header says whether it took a tree to do so."""
    return pack(value)
