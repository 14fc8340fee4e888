"""What is raised when a gateway cannot be reached, or refuses a request."""

import http
import ssl

import msgspec

from sire.errors import (
    AccessDenied,
    DaemonUnavailable,
    InvalidInput,
    QueueFull,
    SireError,
    error_from,
    error_text,
)


class _Refused(msgspec.Struct):
    """The error in the body of a response, as the gateway writes it."""

    code: str
    message: str
    hint: str = ""
    details: dict[str, object] = {}


class _Body(msgspec.Struct):
    error: _Refused


# Refusals of the gateway itself, whose code is the name of the status.
_KINDS: dict[int, type[SireError]] = {
    http.HTTPStatus.UNAUTHORIZED: AccessDenied,
    http.HTTPStatus.FORBIDDEN: AccessDenied,
    http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE: InvalidInput,
    http.HTTPStatus.TOO_MANY_REQUESTS: QueueFull,
}


def refusal(status: int, body: bytes, url: str) -> SireError:
    """The error of a response with another status than 200."""
    try:
        error = msgspec.json.decode(body, type=_Body).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        error = None
    if error is None or (status == http.HTTPStatus.NOT_FOUND and error.code == "NotFound"):
        return DaemonUnavailable(
            f"{url} answered with status {status}, not as a gateway of sire does.",
            hint="Is it the URL that `sire serve` printed, and of the same version?",
            status=status,
        )
    found = error_from(error.code, error.message, error.hint, dict(error.details))
    if type(found) is SireError and (kind := _KINDS.get(status)) is not None:
        return kind(error.message, hint=error.hint, **error.details)
    return found


def connection_failed(url: str, problem: OSError) -> DaemonUnavailable:
    """The error of a gateway to which no connection can be made."""
    if isinstance(problem, ssl.SSLCertVerificationError):
        return DaemonUnavailable(
            f"The certificate of {url} is not trusted: {problem.verify_message}.",
            hint="Name the file of its certificate authority in SSL_CERT_FILE.",
        )
    why = "it does not answer" if isinstance(problem, TimeoutError) else error_text(problem)
    return DaemonUnavailable(
        f"Cannot connect to {url}: {problem.strerror or why}.", hint="Does `sire serve` run there?"
    )
