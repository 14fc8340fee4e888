"""Estimates the memory of a decoded input before it is decoded."""

from sire.errors import InvalidInput
from sire.protocol.content import Payload
from sire.units import format_bytes

# The limit if the settings do not set one.
LARGEST_DECODED = 4 << 30
_CHUNK = 1 << 20


def check_decoded(size: int, largest: int) -> None:
    """Reject an input that would exceed the limit once it is decoded; both in bytes.

    Raises:
        InvalidInput: ``size`` exceeds ``largest``.
    """
    if size > largest:
        raise InvalidInput(
            f"The input takes {format_bytes(size)} once it is decoded, which exceeds the limit of "
            f"{format_bytes(largest)}.",
            hint="Send less at a time, or raise the daemon's limit: max_decoded in [daemon].",
            size=size,
            limit=largest,
        )


def count(payload: Payload, characters: bytes) -> int:
    """Occurrences of any of these characters in the first frame, which is never copied whole."""
    view = memoryview(payload.frames[0]).cast("B")
    chunks = (bytes(view[at : at + _CHUNK]) for at in range(0, view.nbytes, _CHUNK))
    return sum(chunk.count(character) for chunk in chunks for character in characters)
