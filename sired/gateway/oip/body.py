"""The body of a request over HTTP: JSON, and the bytes of tensors that follow it."""

import re
from collections.abc import Iterator

import msgspec

from sire.errors import InvalidInput, error_text, shown
from sired.gateway.oip.inference import InferInput, InferRequest, check_supported, where

# Longer numbers are none of a body, and not read by int.
_LENGTH = re.compile(r"[0-9]{1,20}")
_decoder = msgspec.json.Decoder(InferRequest)


def read_request(
    body: bytes, header_length: str | None
) -> tuple[InferRequest, list[memoryview | None]]:
    """A request, and the bytes of each input's elements; None for one that has ``data``.

    Args:
        body: of the request.
        header_length: the header Inference-Header-Content-Length; None if all is JSON.

    Raises:
        InvalidInput: it is not a request of the protocol, or asks for what is not supported.
    """
    length = len(body)
    if header_length is not None:
        if not _LENGTH.fullmatch(header_length) or int(header_length) > length:
            raise InvalidInput(
                f"Inference-Header-Content-Length is {shown(header_length)}; the body has "
                f"{length} bytes."
            )
        length = int(header_length)
    try:
        request = _decoder.decode(memoryview(body)[:length])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise InvalidInput(f"The request is not valid: {error_text(problem)}.") from None
    check_supported(request)
    return request, list(_contents(request.inputs, memoryview(body)[length:]))


def _contents(inputs: tuple[InferInput, ...], tensors: memoryview) -> Iterator[memoryview | None]:
    """The elements of each input that follow the JSON; None for one whose ``data`` is in it."""
    place = 0
    for one in inputs:
        size = one.parameters.get("binary_data_size")
        if (size is None) == (one.data is None):
            raise InvalidInput(f"{where(one)} needs either data or binary_data_size.")
        if size is None:
            yield None
            continue
        if not isinstance(size, int) or not 0 <= size <= len(tensors) - place:
            raise InvalidInput(
                f"{where(one)} has a binary_data_size of {shown(size)}; {len(tensors) - place} "
                "bytes are left."
            )
        yield tensors[place : place + size]
        place += size
    if place != len(tensors):
        raise InvalidInput(f"{len(tensors) - place} bytes follow the last tensor.")
