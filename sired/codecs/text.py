"""Plain UTF-8 text."""

from typing import Any

from sire.errors import InvalidInput
from sire.protocol.content import TEXT, Payload
from sire.spec import Signature
from sire.tensors import as_array, holds_text
from sired.codecs.floats import shortest
from sired.codecs.media import Media
from sired.codecs.unicode import decode_text


def decode(payload: Payload, signature: Signature, media: Media) -> str:  # noqa: ARG001
    """Decode text in UTF-8, or in UTF-16 with a byte order mark, without the newline at its end.

    Raises:
        InvalidInput: it is neither.
    """
    text = decode_text(payload.frames[0], "The text input")
    return text.removesuffix("\n").removesuffix("\r")


def encode(value: Any, accept: str) -> Payload:  # noqa: ARG001
    """Encode a string or number as a line, or a list of them as one line per item.

    Raises:
        InvalidInput: the output is neither.
    """
    if (array := as_array(value)) is not None:
        value = _lines(array)
    lines = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(line, str | int | float) for line in lines):
        raise InvalidInput("The output is not text.", hint="Request json or npy: --to json")
    return Payload(TEXT, ("".join(f"{line}\n" for line in lines).encode(errors="replace"),))


def _lines(array: Any) -> Any:
    if array.ndim <= 1 and holds_text(array):
        return array.tolist()
    if array.size == 1:
        return (shortest(array) if array.dtype.kind == "f" else array).item()
    return None
