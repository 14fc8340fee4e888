"""Raw arrays with dtype and shape in the header: the fastest format, used by Python clients."""

from typing import Any

from sire.protocol.content import TREE, Payload
from sire.spec import Signature
from sire.tensors import pack, unpack
from sired.codecs.media import Media
from sired.codecs.numbers import to_arrays


def decode(payload: Payload, signature: Signature, media: Media) -> Any:  # noqa: ARG001
    """Decode arrays without copying them; lists of plain numbers become arrays.

    Raises:
        InvalidInput: the frames do not match the header.
    """
    data = unpack(payload)
    return to_arrays(data, signature, "the input") if payload.content_type == TREE else data


def encode(value: Any, accept: str) -> Payload:  # noqa: ARG001
    """Encode arrays without copying them; nested outputs are encoded as a tree."""
    return pack(value)
