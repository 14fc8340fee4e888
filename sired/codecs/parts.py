"""Named inputs of different content types in one request."""

import msgspec

from sire.errors import InvalidInput, error_text
from sire.protocol.content import PARTS, Payload

_HEADER = msgspec.msgpack.Decoder(list[tuple[str, str]])


def split(payload: Payload) -> dict[str, Payload]:
    """The payload of each named input.

    Raises:
        InvalidInput: the first frame does not describe the others, or two have the same name.
    """
    if not payload.frames:
        raise InvalidInput(f"{PARTS} without a first frame.")
    try:
        described = _HEADER.decode(payload.frames[0])
    except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
        raise InvalidInput(
            f"The first frame of {PARTS} cannot be read: {error_text(problem)}."
        ) from None
    frames = payload.frames[1:]
    if len(described) != len(frames):
        raise InvalidInput(
            f"{PARTS} describes {len(described)} inputs, but has {len(frames)} frames for them."
        )
    parts = {
        name: Payload(kind, (frame,)) for (name, kind), frame in zip(described, frames, strict=True)
    }
    if len(parts) < len(frames):
        raise InvalidInput("Two inputs have the same name.")
    if PARTS in (kind for _, kind in described):
        raise InvalidInput(f"{PARTS} cannot contain itself.")
    return parts


def named(name: str, problem: InvalidInput) -> InvalidInput:
    """An error with the name of the input that it is about."""
    return InvalidInput(f"{name}: {problem.message}", hint=problem.hint)
