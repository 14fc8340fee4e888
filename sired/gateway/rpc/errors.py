"""Errors as status codes of gRPC, with the text that they have over HTTP."""

import grpc

from sire.errors import SireError
from sired.gateway.errors import headers_of, status_of

# The code for each status over HTTP. A client may repeat a request after UNAVAILABLE, and after
# RESOURCE_EXHAUSTED with retry-after.
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ALREADY_EXISTS,
    422: grpc.StatusCode.FAILED_PRECONDITION,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
    507: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
# Clients refuse more than 8 KiB of metadata, in which most characters take up to three bytes.
_LONGEST_BYTES = 2000


def code_of(error: SireError) -> grpc.StatusCode:
    """The status code of an error."""
    return _CODES.get(status_of(error), grpc.StatusCode.INTERNAL)


def text_of(error: SireError) -> str:
    """What happened and what to do next."""
    text = str(error)
    cut = text.encode()[:_LONGEST_BYTES].decode(errors="ignore")
    return text if cut == text else f"{cut} …"


def metadata_of(error: SireError) -> tuple[tuple[str, str], ...]:
    """What follows the response to an error: when to try again, where that may help."""
    return tuple(headers_of(error).items())
