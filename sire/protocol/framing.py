"""Encoding messages: one msgpack header frame, then the payload frames unchanged."""

from typing import Any

import msgspec

from sire.errors import InvalidInput, ProtocolError, SireError, error_from, error_text, shown
from sire.protocol.message import PROTOCOL_VERSION, Message
from sire.protocol.replies import Failure, Reply
from sire.protocol.requests import Request

# Headers are small: a longer one is a mistake or an attack, and is not parsed.
LARGEST_HEADER = 1 << 20

_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
# What to do about a field that is too large.
_INSTEAD = {
    "model": "Keep long arguments in a file, and give the model its path.",
    "metadata": "Keep long texts in a file, and submit its path as metadata.",
    "tensors": "Send one array instead of many small ones: numpy.stack, or numpy.concatenate.",
}
_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_replies: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)


class Preamble(msgspec.Struct):
    """The part of a header that can be read when the rest cannot."""

    id: str | int = ""
    v: Any = PROTOCOL_VERSION


_preambles: msgspec.msgpack.Decoder[Preamble] = msgspec.msgpack.Decoder(Preamble)


def encode(message: Message) -> bytes:
    """The header frame of a message."""
    return _encoder.encode(message)


def encode_request(request: Request) -> bytes:
    """The header frame of a request, which the daemon accepts.

    Raises:
        InvalidInput: it exceeds the limit, or contains a value that cannot be sent.
    """
    try:
        header = _encoder.encode(request)
    except (TypeError, ValueError, OverflowError, RecursionError) as problem:
        raise InvalidInput(
            f"The {_kind(request)} request cannot be sent: {error_text(problem)}."
        ) from None
    if len(header) > LARGEST_HEADER:
        raise _header_too_large(request, len(header))
    return header


def _header_too_large(request: Request, size: int) -> InvalidInput:
    """The error of a header over the limit; names the field that takes most of it."""
    sizes = {
        name: len(_encoder.encode(getattr(request, name))) for name in request.__struct_fields__
    }
    largest = max(sizes, key=sizes.__getitem__)
    return InvalidInput(
        f"The header of the {_kind(request)} request has {size} bytes, {sizes[largest]} of them in "
        f"its field {largest!r}; the limit is {LARGEST_HEADER}.",
        hint=_INSTEAD.get(largest, "Send less at a time."),
        size=size,
        limit=LARGEST_HEADER,
        field=largest,
    )


def _kind(request: Request) -> str:
    return type(request).__name__


def decode_request(header: bytes | memoryview) -> Request:
    """Decode the header of a request.

    Raises:
        ProtocolError: it is too long, not msgpack, of another version, or of an unknown form.
    """
    if len(header) > LARGEST_HEADER:
        raise ProtocolError(
            f"The header has {len(header)} bytes; the limit is {LARGEST_HEADER}.",
            hint="Send data in payload frames, not in the header.",
        )
    try:
        request = _requests.decode(header)
    except _UNREADABLE as problem:
        _check_version(preamble(header).v)
        raise ProtocolError(f"The header is not a valid request: {error_text(problem)}.") from None
    _check_version(request.v)
    return request


def decode_reply(header: bytes | memoryview) -> Reply:
    """Decode the header of a reply.

    Raises:
        ProtocolError: it is not a reply of this version.
    """
    try:
        return _replies.decode(header)
    except _UNREADABLE as problem:
        raise ProtocolError(
            f"The daemon's reply cannot be decoded: {error_text(problem)}.",
            hint="Are sire and sired of the same version? Try: sire daemon restart",
        ) from None


def preamble(header: bytes | memoryview) -> Preamble:
    """The id and version of a header of any form, if they can be decoded."""
    try:
        return _preambles.decode(header)
    except _UNREADABLE:
        return Preamble()


def failure(error: SireError, request_id: str | int) -> Failure:
    """The reply for an error."""
    return Failure(
        id=request_id,
        code=error.code,
        message=error.message,
        hint=error.hint,
        details=error.details,
    )


def too_large(size: int, largest: int) -> InvalidInput:
    """The error of a payload that exceeds the daemon's limit; sizes in bytes."""
    return InvalidInput(
        f"The input has {size} bytes; the limit is {largest}.",
        hint="Send less at a time, or increase max_message in [daemon].",
        size=size,
        limit=largest,
    )


def raise_failure(reply: Failure) -> None:
    """Raise the error that the daemon replied with."""
    raise error_from(reply.code, reply.message, reply.hint, reply.details)


def _check_version(version: Any) -> None:
    if version != PROTOCOL_VERSION:
        raise ProtocolError(
            f"The header is of protocol version {shown(version)}; this daemon has version "
            f"{PROTOCOL_VERSION}.",
            hint="Upgrade the older of the two.",
        )
