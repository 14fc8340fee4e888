"""How much memory an input takes once it is decoded, told before it is."""

from sire.errors import InvalidInput
from sire.protocol.content import Payload
from sire.units import format_bytes

# What an input may take, where the settings do not say.
LARGEST_DECODED = 4 << 30
_PIECE = 1 << 20


def check_decoded(size: int, largest: int) -> None:
    """Refuse what takes more memory than it may; both in bytes.

    Raises:
        InvalidInput: it does.
    """
    if size > largest:
        raise InvalidInput(
            f"The input takes {format_bytes(size)} once it is decoded; {format_bytes(largest)} is "
            "the limit.",
            hint="Send less at a time, or raise the daemon's limit: max_decoded in [daemon].",
            size=size,
            limit=largest,
        )


def count(payload: Payload, characters: bytes) -> int:
    """How often any of these stands in the first frame; a copy of all of it is never made."""
    view = memoryview(payload.frames[0]).cast("B")
    pieces = (bytes(view[at : at + _PIECE]) for at in range(0, view.nbytes, _PIECE))
    return sum(piece.count(character) for piece in pieces for character in characters)
